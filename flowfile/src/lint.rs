//! What is right in a flow file and will surprise its author all the same, because of what the clock does next.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::file::FlowFile;
use crate::source::Source;
use dalsegno_scheduler::schedule::{
    Schedule, Slot, Transition, TransitionKind, lint as transitions,
};
use dalsegno_scheduler::spec::{BlackoutAction, Roll, ScheduleSpec};
use dalsegno_scheduler::{Flow, Span, Timestamp};
use std::ops::Range;

/// How far a calendar is looked at.
const YEAR: Span = Span::from_mins(366 * 24 * 60);
/// How far blackouts are looked at.
const MONTH: Span = Span::from_mins(30 * 24 * 60);

/// Adds warnings about the coming time to those of a file: days with no run or two where clocks change, schedules that
/// are never due again, and calendars and blackouts that let nothing through. `name` is what findings call the file.
pub fn lint(name: &str, file: &mut FlowFile, now: Timestamp) {
    let source = Source::new(name, &file.source);
    let mut found = Vec::new();
    for (index, (spec, schedule)) in file.flow.schedules().enumerate() {
        let at = file.schedules_at.get(index).unwrap_or(&file.name_at);
        let warn = |code, message: String, help: String| {
            Diagnostic::new(&source, Range::clone(at), code, message)
                .warning()
                .help(help)
        };
        let changes = transitions(spec, now).unwrap_or_default();
        let is_odd = |it: &&Transition| it.runs == 0 || it.runs > it.normal;
        for change in changes.iter().filter(is_odd) {
            let (message, help) = told(change);
            found.push(warn("flow.clock_change", message, help));
        }
        let coming = || coming(spec, schedule, now);
        if coming().next().is_none() {
            let (message, help) = never(spec, now);
            found.push(warn("flow.never_due", message, help));
        } else if let Some(calendar) = closes_all(spec, schedule, coming(), now) {
            let message = format!(
                "the calendar `{calendar}` closes every day on which this schedule is due in the next year"
            );
            let help = "take days out of the calendar, or let its runs move: `calendar: { name: …, roll: next }`";
            found.push(warn("flow.always_closed", message, help.into()));
        } else if let Some(blackouts) = swallowed(&file.flow, coming(), now) {
            let message = format!(
                "every time of this schedule in the next 30 days is in a blackout that skips it: {blackouts}"
            );
            let help = "move the schedule or the blackout, or write `do: defer`";
            found.push(warn("flow.always_black", message, help.into()));
        }
    }
    for loose in dalsegno_scheduler::sla::loose(&file.flow) {
        let at = file.promises_at.get(&loose.promise);
        // The promises of a Metaflow flow stand beside it.
        let beside = file.metaflow.as_ref().and_then(|it| it.sidecar_source());
        let it = Diagnostic::new(
            beside.filter(|_| at.is_some()).unwrap_or(&source),
            Range::clone(at.unwrap_or(&file.name_at)),
            "flow.loose_sla",
            loose.to_string(),
        );
        found.push(it.warning().help(loose.cure));
    }
    if !found.is_empty() {
        let before = std::mem::take(&mut file.warnings);
        let all: Vec<Diagnostic> = before.into_iter().chain(found).collect();
        file.warnings = Diagnostics::from(all);
    }
}

fn told(change: &Transition) -> (String, String) {
    let Transition {
        date, runs, normal, ..
    } = change;
    let times = |count: u32| match count {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        count => format!("{count} times"),
    };
    let (clocks, help) = match change.kind {
        TransitionKind::Gap => (
            "forward",
            "write `dst: { gap: shift }` to run when the skipped hour is over, or choose another hour",
        ),
        TransitionKind::Overlap => (
            "back",
            "write `dst: { overlap: first }` or `second` to run once, or choose another hour",
        ),
    };
    let message = format!(
        "on {date} clocks go {clocks}, and this schedule is due {} instead of {}",
        times(*runs),
        times(*normal)
    );
    (message, help.to_owned())
}

fn never(spec: &ScheduleSpec, now: Timestamp) -> (String, String) {
    match spec.end.filter(|it| *it <= now) {
        Some(end) => (
            format!("this schedule is over: its `end` was {end}"),
            "move `end`, or remove the schedule".into(),
        ),
        None => (
            "this schedule is never due again".into(),
            "check the day and the month: does that date exist, and is it before `end`?".into(),
        ),
    }
}

/// What is due from now on.
fn coming<'a>(
    spec: &'a ScheduleSpec,
    schedule: &'a Schedule,
    now: Timestamp,
) -> impl Iterator<Item = Slot> + 'a {
    let after = spec.start.map_or(now, |it| now.max(Timestamp(it.0 - 1)));
    let slots = std::iter::successors(schedule.first_due_after(after), |it| {
        schedule.slot_after(it.at)
    });
    slots.take_while(|it| spec.end.is_none_or(|end| it.at < end))
}

fn closes_all(
    spec: &ScheduleSpec,
    schedule: &Schedule,
    coming: impl Iterator<Item = Slot>,
    now: Timestamp,
) -> Option<String> {
    let calendar = spec.calendar.as_ref().filter(|it| it.roll == Roll::Skip)?;
    let mut year = coming.take_while(|it| it.at < now + YEAR).peekable();
    year.peek()?;
    let all = year.all(|it| schedule.closed_day(it.at).is_some());
    all.then(|| calendar.calendar.name.clone())
}

/// The blackouts that leave a schedule no time in the next month.
fn swallowed(flow: &Flow, coming: impl Iterator<Item = Slot>, now: Timestamp) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    for slot in coming.take_while(|it| it.due_at < now + MONTH) {
        let skips = |it: &&dalsegno_scheduler::blackout::Blackout| {
            it.action() == BlackoutAction::Skip && it.active(slot.due_at).is_some()
        };
        let blackout = flow.blackouts().iter().find(skips)?;
        if !names.contains(&blackout.name()) {
            names.push(blackout.name());
        }
    }
    (!names.is_empty()).then(|| crate::reader::ticked(&names))
}
