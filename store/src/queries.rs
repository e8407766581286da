//! The interface over a database: what is read, in which order, page by page.

use crate::backend::Backend;
use crate::decode;
use crate::error::{CommitError, Error};
use crate::lease::Lease;
use crate::page::{
    Cursor, EventFilter, JournalFilter, OccurrenceFilter, Page, RunFilter, TaskCount, TaskFilter,
    page_limit,
};
use crate::path::sortable;
use crate::select::{Arg, Select};
use crate::store::Store;
use crate::table::{self, Table};
use async_trait::async_trait;
use dalsegno_scheduler::row::{
    AttemptRow, Changes, Claim, EventRow, FlowRow, FlowVersionRow, HalfMatchRow, JournalEntry,
    MatchRow, OccurrenceRow, Recovered, RunRow, RunSnapshot, RunState, ScopeRow, TaskRow,
};
use dalsegno_scheduler::{FlowName, RunId, Span, TaskId, Timestamp, Version};
use std::sync::Arc;

/// Begins a term if the lease is free, expired or ours. Arguments: holder, expiry, now.
pub(crate) const TAKE_LEASE: &str = "\
    INSERT INTO lease (name, holder, term, expires_at) VALUES ('leader', ?, 1, ?) \
    ON CONFLICT (name) DO UPDATE \
    SET holder = excluded.holder, term = lease.term + 1, expires_at = excluded.expires_at \
    WHERE lease.expires_at <= ? OR lease.holder = excluded.holder \
    RETURNING term";
pub(crate) const RENEW_LEASE: &str = "\
    UPDATE lease SET expires_at = ? WHERE name = 'leader' AND holder = ? AND term = ? RETURNING term";
pub(crate) const RELEASE_LEASE: &str = "\
    UPDATE lease SET holder = '', expires_at = 0 WHERE name = 'leader' AND holder = ? AND term = ? RETURNING term";
pub(crate) const LEASE: &str = "\
    SELECT holder, term, expires_at FROM lease WHERE name = 'leader' AND holder <> ''";

/// The predicates of the partial indexes, word for word.
const UNFINISHED: &str = "state IN ('queued', 'running', 'cancelling')";
const RUN_UNFINISHED: &str = "run.state IN ('queued', 'running', 'cancelling')";
const UNSUCCESSFUL: &str = "state IN ('failed', 'cancelled', 'timed_out')";

const LAST_NUMBERS: &str = "\
    SELECT (SELECT COALESCE(MAX(id), 0) FROM run), (SELECT COALESCE(MAX(seq), 0) FROM event), \
    (SELECT COALESCE(MAX(seq), 0) FROM journal)";

#[async_trait]
impl<B: Backend> Store for B {
    async fn schema_version(&self) -> Result<i64, Error> {
        Backend::schema_version(self).await
    }

    async fn migrate(&self) -> Result<(), Error> {
        Backend::migrate(self).await
    }

    async fn ping(&self) -> Result<(), Error> {
        one(self, Select::new("SELECT 1", []), |_| Ok(()))
            .await
            .map(|_| ())
    }

    async fn take_lease(
        &self,
        holder: &str,
        now: Timestamp,
        ttl: Span,
    ) -> Result<Option<Lease>, Error> {
        let expires_at = now + ttl;
        let rows = self
            .write(Select::new(
                TAKE_LEASE,
                [holder.into(), expires_at.0.into(), now.0.into()],
            ))
            .await?;
        let term = rows
            .first()
            .map(|row| decode::Columns::new(row, "the lease").int())
            .transpose()?;
        Ok(term.map(|term| Lease {
            holder: holder.to_owned(),
            term,
            expires_at,
        }))
    }

    async fn renew_lease(
        &self,
        lease: &Lease,
        now: Timestamp,
        ttl: Span,
    ) -> Result<Option<Lease>, Error> {
        let expires_at = now + ttl;
        let args = [
            expires_at.0.into(),
            lease.holder.as_str().into(),
            lease.term.into(),
        ];
        let rows = self.write(Select::new(RENEW_LEASE, args)).await?;
        Ok((!rows.is_empty()).then(|| Lease {
            expires_at,
            ..lease.clone()
        }))
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), Error> {
        let args = [lease.holder.as_str().into(), lease.term.into()];
        self.write(Select::new(RELEASE_LEASE, args))
            .await
            .map(|_| ())
    }

    async fn lease(&self) -> Result<Option<Lease>, Error> {
        one(self, Select::new(LEASE, []), |row| {
            let c = &mut decode::Columns::new(row, "the lease");
            Ok(Lease {
                holder: c.text()?,
                term: c.int()?,
                expires_at: Timestamp(c.int()?),
            })
        })
        .await
    }

    async fn load(&self) -> Result<Recovered, Error> {
        let answers = self.read(load()).await?;
        let [
            flows,
            versions,
            occurrences,
            half_matches,
            runs,
            tasks,
            scopes,
            last,
        ] = &answers[..]
        else {
            unreachable!("one answer for each statement");
        };
        let last = last.first().ok_or_else(no_numbers)?;
        let last = &mut decode::Columns::new(last, "the last numbers");
        Ok(Recovered {
            flows: all(flows, decode::flow)?,
            versions: all(versions, decode::version)?,
            occurrences: all(occurrences, decode::occurrence)?,
            half_matches: all(half_matches, decode::half_match)?,
            runs: all(runs, decode::run)?,
            tasks: all(tasks, decode::task)?,
            scopes: all(scopes, decode::scope)?,
            last_run: last.int()? as u64,
            last_event: last.int()? as u64,
            last_journal: last.int()? as u64,
            backfills: Vec::new(),
            backfill_items: Vec::new(),
            last_backfill: 0,
        })
    }

    async fn commit(&self, lease: &Lease, changes: &Changes) -> Result<(), CommitError> {
        Backend::commit(self, lease, changes).await
    }

    async fn flows(&self) -> Result<Vec<FlowRow>, Error> {
        list(self, from(&table::FLOW, "ORDER BY name", []), decode::flow).await
    }

    async fn flow(&self, flow: &FlowName) -> Result<Option<FlowRow>, Error> {
        one(
            self,
            from(&table::FLOW, "WHERE name = ?", [flow.as_str().into()]),
            decode::flow,
        )
        .await
    }

    async fn versions(&self, flow: &FlowName) -> Result<Vec<FlowVersionRow>, Error> {
        let select = from(
            &table::VERSION,
            "WHERE flow = ? ORDER BY created_at DESC, version",
            [flow.as_str().into()],
        );
        list(self, select, decode::version).await
    }

    async fn version(
        &self,
        flow: &FlowName,
        version: &Version,
    ) -> Result<Option<FlowVersionRow>, Error> {
        let args = [flow.as_str().into(), version.as_str().into()];
        one(
            self,
            from(&table::VERSION, "WHERE flow = ? AND version = ?", args),
            decode::version,
        )
        .await
    }

    async fn run(&self, run: RunId) -> Result<Option<Arc<RunRow>>, Error> {
        one(self, run_by_id(run), decode::run).await
    }

    async fn snapshot(&self, run: RunId) -> Result<Option<RunSnapshot>, Error> {
        let mut version = Select::new(
            &format!("SELECT {} FROM run", table::VERSION.qualified_list()),
            [],
        );
        version.push(
            "JOIN flow_version ON flow_version.flow = run.flow AND flow_version.version = run.version WHERE run.id = ?",
            [id(run)],
        );
        let tasks = from(
            &table::TASK,
            "WHERE run = ? ORDER BY step, path, iteration",
            [id(run)],
        );
        let answers = self
            .read(vec![run_by_id(run), version, tasks, scopes(run)])
            .await?;
        let [run, version, tasks, scopes] = &answers[..] else {
            unreachable!("one answer for each statement");
        };
        let (Some(run), Some(version)) = (run.first(), version.first()) else {
            return Ok(None);
        };
        Ok(Some(RunSnapshot {
            run: decode::run(run)?,
            tasks: all(tasks, decode::task)?,
            scopes: all(scopes, decode::scope)?,
            version: decode::version(version)?,
            children: Vec::new(),
        }))
    }

    async fn runs(
        &self,
        filter: &RunFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Arc<RunRow>>, Error> {
        let limit = page_limit(limit);
        let rows = list(self, runs(filter, cursor, limit)?, decode::run).await?;
        Ok(Page::cut(rows, limit, |it| it.id.to_string()))
    }

    async fn recent_runs(&self, limit_per_flow: usize) -> Result<Vec<Arc<RunRow>>, Error> {
        list(self, recent_runs(page_limit(limit_per_flow)), decode::run).await
    }

    async fn tasks(
        &self,
        run: RunId,
        filter: &TaskFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Arc<TaskRow>>, Error> {
        let limit = page_limit(limit);
        let rows = list(self, tasks(run, filter, cursor, limit)?, decode::task).await?;
        Ok(Page::cut(rows, limit, |it| it.task.to_string()))
    }

    async fn task(&self, run: RunId, task: &TaskId) -> Result<Option<Arc<TaskRow>>, Error> {
        one(
            self,
            with_task(from(&table::TASK, "WHERE run = ?", [id(run)]), task),
            decode::task,
        )
        .await
    }

    async fn task_counts(&self, run: RunId) -> Result<Vec<TaskCount>, Error> {
        let select = Select::new(
            "SELECT step, state, COUNT(*) FROM task WHERE run = ? GROUP BY step, state ORDER BY step, state",
            [id(run)],
        );
        list(self, select, decode::task_count).await
    }

    async fn attempts(&self, run: RunId, task: Option<&TaskId>) -> Result<Vec<AttemptRow>, Error> {
        list(self, attempts(run, task), decode::attempt).await
    }

    async fn scopes(&self, run: RunId) -> Result<Vec<Arc<ScopeRow>>, Error> {
        list(self, scopes(run), decode::scope).await
    }

    async fn journal(
        &self,
        filter: &JournalFilter,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<JournalEntry>, Error> {
        list(
            self,
            journal(filter, after_seq, page_limit(limit)),
            decode::journal,
        )
        .await
    }

    async fn events(
        &self,
        filter: &EventFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Arc<EventRow>>, Error> {
        let limit = page_limit(limit);
        let rows = list(self, events(filter, cursor, limit)?, decode::event).await?;
        Ok(Page::cut(rows, limit, |it| it.seq.to_string()))
    }

    async fn event(&self, seq: u64) -> Result<Option<Arc<EventRow>>, Error> {
        one(
            self,
            from(&table::EVENT, "WHERE seq = ?", [(seq as i64).into()]),
            decode::event,
        )
        .await
    }

    async fn matches(&self, event: u64) -> Result<Vec<MatchRow>, Error> {
        let select = from(
            &table::MATCH,
            "WHERE event = ? ORDER BY flow, trigger, leaf",
            [(event as i64).into()],
        );
        list(self, select, decode::event_match).await
    }

    async fn half_matches(&self, flow: &FlowName) -> Result<Vec<HalfMatchRow>, Error> {
        list(self, half_matches(Some(flow)), decode::half_match).await
    }

    async fn occurrences(
        &self,
        flow: &FlowName,
        filter: &OccurrenceFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<OccurrenceRow>, Error> {
        let limit = page_limit(limit);
        let rows = list(
            self,
            occurrences(flow, filter, cursor, limit)?,
            decode::occurrence,
        )
        .await?;
        Ok(Page::cut(rows, limit, |it| {
            format!("{} {}", it.due_at.0, it.key)
        }))
    }

    async fn occurrence(&self, flow: &FlowName, key: &str) -> Result<Option<OccurrenceRow>, Error> {
        let args = [flow.as_str().into(), key.into()];
        one(
            self,
            from(&table::OCCURRENCE, "WHERE flow = ? AND key = ?", args),
            decode::occurrence,
        )
        .await
    }

    async fn claim(&self, key: &str) -> Result<Option<Claim>, Error> {
        one(self, claim(key), decode::claim).await
    }
}

async fn list<B: Backend, T>(
    store: &B,
    select: Select,
    decode: fn(&B::Row) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let answers = store.read(vec![select]).await?;
    answers.iter().flatten().map(decode).collect()
}

async fn one<B: Backend, T>(
    store: &B,
    select: Select,
    decode: fn(&B::Row) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let answers = store.read(vec![select]).await?;
    answers.iter().flatten().next().map(decode).transpose()
}

fn all<R, T>(rows: &[R], decode: fn(&R) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    rows.iter().map(decode).collect()
}

fn no_numbers() -> Error {
    Error::Corrupt {
        place: "the last numbers",
        expected: "one row",
        value: String::new(),
    }
}

fn id(run: RunId) -> Arg {
    Arg::Int(run.0 as i64)
}

/// All columns of a table, as [`decode`] wants them.
fn from(table: &Table, rest: &str, args: impl IntoIterator<Item = Arg>) -> Select {
    let mut select = Select::new(&format!("SELECT {} FROM {}", table.list(), table.name), []);
    select.push(rest, args);
    select
}

pub(crate) fn load() -> Vec<Select> {
    let of_unfinished = |table: &Table, order: &str| {
        let columns = table.qualified_list();
        let name = table.name;
        Select::new(
            &format!(
                "SELECT {columns} FROM run JOIN {name} ON {name}.run = run.id WHERE {RUN_UNFINISHED} ORDER BY {order}"
            ),
            [],
        )
    };
    let versions = format!(
        "WHERE (flow, version) IN (SELECT name, active_version FROM flow \
         UNION SELECT flow, version FROM run WHERE {UNFINISHED}) ORDER BY flow, version"
    );
    vec![
        from(&table::FLOW, "ORDER BY name", []),
        from(&table::VERSION, &versions, []),
        from(
            &table::OCCURRENCE,
            "WHERE state = 'expected' ORDER BY flow, key",
            [],
        ),
        half_matches(None),
        from(&table::RUN, &format!("WHERE {UNFINISHED} ORDER BY id"), []),
        of_unfinished(&table::TASK, "run.id, task.step, task.path, task.iteration"),
        of_unfinished(&table::SCOPE, "run.id, scope.scope, scope.path"),
        Select::new(LAST_NUMBERS, []),
    ]
}

pub(crate) fn claim(key: &str) -> Select {
    from(&table::CLAIM, "WHERE key = ?", [key.into()])
}

fn run_by_id(run: RunId) -> Select {
    from(&table::RUN, "WHERE id = ?", [id(run)])
}

fn scopes(run: RunId) -> Select {
    from(
        &table::SCOPE,
        "WHERE run = ? ORDER BY scope, path",
        [id(run)],
    )
}

fn half_matches(flow: Option<&FlowName>) -> Select {
    let columns = format!(
        "{}, {}",
        table::HALF_MATCH.qualified_list(),
        table::EVENT.qualified_list()
    );
    let mut select = Select::new(
        &format!("SELECT {columns} FROM half_match JOIN event ON event.seq = half_match.event"),
        [],
    );
    if let Some(flow) = flow {
        select.push("WHERE half_match.flow = ?", [flow.as_str().into()]);
    }
    select.push(
        "ORDER BY half_match.flow, half_match.trigger, half_match.join_key, half_match.leaf, half_match.event",
        [],
    );
    select
}

pub(crate) fn runs(
    filter: &RunFilter,
    cursor: Option<&Cursor>,
    limit: usize,
) -> Result<Select, Error> {
    let before = cursor.map_or(Ok(i64::MAX), Cursor::number)?;
    let mut select = from(&table::RUN, "WHERE id < ?", [before.into()]);
    if let Some(flow) = &filter.flow {
        select.push("AND flow = ?", [flow.as_str().into()]);
    }
    if let Some(trigger) = &filter.trigger {
        select.push("AND trigger = ?", [trigger.as_str().into()]);
    }
    one_of(
        &mut select,
        "state",
        filter.states.iter().map(|it| it.as_str()),
    );
    // Said in the words of a partial index, so that the database finds it.
    let unsuccessful = [RunState::Failed, RunState::Cancelled, RunState::TimedOut];
    if !filter.states.is_empty() && filter.flow.is_none() {
        if filter.states.iter().all(|it| !it.is_terminal()) {
            select.push(&format!("AND {UNFINISHED}"), []);
        } else if filter.states.iter().all(|it| unsuccessful.contains(it)) {
            select.push(&format!("AND {UNSUCCESSFUL}"), []);
        }
    }
    select.push("ORDER BY id DESC LIMIT ?", [one_more(limit)]);
    Ok(select)
}

/// For each flow the runs above its `limit`-next newest, found by index. CROSS JOIN makes SQLite begin with
/// the flows; PostgreSQL takes it as any join.
pub(crate) fn recent_runs(limit: usize) -> Select {
    let columns = table::RUN.qualified_list();
    Select::new(
        &format!(
            "SELECT {columns} FROM flow CROSS JOIN run WHERE run.flow = flow.name AND run.id > COALESCE(\
             (SELECT older.id FROM run AS older WHERE older.flow = flow.name \
             ORDER BY older.id DESC LIMIT 1 OFFSET ?), 0) \
             ORDER BY flow.name, run.id DESC"
        ),
        [Arg::Int(limit as i64)],
    )
}

pub(crate) fn tasks(
    run: RunId,
    filter: &TaskFilter,
    cursor: Option<&Cursor>,
    limit: usize,
) -> Result<Select, Error> {
    let mut select = from(&table::TASK, "WHERE run = ?", [id(run)]);
    if let Some(step) = &filter.step {
        select.push("AND step = ?", [step.as_str().into()]);
    }
    one_of(
        &mut select,
        "state",
        filter.states.iter().map(|it| it.as_str()),
    );
    if let Some(cursor) = cursor {
        let after: TaskId = cursor.0.parse().map_err(|_| cursor.bad())?;
        let path = sortable(&after.path).as_str().into();
        let iteration = Arg::Int(after.iteration.into());
        // Within one step SQLite finds the place by index only if the step is left out.
        if filter.step.as_ref() == Some(&after.step) {
            select.push("AND (path, iteration) > (?, ?)", [path, iteration]);
        } else {
            let step = after.step.as_str().into();
            select.push(
                "AND (step, path, iteration) > (?, ?, ?)",
                [step, path, iteration],
            );
        }
    }
    select.push("ORDER BY step, path, iteration LIMIT ?", [one_more(limit)]);
    Ok(select)
}

fn with_task(mut select: Select, task: &TaskId) -> Select {
    let args = [
        task.step.as_str().into(),
        sortable(&task.path).as_str().into(),
        Arg::Int(task.iteration.into()),
    ];
    select.push("AND step = ? AND path = ? AND iteration = ?", args);
    select
}

pub(crate) fn attempts(run: RunId, task: Option<&TaskId>) -> Select {
    let mut select = from(&table::ATTEMPT, "WHERE run = ?", [id(run)]);
    if let Some(task) = task {
        select = with_task(select, task);
    }
    select.push("ORDER BY step, path, iteration, number", []);
    select
}

pub(crate) fn journal(filter: &JournalFilter, after_seq: u64, limit: usize) -> Select {
    let mut select = from(
        &table::JOURNAL,
        "WHERE seq > ?",
        [Arg::Int(after_seq as i64)],
    );
    match filter {
        JournalFilter::All => {}
        JournalFilter::Run(run) => select.push("AND run = ?", [id(*run)]),
        JournalFilter::Flow(flow) => {
            select.push("AND flow = ? AND run IS NULL", [flow.as_str().into()])
        }
    }
    select.push("ORDER BY seq LIMIT ?", [Arg::Int(limit as i64)]);
    select
}

pub(crate) fn events(
    filter: &EventFilter,
    cursor: Option<&Cursor>,
    limit: usize,
) -> Result<Select, Error> {
    let before = cursor.map_or(Ok(i64::MAX), Cursor::number)?;
    let mut select = from(&table::EVENT, "WHERE seq < ?", [before.into()]);
    if let Some(source) = &filter.source {
        select.push("AND source = ?", [source.as_str().into()]);
    }
    if let Some(kind) = &filter.kind {
        select.push("AND type = ?", [kind.as_str().into()]);
    }
    select.push("ORDER BY seq DESC LIMIT ?", [one_more(limit)]);
    Ok(select)
}

pub(crate) fn occurrences(
    flow: &FlowName,
    filter: &OccurrenceFilter,
    cursor: Option<&Cursor>,
    limit: usize,
) -> Result<Select, Error> {
    let mut select = from(&table::OCCURRENCE, "WHERE flow = ?", [flow.as_str().into()]);
    if let Some(from) = filter.from {
        select.push("AND due_at >= ?", [from.0.into()]);
    }
    // What comes after a cursor is due before `to` anyway, and one bound is found by index, not two.
    if let Some(cursor) = cursor {
        let (due_at, key) = cursor.number_and_text()?;
        select.push("AND (due_at, key) < (?, ?)", [due_at.into(), key.into()]);
    } else if let Some(to) = filter.to {
        select.push("AND due_at < ?", [to.0.into()]);
    }
    select.push("ORDER BY due_at DESC, key DESC LIMIT ?", [one_more(limit)]);
    Ok(select)
}

/// One row more than the page holds tells whether another page follows.
fn one_more(limit: usize) -> Arg {
    Arg::Int(limit as i64 + 1)
}

/// `column IN (…)` over words of our own; nothing if there are none.
fn one_of<'a>(select: &mut Select, column: &str, words: impl Iterator<Item = &'a str>) {
    let words: Vec<Arg> = words.map(Arg::from).collect();
    if !words.is_empty() {
        let places = vec!["?"; words.len()].join(", ");
        select.push(&format!("AND {column} IN ({places})"), words);
    }
}
