//! Alerts of the core: written where something happens that a rule wants to be told of.

use super::Draft;
use crate::alert::{AlertId, AlertKind, AlertRow, NewAlert};
use crate::id::{FlowName, RunId, StepName, TriggerName};
use crate::input::{Answer, Rejected};
use crate::reason::Reason;
use crate::row::{Claim, OccurrenceRow, RunRow, RunState, TaskRow};
use crate::time::{Span, Timestamp};
use serde_json::{Value, json};

/// The most bytes of an alert from outside: its texts and data.
const ALERT_BYTES_MAX: usize = 64 * 1024;

/// Occurrences of one trigger that one input found missed.
pub(super) struct Missed {
    count: u64,
    first: Timestamp,
    last: Timestamp,
    reason: Option<Reason>,
}

/// What an alert of the core is about; the rest follows from it.
pub(super) struct About<'a> {
    pub(super) kind: AlertKind,
    pub(super) flow: &'a FlowName,
    pub(super) run: Option<RunId>,
    pub(super) step: Option<StepName>,
    pub(super) key: String,
    pub(super) summary: String,
    pub(super) data: Value,
}

impl Draft {
    /// Whether any rule is about alerts of this kind.
    pub(super) fn wants(&self, kind: AlertKind, flow: Option<&FlowName>) -> bool {
        let of_flow = || {
            let flow = self.s.flows.get(flow?)?.flow.as_ref()?;
            let mut rules = flow.spec().alerts.iter();
            rules.any(|it| it.needs(kind)).then_some(())
        };
        self.s.config.alert_kinds.contains(&kind) || of_flow().is_some()
    }

    /// Writes an alert, if any rule is about such.
    pub(super) fn alert(&mut self, about: About<'_>) {
        if self.wants(about.kind, Some(about.flow)) {
            self.write_alert(NewAlert {
                is_recovery: about.kind.is_recovery(),
                kind: about.kind,
                flow: Some(about.flow.clone()),
                run: about.run,
                step: about.step,
                key: about.key,
                summary: about.summary,
                data: about.data,
                dedupe: String::new(),
            });
        }
    }

    fn write_alert(&mut self, it: NewAlert) -> AlertId {
        let flow = it.flow.as_ref().and_then(|it| self.s.flows.get(it));
        let owner = flow.and_then(|it| it.flow.as_ref()?.spec().owner.clone());
        self.s.last_alert += 1;
        let id = AlertId(self.s.last_alert);
        self.changes.alerts.push(AlertRow {
            id,
            at: self.now,
            kind: it.kind,
            flow: it.flow,
            owner,
            run: it.run,
            step: it.step,
            key: it.key,
            is_recovery: it.is_recovery,
            summary: it.summary,
            data: it.data,
        });
        id
    }

    /// Something worth telling that the core does not see by itself.
    pub(super) fn accept_alert(&mut self, alert: NewAlert) -> Result<Answer, Rejected> {
        let texts = [&alert.key, &alert.summary, &alert.dedupe].map(String::len);
        let bytes = texts.iter().sum::<usize>() + alert.data.to_string().len();
        if bytes > ALERT_BYTES_MAX {
            return Err(Rejected::TooLarge("the alert", ALERT_BYTES_MAX));
        }
        let wanted = self.wants(alert.kind, alert.flow.as_ref());
        let alert = wanted.then(|| {
            let key = format!("alert:{}", alert.dedupe);
            let id = self.write_alert(alert);
            let result = format!("alert:{id}");
            self.changes.claims.push(Claim { key, result });
            id
        });
        Ok(Answer::Alert {
            alert,
            duplicate: false,
        })
    }

    /// A run has come to its end.
    pub(super) fn alert_of_end(&mut self, row: &RunRow) {
        let (flow, id) = (&row.flow, row.id);
        let failed = matches!(row.state, RunState::Failed | RunState::TimedOut);
        let kinds = [AlertKind::RunFailed, AlertKind::RunRecovered];
        let failing = self.s.flows.get(flow).and_then(|it| it.row.failing);
        let remember = failed && kinds.iter().any(|it| self.wants(*it, Some(flow)));
        if remember && failing != Some(id) {
            self.change_flow(flow, |it| it.failing = Some(id));
        }
        let why = row.reason.as_ref().map(|it| format!(": {it}"));
        let why = why.unwrap_or_default();
        let data = |more: Value| {
            let mut data = json!({
                "state": row.state,
                "generation": row.generation,
                "trigger": row.trigger,
                "interval": crate::params::interval(row.interval),
                "reason": row.reason,
                "started_at": row.started_at.map(|it| it.to_string()),
                "finished_at": row.finished_at.map(|it| it.to_string()),
            });
            if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
                data.extend(more);
            }
            data
        };
        let (kind, key, summary) = match row.state {
            RunState::Failed | RunState::TimedOut => {
                let what = match row.state {
                    RunState::TimedOut => "ran out of time",
                    _ => "failed",
                };
                let summary = format!("{flow} {what} in run {id}{why}");
                (AlertKind::RunFailed, format!("runs:{flow}"), summary)
            }
            RunState::Succeeded => {
                let took = row.started_at.zip(row.finished_at);
                let took = took.map_or(Span::ZERO, |(from, to)| to - from);
                let summary = format!("{flow} succeeded in run {id} after {took}");
                (AlertKind::RunSucceeded, format!("run:{id}:end"), summary)
            }
            RunState::Cancelled => {
                let summary = format!("run {id} of {flow} was cancelled{why}");
                (AlertKind::RunCancelled, format!("run:{id}:end"), summary)
            }
            RunState::Queued | RunState::Running | RunState::Cancelling => return,
        };
        self.alert(About {
            kind,
            flow,
            run: Some(id),
            step: None,
            key,
            summary,
            data: data(json!({})),
        });
        if row.state == RunState::Succeeded
            && let Some(failed) = failing
        {
            self.change_flow(flow, |it| it.failing = None);
            self.alert(About {
                kind: AlertKind::RunRecovered,
                flow,
                run: Some(id),
                step: None,
                key: format!("runs:{flow}"),
                summary: match failed == id {
                    true => format!("{flow} is well again: run {id} was resumed and succeeded"),
                    false => {
                        format!(
                            "{flow} is well again: run {id} succeeded after {failed} had failed"
                        )
                    }
                },
                data: data(json!({ "failed": failed.to_string() })),
            });
        }
    }

    /// An attempt has failed, and another follows.
    pub(super) fn alert_of_retry(&mut self, row: &TaskRow) {
        let flow = self.run(row.run).row.flow.clone();
        if !self.wants(AlertKind::TaskRetried, Some(&flow)) {
            return;
        }
        let it = &row.retries;
        let counts = [it.user, it.infrastructure, it.network, it.throttled];
        let retries = counts.iter().sum::<u32>() + it.capacity + it.oom;
        let why = row.reason.as_ref().map(ToString::to_string);
        let task = &row.task;
        self.alert(About {
            kind: AlertKind::TaskRetried,
            flow: &flow,
            run: Some(row.run),
            step: Some(task.step.clone()),
            key: format!("task:{}:{task}", row.run),
            summary: format!(
                "{task} of {flow} is tried again (retry {retries}, run {}): {}",
                row.run,
                why.unwrap_or_default()
            ),
            data: json!({
                "task": task,
                "attempt": row.attempt,
                "retries": retries,
                "retry_at": row.retry_at.map(|it| it.to_string()),
                "reason": row.reason,
            }),
        });
    }

    /// Remembers that an occurrence is missed: those of one trigger are one alert.
    pub(super) fn note_missed(&mut self, row: &OccurrenceRow) {
        let dropped = match row.reason {
            Some(Reason::MissedTooMany { dropped, .. }) => dropped,
            _ => 0,
        };
        let key = (row.flow.clone(), row.trigger.clone());
        let it = self.missed.entry(key).or_insert_with(|| Missed {
            count: 0,
            first: row.due_at,
            last: row.due_at,
            reason: None,
        });
        it.count += 1 + dropped;
        it.first = it.first.min(row.due_at);
        if row.due_at >= it.last {
            it.last = row.due_at;
            it.reason.clone_from(&row.reason);
        }
    }

    pub(super) fn alert_of_missed(&mut self) {
        for ((flow, trigger), it) in std::mem::take(&mut self.missed) {
            let what = match it.count {
                1 => format!("the occurrence of {} was missed", it.last),
                count => format!("{count} occurrences were missed, the last of {}", it.last),
            };
            let why = it.reason.as_ref().map(|it| format!(": {it}"));
            self.alert(About {
                kind: AlertKind::ScheduleMissed,
                flow: &flow,
                run: None,
                step: None,
                key: schedule_key(&flow, &trigger),
                summary: format!("{flow}: {what}{}", why.unwrap_or_default()),
                data: json!({
                    "trigger": trigger,
                    "count": it.count,
                    "first_due_at": it.first.to_string(),
                    "last_due_at": it.last.to_string(),
                    "reason": it.reason,
                }),
            });
        }
    }

    /// A flow file can no longer be read, or (`None`) can be read again.
    pub(super) fn alert_of_file(&mut self, flow: &FlowName, file: &str, message: Option<&str>) {
        if !self.wants(AlertKind::FlowInvalid, Some(flow)) {
            return;
        }
        self.write_alert(NewAlert {
            kind: AlertKind::FlowInvalid,
            flow: Some(flow.clone()),
            run: None,
            step: None,
            key: format!("file:{flow}"),
            is_recovery: message.is_none(),
            summary: match message {
                Some(message) => {
                    let first = message.lines().next().unwrap_or_default();
                    format!("{file} is not valid, so {flow} stays as it was: {first}")
                }
                None => format!("{file} is valid again, and {flow} is as it says"),
            },
            data: json!({ "file": file, "message": message }),
            dedupe: String::new(),
        });
    }
}

fn schedule_key(flow: &FlowName, trigger: &TriggerName) -> String {
    format!("schedule:{flow}:{trigger}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Input;

    #[test]
    fn the_claim_of_an_alert_is_the_one_that_is_written() {
        let alert = NewAlert {
            kind: AlertKind::OrphanFound,
            flow: None,
            run: None,
            step: None,
            key: "orphan:job-1".into(),
            is_recovery: false,
            summary: "a job nobody started".into(),
            data: json!({}),
            dedupe: "orphan job-1".into(),
        };
        let config = crate::Config {
            alert_kinds: [AlertKind::OrphanFound].into(),
            ..crate::Config::default()
        };
        let core = crate::Scheduler::recover(config, crate::row::Recovered::default());
        let input = Input::Alert(Box::new(alert));
        let claim = input.claim();
        let (decision, answer) = core.decide(Timestamp(5), input).expect("accepted");
        assert_eq!(decision.changes.claims[0].key, claim.expect("has one"));
        assert_eq!(decision.changes.claims[0].result, "alert:1");
        assert_eq!(decision.changes.alerts[0].id, AlertId(1));
        let (alert, duplicate) = (Some(AlertId(1)), false);
        assert_eq!(answer, Answer::Alert { alert, duplicate });
    }
}
