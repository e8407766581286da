//! Lines that several pages show.

use crate::html::{Choice, Filter, Html, RunLine, Why, exact_and_told, state, told, took};
use crate::input::Query;
use crate::problem::{Failure, Outcome};
use crate::text::{escape, url_encode};
use crate::words;
use dalsegno_engine::Code;
use dalsegno_scheduler::row::{OccurrenceRow, RunRow, RunState};
use dalsegno_scheduler::{Explanation, FlowName, Scheduler, Timestamp, TriggerName};

pub(super) fn flow_href(flow: &FlowName) -> String {
    format!("/flows/{}", url_encode(flow.as_str()))
}

pub(super) fn run_line(view: &Scheduler, run: &RunRow, now: Timestamp) -> RunLine {
    RunLine {
        id: run.id,
        href: format!("/runs/{}", run.id),
        flow: run.flow.to_string(),
        flow_href: flow_href(&run.flow),
        state: state(run.state.as_str()),
        trigger: starter(view, &run.flow, &run.trigger),
        created: told(run.created_at, now),
        waited: waited(run, now),
        ran: ran(run, now).unwrap_or_else(|| Html::text("–")),
        reason: run
            .reason
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
    }
}

/// How long it waited in the queue before it first began, or waits there now.
pub(super) fn waited(run: &RunRow, now: Timestamp) -> Html {
    match run.started_at {
        _ if run.state == RunState::Queued => took(run.queued_at, None, now),
        // A resume sets the time in the queue anew, while the first start stays.
        Some(started) if started < run.queued_at => took(run.created_at, Some(started), now),
        Some(started) => took(run.queued_at, Some(started), now),
        None => took(run.queued_at, run.finished_at, now),
    }
}

/// How long it has run since it began or was last resumed; `None` before that.
pub(super) fn ran(run: &RunRow, now: Timestamp) -> Option<Html> {
    let since = run.started_at?.max(run.queued_at);
    (run.state != RunState::Queued).then(|| took(since, run.finished_at, now))
}

/// `once`, `twice`, `3 times`.
pub(super) fn times(count: u32) -> String {
    match count {
        1 => "once".into(),
        2 => "twice".into(),
        count => format!("{count} times"),
    }
}

/// What started a run, in words; its name in the flow on pointing at it.
pub(super) fn starter(view: &Scheduler, flow: &FlowName, name: &TriggerName) -> Html {
    let flow = view.flow(flow.as_str()).and_then(|it| it.flow.as_deref());
    match flow.and_then(|it| words::starter(it, name)) {
        Some(words) => Html(format!(
            r#"<span title="{}">{}</span>"#,
            escape(name.as_str()),
            escape(&words)
        )),
        None => Html::text(name),
    }
}

pub(super) fn why_line(why: Explanation, now: Timestamp) -> Why {
    Why {
        subject: why.subject,
        text: why.text,
        until: why.until.map(|it| told(it, now)),
        cure: why.cure,
    }
}

/// What runs next: when and what.
pub(super) fn due(occurrence: &OccurrenceRow, now: Timestamp) -> Html {
    exact_and_told(occurrence.due_at, now)
}

/// Links that narrow a list of runs by state.
pub(super) fn state_filters(path: &str, here: Option<&str>) -> Vec<Filter> {
    const STATES: [(&str, &str); 5] = [
        ("all", ""),
        ("unfinished", "unfinished"),
        ("succeeded", "succeeded"),
        ("failed", "failed,timed_out"),
        ("cancelled", "cancelled"),
    ];
    let filter = |(label, states): (&str, &str)| Filter {
        label: label.to_owned(),
        href: match states {
            "" => path.to_owned(),
            states => format!("{path}?state={states}"),
        },
        here: here.unwrap_or("") == states,
    };
    STATES.into_iter().map(filter).collect()
}

/// One choice of a form's list.
pub(super) fn choice(value: &str, label: &str, chosen: Option<&str>) -> Choice {
    Choice {
        value: value.to_owned(),
        label: label.to_owned(),
        here: chosen == Some(value),
    }
}

/// An instant as people type it into a form.
pub(super) fn instant(query: &Query, name: &str) -> Outcome<Option<Timestamp>> {
    query.get(name).map(|text| moment(name, text)).transpose()
}

/// A day, a day and time (both UTC), or an instant of RFC 3339.
pub(super) fn moment(name: &str, text: &str) -> Outcome<Timestamp> {
    let text = text.trim();
    let spaced = text.replacen(' ', "T", 1);
    let tries = [
        text.to_owned(),
        format!("{spaced}T00:00:00Z"),
        format!("{spaced}:00Z"),
        format!("{spaced}Z"),
    ];
    let found = tries.iter().find_map(|it| Timestamp::parse_rfc3339(it));
    found.ok_or_else(|| {
        let detail = format!(
            "`{name}` is `{text}`, and a day (2026-11-22), a day and time in UTC (2026-11-22 06:00) or an instant (2026-11-22T06:00:00Z) is expected"
        );
        Failure::new(Code::BadRequest, detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_may_be_typed_as_a_day_or_a_day_and_time() {
        let day = moment("since", "2026-11-22").expect("a day");
        assert_eq!(day.to_string(), "2026-11-22T00:00:00Z");
        for text in [
            "2026-11-22 06:00",
            "2026-11-22T06:00",
            "2026-11-22T07:00:00+01:00",
        ] {
            let at = moment("since", text).expect(text);
            assert_eq!(at.to_string(), "2026-11-22T06:00:00Z", "{text}");
        }
        let Failure(problem) = moment("since", "yesterday").expect_err("no instant");
        assert!(
            problem.detail.contains("`since` is `yesterday`"),
            "{}",
            problem.detail
        );
    }
}
