//! Changes as the statements take them: for each table one JSON text of all its rows.

use crate::error::Error;
use crate::path::sortable;
use crate::table::{self, Kind, Table, Write};
use dalsegno_scheduler::failure::FailureClass;
use dalsegno_scheduler::row::Changes;
use dalsegno_scheduler::{TaskId, Timestamp};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::hash::Hash;

/// How a database wants its rows: an array is shorter, an object names its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Arrays,
    Objects,
}

/// The rows of one statement.
#[derive(Debug)]
pub(crate) struct Part {
    pub table: &'static Table,
    pub write: Write,
    pub rows: String,
}

/// One part for each table that changes, in the order in which they must be written.
pub(crate) fn parts(changes: &Changes, shape: Shape) -> Result<Vec<Part>, Error> {
    let mut parts = Vec::new();
    let mut part = |table: &'static Table, write: Write, fill: &mut dyn FnMut(&mut Rows)| {
        let columns = match write {
            Write::Upsert => table.columns,
            Write::Delete => table.key_columns(),
        };
        let mut rows = Rows {
            text: String::from("["),
            columns,
            column: 0,
            shape,
        };
        fill(&mut rows);
        if rows.text.len() > 1 {
            rows.text.push(']');
            parts.push(Part {
                table,
                write,
                rows: rows.text,
            });
        }
    };

    check_claims(changes)?;
    part(&table::CLAIM, Write::Upsert, &mut |rows| {
        for it in &changes.claims {
            rows.row(|row| row.text(&it.key).text(&it.result));
        }
    });
    part(&table::VERSION, Write::Upsert, &mut |rows| {
        for it in newest(&changes.versions, |it| (&it.flow, &it.version)) {
            rows.row(|row| {
                row.text(it.flow.as_str())
                    .text(it.version.as_str())
                    .text(&it.source)
                    .text(&it.definition)
                    .at(it.created_at)
            });
        }
    });
    part(&table::FLOW, Write::Upsert, &mut |rows| {
        for it in newest(&changes.flows, |it| &it.name) {
            let paused = it.paused.as_ref();
            rows.row(|row| {
                row.text(it.name.as_str())
                    .maybe_text(it.active_version.as_ref().map(|it| it.as_str()))
                    .text(&it.file)
                    .maybe_text(it.invalid.as_deref())
                    .flag(it.removed)
                    .maybe_text(paused.map(|it| it.by.as_str()))
                    .maybe_text(paused.and_then(|it| it.reason.as_deref()))
                    .maybe_at(paused.map(|it| it.at))
                    .maybe_int(it.blocked_by.map(|it| it.0 as i64))
                    .at(it.updated_at)
                    .maybe_int(it.failing.map(|it| it.0 as i64))
            });
        }
    });
    part(&table::EVENT, Write::Upsert, &mut |rows| {
        for it in &changes.events {
            rows.row(|row| {
                row.int(it.seq as i64)
                    .text(&it.source)
                    .text(&it.id)
                    .text(&it.kind)
                    .maybe_text(it.subject.as_deref())
                    .at(it.time)
                    .json(&*it.data)
                    .at(it.received_at)
                    .maybe_int(it.replay_of.map(|it| it as i64))
            });
        }
    });
    part(&table::OCCURRENCE, Write::Upsert, &mut |rows| {
        for it in newest(&changes.occurrences, |it| (&it.flow, &it.key)) {
            rows.row(|row| {
                row.text(it.flow.as_str())
                    .text(&it.key)
                    .text(it.trigger.as_str())
                    .at(it.due_at)
                    .at(it.interval.start)
                    .at(it.interval.end)
                    .text(it.state.as_str())
                    .maybe_json(it.reason.as_ref())
                    .maybe_int(it.run.map(|it| it.0 as i64))
                    .at(it.updated_at)
                    .at(it.since)
            });
        }
    });
    part(&table::MATCH, Write::Upsert, &mut |rows| {
        for it in newest(&changes.matches, |it| {
            (it.event, &it.flow, &it.trigger, it.leaf)
        }) {
            rows.row(|row| {
                row.int(it.event as i64)
                    .text(it.flow.as_str())
                    .text(it.trigger.as_str())
                    .int(it.leaf.into())
                    .text(it.outcome.as_str())
                    .maybe_json(it.reason.as_ref())
                    .maybe_int(it.run.map(|it| it.0 as i64))
                    .at(it.updated_at)
            });
        }
    });
    // A row that is deleted and written in one commit is only written: PostgreSQL runs both at once.
    let written: HashSet<_> = changes
        .half_matches
        .iter()
        .map(|it| (&it.flow, &it.trigger, &it.join_key, it.leaf, it.event.seq))
        .collect();
    part(&table::HALF_MATCH, Write::Delete, &mut |rows| {
        for (flow, trigger, join_key, leaf, event) in &changes.half_matches_deleted {
            if !written.contains(&(flow, trigger, join_key, *leaf, *event)) {
                rows.row(|row| {
                    row.text(flow.as_str())
                        .text(trigger.as_str())
                        .text(join_key)
                        .int((*leaf).into())
                        .int(*event as i64)
                });
            }
        }
    });
    part(&table::HALF_MATCH, Write::Upsert, &mut |rows| {
        for it in newest(&changes.half_matches, |it| {
            (&it.flow, &it.trigger, &it.join_key, it.leaf, it.event.seq)
        }) {
            rows.row(|row| {
                row.text(it.flow.as_str())
                    .text(it.trigger.as_str())
                    .text(&it.join_key)
                    .int(it.leaf.into())
                    .int(it.event.seq as i64)
                    .maybe_at(it.expires_at)
            });
        }
    });
    part(&table::RUN, Write::Upsert, &mut |rows| {
        for it in newest(&changes.runs, |it| it.id) {
            rows.row(|row| {
                row.int(it.id.0 as i64)
                    .text(it.flow.as_str())
                    .text(it.version.as_str())
                    .text(it.state.as_str())
                    .int(it.generation.into())
                    .json(&*it.params)
                    .text(&it.occurrence)
                    .text(it.trigger.as_str())
                    .at(it.interval.start)
                    .at(it.interval.end)
                    .int(it.priority.into())
                    .json(&it.events)
                    .json(&*it.event_data)
                    .maybe_json(it.reason.as_ref())
                    .maybe_text(it.ending.map(|it| it.as_str()))
                    .at(it.queued_at)
                    .at(it.created_at)
                    .maybe_at(it.started_at)
                    .maybe_at(it.finished_at)
                    .maybe_at(it.deadline)
                    .maybe_int(it.origin.map(|it| it.0 as i64))
                    .maybe_at(it.origin_created_at)
                    .maybe_int(it.parent.as_ref().map(|it| it.attempt.run.0 as i64))
                    .maybe_json(it.parent.as_ref())
                    .maybe_int(it.backfill.map(|it| it as i64))
            });
        }
    });
    part(&table::TASK, Write::Upsert, &mut |rows| {
        for it in newest(&changes.tasks, |it| (it.run, &it.task)) {
            rows.row(|row| {
                row.int(it.run.0 as i64)
                    .task(&it.task)
                    .text(it.state.as_str())
                    .int(it.attempt.into())
                    .int(it.attempts_before.into())
                    .int(it.attempts_before_that.into())
                    .int(it.retries.user.into())
                    .int(it.retries.infrastructure.into())
                    .maybe_json(it.reason.as_ref())
                    .at(it.ready_at)
                    .maybe_at(it.submitted_at)
                    .maybe_at(it.started_at)
                    .maybe_at(it.finished_at)
                    .maybe_at(it.retry_at)
                    .maybe_at(it.deadline)
                    .maybe_text(it.external_id.as_deref())
                    .maybe_json(it.outputs.as_deref())
                    .maybe_json(it.chosen.as_deref())
                    .maybe_int(it.splits.map(i64::from))
                    .int(it.retries.network.into())
                    .int(it.retries.throttled.into())
                    .int(it.retries.capacity.into())
                    .int(it.retries.oom.into())
                    .maybe_text(it.log.as_deref())
                    .maybe_json(it.array.as_ref())
                    .maybe_int(it.memory_bytes.map(|it| it as i64))
            });
        }
    });
    part(&table::SCOPE, Write::Upsert, &mut |rows| {
        for it in newest(&changes.scopes, |it| (it.run, &it.scope, it.path)) {
            rows.row(|row| {
                row.int(it.run.0 as i64)
                    .text(it.scope.as_str())
                    .text(&sortable(&it.path))
                    .text(it.state.as_str())
                    .json(&*it.items)
                    .maybe_json(it.reason.as_ref())
                    .at(it.opened_at)
                    .maybe_at(it.closed_at)
            });
        }
    });
    part(&table::ATTEMPT, Write::Upsert, &mut |rows| {
        for it in newest(&changes.attempts, |it| &it.id) {
            rows.row(|row| {
                row.int(it.id.run.0 as i64)
                    .task(&it.id.task)
                    .int(it.id.number.into())
                    .text(it.state.as_str())
                    .maybe_json(it.reason.as_ref())
                    .maybe_text(it.external_id.as_deref())
                    .at(it.submitted_at)
                    .maybe_at(it.started_at)
                    .at(it.finished_at)
                    .maybe_text(it.class.map(FailureClass::as_str))
                    .maybe_text(it.rule.as_deref())
                    .maybe_text(it.log.as_deref())
                    .maybe_int(it.memory_bytes.map(|it| it as i64))
            });
        }
    });
    part(&table::REFUSED, Write::Upsert, &mut |rows| {
        for it in newest(&changes.refused, |it| (&it.source, &it.id)) {
            rows.row(|row| {
                row.text(&it.source)
                    .text(&it.id)
                    .text(&it.reason)
                    .text(&it.excerpt)
                    .at(it.received_at)
            });
        }
    });
    part(&table::BACKFILL, Write::Upsert, &mut |rows| {
        for it in newest(&changes.backfills, |it| it.id) {
            rows.row(|row| {
                row.int(it.id as i64)
                    .text(it.flow.as_str())
                    .at(it.from)
                    .at(it.to)
                    .text(it.mode.as_str())
                    .flag(it.downstream)
                    .text(it.state.as_str())
                    .int(it.parallel.into())
                    .text(&it.by)
                    .maybe_json(it.reason.as_ref())
                    .at(it.created_at)
                    .at(it.updated_at)
                    .maybe_at(it.finished_at)
            });
        }
    });
    part(&table::BACKFILL_ITEM, Write::Upsert, &mut |rows| {
        for it in newest(&changes.backfill_items, |it| (it.backfill, it.number)) {
            rows.row(|row| {
                row.int(it.backfill as i64)
                    .int(it.number.into())
                    .text(it.flow.as_str())
                    .at(it.interval.start)
                    .at(it.interval.end)
                    .text(it.trigger.as_str())
                    .json(&it.after)
                    .text(it.state.as_str())
                    .maybe_int(it.run.map(|it| it.0 as i64))
                    .maybe_json(it.reason.as_ref())
                    .json(&it.events)
                    .at(it.updated_at)
            });
        }
    });
    part(&table::SLA, Write::Upsert, &mut |rows| {
        for it in newest(&changes.slas, |it| (&it.flow, &it.promise, &it.period)) {
            rows.row(|row| {
                row.text(it.flow.as_str())
                    .text(&it.promise)
                    .text(&it.period)
                    .at(it.due_at)
                    .text(it.state.as_str())
                    .flag(it.open)
                    .maybe_int(it.run.map(|it| it.0 as i64))
                    .maybe_text(it.step.as_ref().map(|it| it.as_str()))
                    .maybe_at(it.at_risk_since)
                    .maybe_at(it.missed_at)
                    .maybe_at(it.met_at)
                    .maybe_text(it.told.map(|it| it.as_str()))
                    .maybe_json(it.prediction.as_deref())
                    .maybe_json(it.acknowledged.as_ref())
                    .maybe_at(it.silenced_until)
                    .maybe_json(it.withdrawn.as_ref())
                    .int(it.more as i64)
                    .at(it.created_at)
                    .at(it.updated_at)
            });
        }
    });
    part(&table::SILENCE, Write::Upsert, &mut |rows| {
        for it in newest(&changes.silences, |it| it.id) {
            rows.row(|row| {
                row.int(it.id as i64)
                    .maybe_text(it.flow.as_deref())
                    .maybe_text(it.promise.as_deref())
                    .at(it.from)
                    .at(it.until)
                    .text(&it.by)
                    .maybe_text(it.note.as_deref())
                    .at(it.created_at)
                    .maybe_at(it.ended_at)
            });
        }
    });
    part(&table::ALERT, Write::Upsert, &mut |rows| {
        for it in &changes.alerts {
            rows.row(|row| {
                row.int(it.id.0 as i64)
                    .at(it.at)
                    .text(it.kind.as_str())
                    .maybe_text(it.flow.as_ref().map(|it| it.as_str()))
                    .maybe_text(it.owner.as_deref())
                    .maybe_int(it.run.map(|it| it.0 as i64))
                    .maybe_text(it.step.as_ref().map(|it| it.as_str()))
                    .text(&it.key)
                    .flag(it.is_recovery)
                    .text(&it.summary)
                    .json(&it.data)
            });
        }
    });
    part(&table::JOURNAL, Write::Upsert, &mut |rows| {
        for it in &changes.journal {
            rows.row(|row| {
                row.int(it.seq as i64)
                    .at(it.at)
                    .text(it.flow.as_str())
                    .maybe_int(it.run.map(|it| it.0 as i64))
                    .text(&it.kind)
                    .text(&it.body)
            });
        }
    });
    Ok(parts)
}

/// A claim that stands twice in one commit cannot be answered: neither was stored before.
pub(crate) fn check_claims(changes: &Changes) -> Result<(), Error> {
    let mut seen = HashSet::new();
    match changes.claims.iter().find(|it| !seen.insert(&it.key)) {
        Some(twice) => Err(Error::ClaimedTwice(twice.key.clone())),
        None => Ok(()),
    }
}

/// PostgreSQL's text cannot hold the character NUL; in names, where alone it could occur unescaped, the
/// replacement character stands for it on both databases.
pub(crate) fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{FFFD}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Of several rows with one key the last, in the order of the rows.
fn newest<'a, T, K: Hash + Eq>(rows: &'a [T], key: impl Fn(&'a T) -> K) -> Vec<&'a T> {
    if rows.len() <= 1 {
        return rows.iter().collect();
    }
    let mut seen = HashSet::with_capacity(rows.len());
    let mut newest: Vec<&T> = rows
        .iter()
        .rev()
        .filter(|it| seen.insert(key(it)))
        .collect();
    newest.reverse();
    newest
}

/// JSON under construction, column by column.
struct Rows {
    text: String,
    columns: &'static [(&'static str, Kind)],
    column: usize,
    shape: Shape,
}

impl Rows {
    fn row(&mut self, fill: impl FnOnce(&mut Self) -> &mut Self) {
        if self.text.len() > 1 {
            self.text.push(',');
        }
        let (open, close) = match self.shape {
            Shape::Arrays => ('[', ']'),
            Shape::Objects => ('{', '}'),
        };
        self.text.push(open);
        self.column = 0;
        fill(self);
        assert_eq!(
            self.column,
            self.columns.len(),
            "each column gets one value"
        );
        self.text.push(close);
    }

    /// The next column; true when its value must be written.
    fn next(&mut self, has_value: bool) -> bool {
        let (name, _) = self.columns[self.column];
        self.column += 1;
        match self.shape {
            Shape::Arrays => {
                if self.column > 1 {
                    self.text.push(',');
                }
                if !has_value {
                    self.text.push_str("null");
                }
            }
            Shape::Objects if has_value => {
                if self.column > 1 {
                    self.text.push(',');
                }
                self.text.push('"');
                self.text.push_str(name);
                self.text.push_str("\":");
            }
            Shape::Objects => {}
        }
        has_value
    }

    fn maybe_int(&mut self, value: Option<i64>) -> &mut Self {
        if self.next(value.is_some()) {
            let _ = write!(self.text, "{}", value.unwrap_or_default());
        }
        self
    }

    fn int(&mut self, value: i64) -> &mut Self {
        self.maybe_int(Some(value))
    }

    fn at(&mut self, at: Timestamp) -> &mut Self {
        self.int(at.0)
    }

    fn maybe_at(&mut self, at: Option<Timestamp>) -> &mut Self {
        self.maybe_int(at.map(|it| it.0))
    }

    fn flag(&mut self, value: bool) -> &mut Self {
        self.next(true);
        self.text.push_str(if value { "true" } else { "false" });
        self
    }

    fn maybe_text(&mut self, value: Option<&str>) -> &mut Self {
        if self.next(value.is_some()) {
            self.string(&without_nul(value.unwrap_or_default()));
        }
        self
    }

    fn text(&mut self, value: &str) -> &mut Self {
        self.maybe_text(Some(value))
    }

    fn maybe_json<T: Serialize + ?Sized>(&mut self, value: Option<&T>) -> &mut Self {
        if self.next(value.is_some()) {
            let json = serde_json::to_string(&value).expect("rows are plain data with text keys");
            self.string(&json);
        }
        self
    }

    fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> &mut Self {
        self.maybe_json(Some(value))
    }

    fn task(&mut self, task: &TaskId) -> &mut Self {
        self.text(task.step.as_str())
            .text(&sortable(&task.path))
            .int(task.iteration.into())
    }

    fn string(&mut self, text: &str) {
        let json = serde_json::to_string(text).expect("a string is JSON");
        self.text.push_str(&json);
    }
}
