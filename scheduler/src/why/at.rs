//! Why a flow did or did not run at some moment, from what is on record.

use super::{Explanation, cure, explain_occurrence};
use crate::reason::Reason;
use crate::row::{
    EventRow, FlowRow, JournalEntry, MatchOutcome, MatchRow, OccurrenceRow, OccurrenceState,
};
use crate::time::{Span, Timestamp};
use std::sync::Arc;

/// What the disk holds of the time around a moment.
#[derive(Clone, Debug, Default)]
pub struct PastFacts {
    /// Of the flow, those due nearest to the moment.
    pub occurrences: Vec<OccurrenceRow>,
    /// Times in which nobody decided.
    pub outages: Vec<PastOutage>,
    /// The flow's own entries up to the moment, in order: pauses, versions, removals.
    pub journal: Vec<JournalEntry>,
    /// Events that the flow's triggers saw about then, and what became of them.
    pub matches: Vec<(Arc<EventRow>, MatchRow)>,
}

/// A time in which nobody decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastOutage {
    pub from: Timestamp,
    pub to: Timestamp,
    /// Who had decided before.
    pub holder: String,
    /// A clean stop; else it fell silent.
    pub stopped: bool,
}

/// Occurrences and events this far from the moment still answer for it.
pub const NEAR: Span = Span::from_mins(5);

/// Why a flow did or did not run at a moment. What answers best stands first.
pub fn explain_at(
    flow: &str,
    at: Timestamp,
    now: Timestamp,
    facts: &PastFacts,
) -> Vec<Explanation> {
    let mut all = Vec::new();
    let distance = |it: &&OccurrenceRow| ((it.due_at.0 - at.0).abs(), it.due_at);
    let mut near: Vec<&OccurrenceRow> = facts.occurrences.iter().collect();
    near.sort_by_key(distance);
    let exact: Vec<&OccurrenceRow> = near
        .iter()
        .copied()
        .filter(|it| (it.due_at.0 - at.0).abs() <= NEAR.0)
        .collect();
    all.extend(exact.iter().map(|it| explain_occurrence(it)));
    all.extend(outage(flow, at, &facts.outages));
    all.extend(standing(flow, at, &facts.journal));
    let events = facts.matches.iter().filter(|(event, it)| {
        (event.received_at.0 - at.0).abs() <= NEAR.0 && it.outcome != MatchOutcome::Fired
    });
    all.extend(events.map(|(event, it)| turned_down(flow, event, it)));
    if exact.is_empty() {
        all.push(nothing_due(flow, at, now, &near));
    }
    all
}

fn outage(flow: &str, at: Timestamp, outages: &[PastOutage]) -> Option<Explanation> {
    let it = outages.iter().find(|it| it.from <= at && at < it.to)?;
    let (from, to) = (it.from, it.to);
    let how = match it.stopped {
        true => "was stopped",
        false => "fell silent",
    };
    let text = format!(
        "the daemon was down from {} to {} ({} {how})",
        from.floor_to_second(),
        to.floor_to_second(),
        it.holder
    );
    let reason = Reason::MissedDown { from, to };
    Some(Explanation {
        text,
        cure: cure(&reason, flow),
        ..Explanation::because(flow, &reason)
    })
}

/// What held the whole flow back then, by its journal.
fn standing(flow: &str, at: Timestamp, journal: &[JournalEntry]) -> Vec<Explanation> {
    let before = journal
        .iter()
        .rev()
        .filter(|it| it.at <= at && it.kind.starts_with("flow."));
    let row = before
        .filter_map(|it| serde_json::from_str::<FlowRow>(&it.body).ok())
        .next();
    let Some(row) = row else {
        let text = format!("there was no flow {flow} yet at {}", at.floor_to_second());
        return match journal.is_empty() {
            true => Vec::new(),
            false => vec![Explanation::new("no_flow_yet", flow, text)],
        };
    };
    let mut all = Vec::new();
    let told = |reason: &Reason| Explanation {
        cure: cure(reason, flow),
        ..Explanation::because(flow, reason)
    };
    if row.removed {
        all.push(told(&Reason::FlowRemoved));
    }
    if let Some(message) = row.invalid {
        let text = match row.active_version {
            Some(_) => "the last good version stayed active",
            None => "no version of it had been valid",
        };
        let reason = Reason::FlowInvalid { message };
        all.push(Explanation {
            text: format!("{reason}; {text}"),
            ..told(&reason)
        });
    }
    if let Some(paused) = row.paused {
        let since = paused.at.floor_to_second();
        let reason = Reason::FlowPaused {
            by: paused.by,
            reason: paused.reason,
        };
        all.push(Explanation {
            text: format!("{reason}, since {since}"),
            ..told(&reason).cure(format!(
                "dalsegno unpause {flow}, if it is still paused; dalsegno backfill plan {flow} --from … runs what is missing"
            ))
        });
    }
    if let Some(run) = row.blocked_by {
        all.push(told(&Reason::BlockedByFailure { run }));
    }
    all
}

fn turned_down(flow: &str, event: &EventRow, it: &MatchRow) -> Explanation {
    let about = format!("event {} {} at {}", event.seq, event.kind, it.trigger);
    match &it.reason {
        Some(reason) => Explanation {
            text: format!("{}: {reason}", it.outcome),
            cure: cure(reason, flow),
            ..Explanation::because(about, reason)
        },
        None => Explanation::new("event", about, it.outcome),
    }
}

/// Nothing was due then: what came before, and what after.
fn nothing_due(flow: &str, at: Timestamp, now: Timestamp, near: &[&OccurrenceRow]) -> Explanation {
    let before = near
        .iter()
        .filter(|it| it.due_at <= at)
        .max_by_key(|it| it.due_at);
    let after = near
        .iter()
        .filter(|it| it.due_at > at)
        .min_by_key(|it| it.due_at);
    let mut text = match at > now {
        true => format!("nothing is expected at {}", at.floor_to_second()),
        false => format!("nothing was due at {}", at.floor_to_second()),
    };
    if let Some(it) = before {
        text += &format!("; before it {} at {} ({})", it.trigger, it.due_at, it.state);
    }
    if let Some(it) = after {
        let what = match it.state {
            OccurrenceState::Expected => "is expected",
            _ => "was due",
        };
        text += &format!("; after it {} {what} at {}", it.trigger, it.due_at);
    }
    Explanation::new("nothing_due", flow, text).cure(format!("dalsegno run {flow}"))
}
