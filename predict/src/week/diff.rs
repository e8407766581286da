//! Two weeks beside each other: what gets worse, what gets better.

use super::report::{Breach, FlowWeek, Week};
use dalsegno_scheduler::{FlowName, Limit};
use serde::Serialize;
use std::collections::BTreeMap;

/// Less than this, and less than a twentieth, is no difference.
const LEAST_US: i64 = 5_000_000;

/// What is different in a week with other flows, under the same luck.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diff {
    /// Promises that are broken now and were kept, or were not there, before.
    pub new_breaches: Vec<Breach>,
    pub gone_breaches: Vec<Breach>,
    /// Worst first.
    pub changes: Vec<Change>,
    pub new_flows: Vec<FlowName>,
    pub gone_flows: Vec<FlowName>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    pub verdict: Verdict,
    /// A flow's name, or what a limit is called.
    pub of: String,
    /// `wait`, `finish`, `failed`, `unfinished`, `runs`, `full`.
    pub what: &'static str,
    /// Microseconds for times (nine in ten are at most this), else counts.
    pub before: i64,
    pub after: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Worse,
    Better,
    /// Neither: there are more runs, or fewer.
    Different,
}

/// `before` is what is compared with, `after` what would be.
pub fn compare(before: &Week, after: &Week) -> Diff {
    let key = |it: &Breach| (it.flow.clone(), it.promise.clone(), it.period.clone());
    let lacking = |all: &[Breach], from: &[Breach]| -> Vec<Breach> {
        let known: Vec<_> = from.iter().map(key).collect();
        let others = all.iter().filter(|it| !known.contains(&key(it)));
        others.cloned().collect()
    };
    let by_name = |week: &Week| -> BTreeMap<FlowName, FlowWeek> {
        let flows = week.flows.iter().cloned();
        flows.map(|it| (it.flow.clone(), it)).collect()
    };
    let (old, new) = (by_name(before), by_name(after));
    let mut changes = Vec::new();
    for (flow, now) in &new {
        let Some(then) = old.get(flow) else { continue };
        let name = flow.to_string();
        let times = [
            ("wait", then.wait_us.p90, now.wait_us.p90),
            ("finish", then.finish_us.p90, now.finish_us.p90),
        ];
        for (what, before, after) in times {
            changes.extend(time(&name, what, before, after));
        }
        let counts = [
            ("failed", then.failed, now.failed),
            ("unfinished", then.unfinished, now.unfinished),
        ];
        for (what, before, after) in counts {
            changes.extend(count(&name, what, before, after));
        }
        if then.runs != now.runs {
            changes.push(Change {
                verdict: Verdict::Different,
                of: name,
                what: "runs",
                before: then.runs as i64,
                after: now.runs as i64,
            });
        }
    }
    let limits: BTreeMap<&Limit, i64> = before
        .limits
        .iter()
        .map(|it| (&it.limit, it.full_us))
        .collect();
    for now in &after.limits {
        let then = limits.get(&now.limit).copied().unwrap_or(0);
        changes.extend(time(&now.limit.to_string(), "full", then, now.full_us));
    }
    changes.sort_by_key(|it| {
        let by = (it.after - it.before).abs();
        (it.verdict, std::cmp::Reverse(by), it.of.clone(), it.what)
    });
    Diff {
        new_breaches: lacking(&after.breaches, &before.breaches),
        gone_breaches: lacking(&before.breaches, &after.breaches),
        changes,
        new_flows: new
            .keys()
            .filter(|it| !old.contains_key(*it))
            .cloned()
            .collect(),
        gone_flows: old
            .keys()
            .filter(|it| !new.contains_key(*it))
            .cloned()
            .collect(),
    }
}

fn time(of: &str, what: &'static str, before: i64, after: i64) -> Option<Change> {
    let by = after - before;
    if by.abs() < LEAST_US || by.abs() * 20 < before {
        return None;
    }
    Some(change(of, what, before, after))
}

fn count(of: &str, what: &'static str, before: u64, after: u64) -> Option<Change> {
    (before != after).then(|| change(of, what, before as i64, after as i64))
}

fn change(of: &str, what: &'static str, before: i64, after: i64) -> Change {
    Change {
        verdict: match after > before {
            true => Verdict::Worse,
            false => Verdict::Better,
        },
        of: of.to_owned(),
        what,
        before,
        after,
    }
}
