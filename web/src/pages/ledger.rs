//! The ledger of a flow: what ought to have run and what became of it, as marks, figures and lines.

use super::lines::{flow_href, starter};
use crate::html::{Html, LedgerPanel, OccurrenceLine, exact, run_link, signed, state};
use crate::input::Query;
use crate::json::is_moved;
use crate::problem::Outcome;
use crate::state::App;
use crate::text::{clock, escape, url_encode};
use dalsegno_scheduler::row::{FlowRow, OccurrenceRow, OccurrenceState, RunState};
use dalsegno_scheduler::{Flow, RunId, Scheduler, Span, Timestamp};
use dalsegno_store::{Cursor, OccurrenceFilter, RunFilter};
use std::collections::BTreeMap;

/// How many of the last occurrences stand as marks.
const MARKS: usize = 60;

/// Occurrences of so many schedules and triggers are looked up for the marks.
const STARTERS: usize = 8;

/// How many stand as lines.
const LINES: usize = 8;

/// States of so many of the newest runs are looked up for the marks.
const RUNS: usize = 300;

/// How far back the figures reach.
const DAYS: i64 = 7;

/// What people and other flows start was never expected.
const UNEXPECTED: [&str; 4] = ["manual", "rerun", "backfill", "sub_flow"];

pub(super) async fn panel(
    app: &App,
    view: &Scheduler,
    row: &FlowRow,
    flow: Option<&Flow>,
    query: &Query,
    now: Timestamp,
) -> Outcome<LedgerPanel> {
    let store = app.engine().store();
    let filter = OccurrenceFilter {
        to: Some(now),
        ..OccurrenceFilter::default()
    };
    let cursor = query.get("ledger").map(Cursor::from);
    let last = last(app, row, flow, &filter).await?;
    let page = store
        .occurrences(&row.name, &filter, cursor.as_ref(), LINES)
        .await?;
    let runs = RunFilter {
        flow: Some(row.name.clone()),
        ..RunFilter::default()
    };
    let runs = store.runs(&runs, None, RUNS).await?;
    let states: BTreeMap<RunId, RunState> = runs.items.iter().map(|it| (it.id, it.state)).collect();
    let marks = last.iter().rev();
    let lines = page.items.iter();
    Ok(LedgerPanel {
        marks: marks.map(|it| mark(it, flow, &states)).collect(),
        complete: complete(app, row, now).await?,
        lines: lines.map(|it| line(view, it, flow, &states)).collect(),
        next: page.next.map(|it| {
            let href = flow_href(&row.name);
            format!("{href}?ledger={}#ledger", url_encode(&it.0))
        }),
    })
}

/// The last that were expected, latest due first: a long backfill must not fill the strip.
async fn last(
    app: &App,
    row: &FlowRow,
    flow: Option<&Flow>,
    filter: &OccurrenceFilter,
) -> Outcome<Vec<OccurrenceRow>> {
    let store = app.engine().store();
    let Some(flow) = flow else {
        let all = store.occurrences(&row.name, filter, None, MARKS).await?;
        return Ok(all.items);
    };
    let triggers = flow.spec().triggers.iter().map(|it| &it.name);
    let names = flow.schedules().map(|(it, _)| &it.name).chain(triggers);
    let mut all = Vec::new();
    for name in names.take(STARTERS) {
        let filter = OccurrenceFilter {
            trigger: Some(name.clone()),
            ..filter.clone()
        };
        all.extend(
            store
                .occurrences(&row.name, &filter, None, MARKS)
                .await?
                .items,
        );
    }
    all.sort_by(|a, b| (b.due_at, &b.key).cmp(&(a.due_at, &a.key)));
    all.truncate(MARKS);
    Ok(all)
}

/// One occurrence as a small mark: height and colour tell the state, its title tells all.
fn mark(it: &OccurrenceRow, flow: Option<&Flow>, states: &BTreeMap<RunId, RunState>) -> Html {
    let run = it.run.and_then(|run| Some((run, *states.get(&run)?)));
    let became = match run {
        Some((run, state)) => format!("run {run} {}", state.as_str().replace('_', " ")),
        None => it.state.to_string(),
    };
    let reason = it.reason.as_ref().map(|it| format!(": {it}"));
    let moved = moved(flow, it).map(|it| format!(" ({it})"));
    let title = escape(&format!(
        "{} UTC{}: {became}{}",
        clock(it.due_at),
        moved.unwrap_or_default(),
        reason.unwrap_or_default()
    ));
    let word = match (it.state, run) {
        (OccurrenceState::Ran, Some((_, state))) => state.as_str(),
        (state, _) => state.as_str(),
    };
    let class = format!("mark s-{word} o-{}", it.state);
    Html(match it.run {
        Some(run) => format!(
            r#"<a class="{class}" href="/runs/{run}" title="{title}" aria-label="{title}"></a>"#
        ),
        None => format!(
            r#"<span class="{class}" title="{title}" role="img" aria-label="{title}"></span>"#
        ),
    })
}

/// `34 of 35 ran, 1 skipped`: what was due in the last days by schedules, deadlines and triggers.
async fn complete(app: &App, row: &FlowRow, now: Timestamp) -> Outcome<Option<Html>> {
    let since = now - Span::from_secs(DAYS * 86_400);
    let store = app.engine().store();
    let counts = store.occurrence_counts(&row.name, since, now).await?;
    let mut sums: BTreeMap<OccurrenceState, u64> = BTreeMap::new();
    for it in counts {
        if !UNEXPECTED.contains(&it.trigger.as_str()) {
            *sums.entry(it.state).or_default() += it.occurrences;
        }
    }
    let all: u64 = sums.values().sum();
    if all == 0 {
        return Ok(None);
    }
    let count = |state| sums.get(&state).copied().unwrap_or(0);
    let ran = count(OccurrenceState::Ran);
    let mut told = format!("{ran} of {all} ran");
    let others = [
        (OccurrenceState::Skipped, "skipped"),
        (OccurrenceState::Coalesced, "coalesced"),
        (OccurrenceState::Missed, "missed"),
        (OccurrenceState::Expected, "held"),
    ];
    for (state, word) in others {
        if count(state) > 0 {
            told.push_str(&format!(", {} {word}", count(state)));
        }
    }
    let sign = match count(OccurrenceState::Missed) {
        0 if ran == all => "succeeded",
        0 => "skipped",
        _ => "missed",
    };
    let days = format!(r#" <span class="soft">in the last {DAYS} days</span>"#);
    Ok(Some(signed(sign, &told).then(&Html(days))))
}

fn line(
    view: &Scheduler,
    it: &OccurrenceRow,
    flow: Option<&Flow>,
    states: &BTreeMap<RunId, RunState>,
) -> OccurrenceLine {
    let run = it.run.map(|run| match states.get(&run) {
        Some(word) => run_link(run).then(&Html::text(format_args!(
            " {}",
            word.as_str().replace('_', " ")
        ))),
        None => run_link(run),
    });
    let moved = moved(flow, it).map(Html::text);
    let reason = it.reason.as_ref().map(Html::text);
    let parts = [run, moved, reason].into_iter().flatten();
    let why = parts.reduce(|all, it| all.then(&Html::text(" · ")).then(&it));
    OccurrenceLine {
        due: exact(it.due_at),
        by: starter(view, &it.flow, &it.trigger),
        state: match it.run.and_then(|run| states.get(&run)) {
            Some(RunState::Failed | RunState::TimedOut) => signed("failed", "ran"),
            _ => state(it.state.as_str()),
        },
        why: why.unwrap_or_default(),
    }
}

/// `moved from Thu 24 Dec: Christmas Eve`, where a calendar put it on another day than the schedule says.
pub(super) fn moved(flow: Option<&Flow>, it: &OccurrenceRow) -> Option<String> {
    if !is_moved(it) {
        return None;
    }
    let slot = it.interval.end;
    let mut schedules = flow?.schedules();
    let (_, schedule) = schedules.find(|(spec, _)| spec.name == it.trigger)?;
    Some(match schedule.closed_day(slot) {
        Some((day, note)) if note.is_empty() => format!("moved from {}", day.format("%a %-d %b")),
        Some((day, note)) => format!("moved from {}: {note}", day.format("%a %-d %b")),
        None => format!("moved from {}", clock(slot)),
    })
}
