//! Lines that several pages show.

use crate::html::{Filter, Html, RunLine, Why, exact_and_told, state, told, took};
use crate::text::{escape, url_encode};
use crate::words;
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
