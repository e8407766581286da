//! The tables that commits write, and the statements that write them.
//!
//! A commit hands each table's rows over as one JSON text, so that a batch of any size is a handful
//! of statements. Both databases take it apart themselves.

use std::fmt::Write as _;

/// A table as commits see it.
#[derive(Debug)]
pub(crate) struct Table {
    pub name: &'static str,
    /// In the order in which [`crate::encode`] writes them; the first [`Table::key`] are the primary key.
    pub columns: &'static [(&'static str, Kind)],
    pub key: usize,
    /// Whether a second row with the same key replaces the first (else it is an error).
    pub replaces: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    Text,
    Flag,
}

use Kind::{Flag, Int, Text};

pub(crate) const CLAIM: Table = Table {
    name: "claim",
    columns: &[("key", Text), ("result", Text)],
    key: 1,
    replaces: false,
};

pub(crate) const VERSION: Table = Table {
    name: "flow_version",
    columns: &[
        ("flow", Text),
        ("version", Text),
        ("source", Text),
        ("definition", Text),
        ("created_at", Int),
    ],
    key: 2,
    replaces: true,
};

pub(crate) const FLOW: Table = Table {
    name: "flow",
    columns: &[
        ("name", Text),
        ("active_version", Text),
        ("file", Text),
        ("invalid", Text),
        ("removed", Flag),
        ("paused_by", Text),
        ("paused_reason", Text),
        ("paused_at", Int),
        ("blocked_by", Int),
        ("updated_at", Int),
        ("failing", Int),
    ],
    key: 1,
    replaces: true,
};

pub(crate) const EVENT: Table = Table {
    name: "event",
    columns: &[
        ("seq", Int),
        ("source", Text),
        ("id", Text),
        ("type", Text),
        ("subject", Text),
        ("time", Int),
        ("data", Text),
        ("received_at", Int),
        ("replay_of", Int),
    ],
    key: 1,
    replaces: false,
};

pub(crate) const OCCURRENCE: Table = Table {
    name: "occurrence",
    columns: &[
        ("flow", Text),
        ("key", Text),
        ("trigger", Text),
        ("due_at", Int),
        ("interval_start", Int),
        ("interval_end", Int),
        ("state", Text),
        ("reason", Text),
        ("run", Int),
        ("updated_at", Int),
        ("since", Int),
    ],
    key: 2,
    replaces: true,
};

pub(crate) const MATCH: Table = Table {
    name: "event_match",
    columns: &[
        ("event", Int),
        ("flow", Text),
        ("trigger", Text),
        ("leaf", Int),
        ("outcome", Text),
        ("reason", Text),
        ("run", Int),
        ("updated_at", Int),
    ],
    key: 4,
    replaces: true,
};

pub(crate) const HALF_MATCH: Table = Table {
    name: "half_match",
    columns: &[
        ("flow", Text),
        ("trigger", Text),
        ("join_key", Text),
        ("leaf", Int),
        ("event", Int),
        ("expires_at", Int),
    ],
    key: 5,
    replaces: true,
};

pub(crate) const RUN: Table = Table {
    name: "run",
    columns: &[
        ("id", Int),
        ("flow", Text),
        ("version", Text),
        ("state", Text),
        ("generation", Int),
        ("params", Text),
        ("occurrence", Text),
        ("trigger", Text),
        ("interval_start", Int),
        ("interval_end", Int),
        ("priority", Int),
        ("events", Text),
        ("event_data", Text),
        ("reason", Text),
        ("ending", Text),
        ("queued_at", Int),
        ("created_at", Int),
        ("started_at", Int),
        ("finished_at", Int),
        ("deadline", Int),
        ("origin", Int),
        ("origin_created_at", Int),
        ("parent_run", Int),
        ("parent", Text),
        ("backfill", Int),
    ],
    key: 1,
    replaces: true,
};

pub(crate) const TASK: Table = Table {
    name: "task",
    columns: &[
        ("run", Int),
        ("step", Text),
        ("path", Text),
        ("iteration", Int),
        ("state", Text),
        ("attempt", Int),
        ("attempts_before", Int),
        ("attempts_before_that", Int),
        ("retries_user", Int),
        ("retries_infrastructure", Int),
        ("reason", Text),
        ("ready_at", Int),
        ("submitted_at", Int),
        ("started_at", Int),
        ("finished_at", Int),
        ("retry_at", Int),
        ("deadline", Int),
        ("external_id", Text),
        ("outputs", Text),
        ("chosen", Text),
        ("splits", Int),
        ("retries_network", Int),
        ("retries_throttled", Int),
        ("retries_capacity", Int),
        ("retries_oom", Int),
        ("log", Text),
        ("array_place", Text),
        ("memory_bytes", Int),
    ],
    key: 4,
    replaces: true,
};

pub(crate) const SCOPE: Table = Table {
    name: "scope",
    columns: &[
        ("run", Int),
        ("scope", Text),
        ("path", Text),
        ("state", Text),
        ("items", Text),
        ("reason", Text),
        ("opened_at", Int),
        ("closed_at", Int),
    ],
    key: 3,
    replaces: true,
};

pub(crate) const ATTEMPT: Table = Table {
    name: "attempt",
    columns: &[
        ("run", Int),
        ("step", Text),
        ("path", Text),
        ("iteration", Int),
        ("number", Int),
        ("state", Text),
        ("reason", Text),
        ("external_id", Text),
        ("submitted_at", Int),
        ("started_at", Int),
        ("finished_at", Int),
        ("class", Text),
        ("rule", Text),
        ("log", Text),
        ("memory_bytes", Int),
    ],
    key: 5,
    replaces: true,
};

pub(crate) const REFUSED: Table = Table {
    name: "refused",
    columns: &[
        ("source", Text),
        ("id", Text),
        ("reason", Text),
        ("excerpt", Text),
        ("received_at", Int),
    ],
    key: 2,
    replaces: true,
};

pub(crate) const BACKFILL: Table = Table {
    name: "backfill",
    columns: &[
        ("id", Int),
        ("flow", Text),
        ("from_at", Int),
        ("to_at", Int),
        ("mode", Text),
        ("downstream", Flag),
        ("state", Text),
        ("parallel", Int),
        ("by", Text),
        ("reason", Text),
        ("created_at", Int),
        ("updated_at", Int),
        ("finished_at", Int),
    ],
    key: 1,
    replaces: true,
};

pub(crate) const BACKFILL_ITEM: Table = Table {
    name: "backfill_item",
    columns: &[
        ("backfill", Int),
        ("number", Int),
        ("flow", Text),
        ("interval_start", Int),
        ("interval_end", Int),
        ("trigger", Text),
        ("after", Text),
        ("state", Text),
        ("run", Int),
        ("reason", Text),
        ("events", Text),
        ("updated_at", Int),
    ],
    key: 2,
    replaces: true,
};

pub(crate) const SLA: Table = Table {
    name: "sla",
    columns: &[
        ("flow", Text),
        ("promise", Text),
        ("period", Text),
        ("due_at", Int),
        ("state", Text),
        ("open", Flag),
        ("run", Int),
        ("step", Text),
        ("at_risk_since", Int),
        ("missed_at", Int),
        ("met_at", Int),
        ("told", Text),
        ("prediction", Text),
        ("acknowledged", Text),
        ("silenced_until", Int),
        ("withdrawn", Text),
        ("more", Int),
        ("created_at", Int),
        ("updated_at", Int),
    ],
    key: 3,
    replaces: true,
};

pub(crate) const SILENCE: Table = Table {
    name: "silence",
    columns: &[
        ("id", Int),
        ("flow", Text),
        ("promise", Text),
        ("from_at", Int),
        ("until_at", Int),
        ("by", Text),
        ("note", Text),
        ("created_at", Int),
        ("ended_at", Int),
    ],
    key: 1,
    replaces: true,
};

pub(crate) const ALERT: Table = Table {
    name: "alert",
    columns: &[
        ("id", Int),
        ("at", Int),
        ("kind", Text),
        ("flow", Text),
        ("owner", Text),
        ("run", Int),
        ("step", Text),
        ("key", Text),
        ("is_recovery", Flag),
        ("summary", Text),
        ("data", Text),
    ],
    key: 1,
    replaces: false,
};

pub(crate) const JOURNAL: Table = Table {
    name: "journal",
    columns: &[
        ("seq", Int),
        ("at", Int),
        ("flow", Text),
        ("run", Int),
        ("kind", Text),
        ("body", Text),
    ],
    key: 1,
    replaces: false,
};

/// All of them.
pub(crate) const ALL: &[&Table] = &[
    &CLAIM,
    &VERSION,
    &FLOW,
    &EVENT,
    &OCCURRENCE,
    &MATCH,
    &HALF_MATCH,
    &RUN,
    &TASK,
    &SCOPE,
    &ATTEMPT,
    &REFUSED,
    &BACKFILL,
    &BACKFILL_ITEM,
    &SLA,
    &SILENCE,
    &ALERT,
    &JOURNAL,
];

impl Table {
    /// The columns that name a row.
    pub(crate) fn key_columns(&self) -> &'static [(&'static str, Kind)] {
        &self.columns[..self.key]
    }

    /// The names of all columns, for SELECT.
    pub(crate) fn list(&self) -> String {
        names(self.columns, "")
    }

    /// The same, each with the table's name before it.
    pub(crate) fn qualified_list(&self) -> String {
        names(self.columns, &format!("{}.", self.name))
    }

    /// Writes the rows that `source` gives.
    fn upsert(&self, selected: &str, source: &str) -> String {
        let mut sql = format!(
            "INSERT INTO {} ({}) SELECT {selected} FROM {source}",
            self.name,
            self.list()
        );
        if self.replaces {
            let key = names(self.key_columns(), "");
            let set: Vec<String> = self.columns[self.key..]
                .iter()
                .map(|(name, _)| format!("{name} = excluded.{name}"))
                .collect();
            let _ = write!(sql, " ON CONFLICT ({key}) DO UPDATE SET {}", set.join(", "));
        }
        sql
    }
}

fn names(columns: &[(&str, Kind)], prefix: &str) -> String {
    columns
        .iter()
        .map(|(name, _)| format!("{prefix}{name}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// One statement of a commit; `$n` stands for the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Upsert,
    Delete,
}

pub(crate) mod sqlite {
    use super::{Table, Write};

    /// The lease, if holder `$1` has it in term `$2`: one row or none.
    const HELD: &str = "lease.name = 'leader' AND lease.holder = $1 AND lease.term = $2";

    /// Begins a transaction; then a row if the lease is held, none if not.
    pub(crate) fn begin() -> String {
        format!("BEGIN IMMEDIATE; SELECT 1 FROM lease WHERE {HELD}; ")
    }

    /// The statement that writes to `table`, its rows being argument `$n`. It writes nothing if the lease
    /// is lost, so that a whole commit is one message to SQLite's thread.
    pub(crate) fn statement(table: &Table, write: Write, n: usize) -> String {
        let source = format!("lease CROSS JOIN json_each(${n}) WHERE {HELD}");
        match write {
            Write::Upsert => table.upsert(&values(table.columns.len()), &source),
            Write::Delete => {
                let key = super::names(table.key_columns(), "");
                let values = values(table.key);
                format!(
                    "DELETE FROM {} WHERE ({key}) IN (SELECT {values} FROM {source})",
                    table.name
                )
            }
        }
    }

    fn values(columns: usize) -> String {
        (0..columns)
            .map(|column| format!("value ->> {column}"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

pub(crate) mod postgres {
    use super::{Kind, Table, Write};

    /// The statement that writes to `table`, its rows being argument `$n`. It stands beside the common
    /// table expression `held`, which has one row, or none if the lease is lost.
    pub(crate) fn statement(table: &Table, write: Write, n: usize) -> String {
        match write {
            Write::Upsert => table.upsert(
                &super::names(table.columns, "r."),
                &format!("held, {}", records(table.columns, n)),
            ),
            Write::Delete => {
                let matches: Vec<String> = table
                    .key_columns()
                    .iter()
                    .map(|(name, _)| format!("{}.{name} = r.{name}", table.name))
                    .collect();
                let records = records(table.key_columns(), n);
                format!(
                    "DELETE FROM {} USING held, {records} WHERE {}",
                    table.name,
                    matches.join(" AND ")
                )
            }
        }
    }

    fn records(columns: &[(&str, Kind)], n: usize) -> String {
        let columns: Vec<String> = columns
            .iter()
            .map(|(name, kind)| {
                let kind = match kind {
                    Kind::Int => "BIGINT",
                    Kind::Text => "TEXT",
                    Kind::Flag => "BOOLEAN",
                };
                format!("{name} {kind}")
            })
            .collect();
        format!(
            "json_to_recordset(${n}::json) AS r ({})",
            columns.join(", ")
        )
    }
}
