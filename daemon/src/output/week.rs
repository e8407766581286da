//! The coming days, for people.

use super::screen::Screen;
use super::table::Column::{Extra, Firm};
use super::table::table;
use super::time::{absolute, whole};
use super::tone::Tone;
use crate::client::Time;
use dalsegno_predict::week::{Breach, Change, Diff, FlowWeek, Verdict, Week};
use dalsegno_scheduler::Span;
use std::fmt::Write as _;

/// Flows, limits and changes that are shown one by one.
const SHOWN: usize = 20;

/// What some days would come to.
pub(crate) fn week(screen: &Screen, week: &Week, diff: Option<&Diff>) -> String {
    let mut text = format!(
        "{} from {} (seed {}): {} runs, {} tasks\n",
        Tone::Strong.paint(&whole(week.until - week.from).to_string()),
        absolute(Time(week.from)),
        week.seed,
        week.runs,
        week.tasks
    );
    if let Some(at) = week.stopped_at {
        let at = absolute(Time(at));
        let _ = writeln!(
            text,
            "{} it ends early, at {at}: there is too much to decide",
            Tone::Warn.paint("!")
        );
    }
    text.push_str(&flows(screen, &week.flows));
    text.push_str(&limits(screen, week));
    if !week.breaches.is_empty() {
        let what = match week.breaches.len() {
            1 => "1 promise is not kept".to_owned(),
            many => format!("{many} promises are not kept"),
        };
        let _ = writeln!(text, "\n{what}");
        text.push_str(&breaches(&week.breaches));
    }
    if let Some(diff) = diff {
        text.push_str(&difference(diff));
    }
    for (reason, runs) in &week.failures {
        let _ = writeln!(
            text,
            "{} {runs} runs do not succeed: {reason}",
            Tone::Bad.paint("✗")
        );
    }
    for it in &week.refused {
        let _ = writeln!(text, "{} not deployed: {it}", Tone::Warn.paint("!"));
    }
    for it in &week.facts {
        let _ = writeln!(text, "{} {it}", Tone::Quiet.paint("·"));
    }
    text
}

/// Those that wait longest come first.
fn flows(screen: &Screen, flows: &[FlowWeek]) -> String {
    let mut flows: Vec<&FlowWeek> = flows.iter().collect();
    let waits = |it: &FlowWeek| it.wait_us.p90 + it.task_wait_us / (it.runs.max(1) as i64);
    flows.sort_by_key(|it| {
        (
            -(it.failed as i64),
            -waits(it),
            -it.finish_us.p90,
            it.flow.clone(),
        )
    });
    let rows = flows.iter().take(SHOWN).map(|it| {
        let count = |count: u64| match count {
            0 => String::new(),
            count => count.to_string(),
        };
        vec![
            Tone::Strong.cell(it.flow.as_str()),
            Tone::Plain.cell(it.runs.to_string()),
            Tone::Bad.cell(count(it.failed)),
            Tone::Warn.cell(count(it.unfinished)),
            Tone::Quiet.cell(count(it.not_run)),
            Tone::Plain.cell(span(it.wait_us.p90)),
            Tone::Plain.cell(span(it.finish_us.p50)),
            Tone::Plain.cell(span(it.finish_us.p90)),
            Tone::Quiet.cell(span(it.task_wait_us)),
        ]
    });
    let columns = [
        Firm("flow"),
        Firm("runs"),
        Firm("failed"),
        Extra("unfinished"),
        Extra("not run"),
        Firm("starts within"),
        Extra("half done"),
        Firm("done within"),
        Extra("tasks waited"),
    ];
    let mut text = format!("\n{}", table(screen, &columns, rows.collect()));
    if flows.len() > SHOWN {
        let _ = writeln!(
            text,
            "and {} flows more (--json has them all)",
            flows.len() - SHOWN
        );
    }
    text
}

fn limits(screen: &Screen, week: &Week) -> String {
    let mut limits: Vec<_> = week.limits.iter().collect();
    limits.sort_by_key(|it| (-it.waited_us, -it.full_us, it.limit.clone()));
    let rows = limits.iter().take(SHOWN).map(|it| {
        let worst = it.worst_hour.filter(|_| it.worst_hour_full_us > 0);
        let worst = worst.map(|at| {
            format!(
                "{} ({} full)",
                absolute(Time(at)),
                whole(Span(it.worst_hour_full_us))
            )
        });
        vec![
            Tone::Strong.cell(it.limit.to_string()),
            Tone::Plain.cell(it.capacity.to_string()),
            Tone::Plain.cell(it.peak.to_string()),
            Tone::Plain.cell(format!("{} %", it.used_permille / 10)),
            Tone::Warn.cell(span(it.full_us)),
            Tone::Warn.cell(span(it.waited_us)),
            Tone::Quiet.cell(worst.unwrap_or_default()),
        ]
    });
    let columns = [
        Firm("limit"),
        Firm("slots"),
        Firm("most"),
        Firm("used"),
        Firm("full for"),
        Firm("waited"),
        Extra("worst hour"),
    ];
    format!("\n{}", table(screen, &columns, rows.collect()))
}

fn breaches(breaches: &[Breach]) -> String {
    let mut text = String::new();
    for it in breaches.iter().take(SHOWN) {
        let due = absolute(Time(it.due_at));
        let met = match it.met_at {
            Some(at) => format!("{} late", whole(at - it.due_at)),
            None => "not met at all".to_owned(),
        };
        let _ = writeln!(
            text,
            "  {} {} {}: due {due}, {met}",
            Tone::Bad.paint("✗"),
            it.flow,
            it.promise
        );
    }
    if breaches.len() > SHOWN {
        let _ = writeln!(text, "  and {} more", breaches.len() - SHOWN);
    }
    text
}

fn difference(diff: &Diff) -> String {
    let mut text = String::from("\ncompared with the other folder\n");
    for (breaches_of, what) in [
        (&diff.new_breaches, "promises broken that were kept"),
        (&diff.gone_breaches, "promises kept that were broken"),
    ] {
        if !breaches_of.is_empty() {
            let _ = writeln!(text, "{what}: {}", breaches_of.len());
            text.push_str(&breaches(breaches_of));
        }
    }
    for (flows, what) in [(&diff.new_flows, "new"), (&diff.gone_flows, "gone")] {
        if !flows.is_empty() {
            let names: Vec<&str> = flows.iter().take(SHOWN).map(|it| it.as_str()).collect();
            let _ = writeln!(text, "  {what}: {}", names.join(", "));
        }
    }
    for it in diff.changes.iter().take(SHOWN) {
        let _ = writeln!(text, "  {}", change(it));
    }
    if diff.changes.len() > SHOWN {
        let _ = writeln!(text, "  and {} more", diff.changes.len() - SHOWN);
    }
    if diff.changes.is_empty() && diff.new_breaches.is_empty() && diff.gone_breaches.is_empty() {
        text.push_str("  nothing gets worse, nothing gets better\n");
    }
    text
}

fn change(it: &Change) -> String {
    let (tone, word) = match it.verdict {
        Verdict::Worse => (Tone::Bad, "worse"),
        Verdict::Better => (Tone::Good, "better"),
        Verdict::Different => (Tone::Quiet, "other"),
    };
    let value = |value: i64| match it.what {
        "wait" | "finish" | "full" => whole(Span(value)).to_string(),
        _ => value.to_string(),
    };
    let what = match it.what {
        "wait" => "starts within",
        "finish" => "is done within",
        "full" => "is full for",
        "failed" => "runs that fail:",
        "unfinished" => "runs not done:",
        _ => "runs:",
    };
    format!(
        "{} {} {what} {} (was {})",
        tone.paint(&format!("{word:<6}")),
        it.of,
        value(it.after),
        value(it.before)
    )
}

/// Nothing where there is nothing.
fn span(us: i64) -> String {
    match us {
        ..1_000_000 => String::new(),
        us => whole(Span(us)).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dalsegno_predict::week::{LimitWeek, Spread, compare};
    use dalsegno_scheduler::{Limit, Timestamp};

    fn example(minutes: i64) -> Week {
        let us = minutes * 60_000_000;
        let from = Timestamp::parse_rfc3339("2026-11-23T00:00:00Z").expect("a time");
        let spread = Spread {
            p50: us,
            p90: us * 2,
            max: us * 3,
        };
        Week {
            from,
            until: from + Span::from_mins(7 * 24 * 60),
            seed: 1,
            runs: 7,
            tasks: 14,
            flows: vec![FlowWeek {
                flow: "report".into(),
                runs: 7,
                succeeded: 7,
                failed: 0,
                unfinished: 0,
                not_run: 0,
                wait_us: Spread::default(),
                finish_us: spread,
                task_wait_us: us,
            }],
            limits: vec![LimitWeek {
                limit: Limit::Pool("db".into()),
                capacity: 2,
                peak: 2,
                used_permille: 123,
                full_us: us,
                waited_us: us,
                worst_hour: Some(from),
                worst_hour_full_us: us,
            }],
            breaches: Vec::new(),
            failures: Default::default(),
            refused: Vec::new(),
            facts: vec!["every task succeeds".to_owned()],
            stopped_at: None,
        }
    }

    #[test]
    fn a_week_is_told_with_what_is_different() {
        let mut after = example(30);
        after.breaches = vec![Breach {
            flow: "report".into(),
            promise: "finish_by".to_owned(),
            period: "day:2026-11-23".to_owned(),
            due_at: after.from,
            met_at: Some(after.from + Span::from_mins(12)),
        }];
        let diff = compare(&example(20), &after);
        let screen = Screen {
            width: 200,
            is_terminal: false,
            now: after.from,
        };
        let text = week(&screen, &after, Some(&diff));
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
    }
}
