//! Lines that several pages show.

use crate::html::{Filter, Html, RunLine, Why, exact_and_told, state, told, took};
use crate::text::url_encode;
use dalsegno_scheduler::row::{OccurrenceRow, RunRow};
use dalsegno_scheduler::{Explanation, FlowName, Timestamp};

pub(super) fn flow_href(flow: &FlowName) -> String {
    format!("/flows/{}", url_encode(flow.as_str()))
}

pub(super) fn run_line(run: &RunRow, now: Timestamp) -> RunLine {
    let waited_until = run.started_at.or(run.finished_at);
    RunLine {
        id: run.id,
        href: format!("/runs/{}", run.id),
        flow: run.flow.to_string(),
        flow_href: flow_href(&run.flow),
        state: state(run.state.as_str()),
        trigger: run.trigger.to_string(),
        created: told(run.created_at, now),
        waited: took(run.created_at, waited_until, now),
        ran: match run.started_at {
            Some(started) => took(started, run.finished_at, now),
            None => Html::text("–"),
        },
        reason: run
            .reason
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
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
