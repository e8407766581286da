//! The interface over a database: what is read, in which order, page by page.

use crate::backend::Backend;
use crate::children::{DEPTH_MAX, to_resume};
use crate::decode;
use crate::error::{CommitError, Error};
use crate::lease::Lease;
use crate::page::{
    AlertFilter, Attainment, BackfillCount, BackfillFilter, Cursor, DURATIONS, EventFilter,
    JournalFilter, MatchFilter, OUTAGE_MIN, OccurrenceCount, OccurrenceFilter, Outage, PAGE_MAX,
    Page, RunFilter, SlaFilter, StepTime, TO_MONDAY, TaskCount, TaskFilter, WEEK, after_prefix,
    event_cursor, match_cursor, middle, occurrence_cursor, page_limit, refused_cursor, sla_cursor,
};
use crate::path::sortable;
use crate::select::{Arg, Select};
use crate::store::Store;
use crate::table::{self, Table};
use async_trait::async_trait;
use dalsegno_scheduler::alert::AlertRow;
use dalsegno_scheduler::backfill::History;
use dalsegno_scheduler::row::{
    AttemptRow, BackfillItemRow, BackfillItemState, BackfillRow, Changes, Claim, EventRow, FlowRow,
    FlowVersionRow, HalfMatchRow, JournalEntry, MatchOutcome, MatchRow, OccurrenceRow, Recovered,
    RefusedRow, RunRow, RunSnapshot, RunState, ScopeRow, SilenceRow, SlaRow, TaskRow,
};
use dalsegno_scheduler::{FlowName, RunId, Span, TaskId, Timestamp, Version};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;

/// Keeps others from the lease until the end of the transaction, so that what the next statement sees is what
/// the one after it changes.
pub(crate) const LOCK_LEASE: &str = "UPDATE lease SET term = term WHERE name = 'leader'";
/// Records that nobody has decided for a while, if the lease can be taken. Arguments: now, now less the
/// shortest gap worth telling, now.
pub(crate) const RECORD_OUTAGE: &str = "\
    INSERT INTO outage (id, from_at, to_at, holder, reason) \
    SELECT term + 1, certain_at, ?, CASE WHEN holder = '' THEN former ELSE holder END, \
    CASE WHEN holder = '' THEN 'stopped' ELSE 'vanished' END \
    FROM lease WHERE name = 'leader' AND certain_at > 0 AND certain_at <= ? AND expires_at <= ? \
    AND (holder <> '' OR former IS NOT NULL)";
/// Begins a term if the lease is free, expired or ours. Arguments: holder, expiry, now, now.
pub(crate) const TAKE_LEASE: &str = "\
    INSERT INTO lease (name, holder, term, expires_at, certain_at) VALUES ('leader', ?, 1, ?, ?) \
    ON CONFLICT (name) DO UPDATE \
    SET holder = excluded.holder, term = lease.term + 1, expires_at = excluded.expires_at, certain_at = excluded.certain_at \
    WHERE lease.expires_at <= ? OR lease.holder = excluded.holder \
    RETURNING term";
pub(crate) const RENEW_LEASE: &str = "\
    UPDATE lease SET expires_at = ?, certain_at = ? WHERE name = 'leader' AND holder = ? AND term = ? RETURNING term";
pub(crate) const RELEASE_LEASE: &str = "\
    UPDATE lease SET former = holder, holder = '', expires_at = 0, certain_at = ? WHERE name = 'leader' AND holder = ? AND term = ? RETURNING term";
pub(crate) const LEASE: &str = "\
    SELECT holder, term, expires_at FROM lease WHERE name = 'leader' AND holder <> ''";

/// The predicates of the partial indexes, word for word.
const UNFINISHED: &str = "state IN ('queued', 'running', 'cancelling')";
const RUN_UNFINISHED: &str = "run.state IN ('queued', 'running', 'cancelling')";
const UNSUCCESSFUL: &str = "state IN ('failed', 'cancelled', 'timed_out')";
const BACKFILL_UNFINISHED: &str = "state IN ('running', 'paused', 'cancelling')";

/// Both databases read it alike, and find the partial index by it.
const SLA_OPEN: &str = "open";

/// Arguments: name, value, now.
pub(crate) const PUT_POSITION: &str = "\
    INSERT INTO position (name, value, updated_at) VALUES (?, ?, ?) \
    ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at";

/// Arguments: name, value, now.
const FIRST_POSITION: &str = "\
    INSERT INTO position (name, value, updated_at) VALUES (?, ?, ?) \
    ON CONFLICT (name) DO NOTHING RETURNING name";

/// Arguments: value, now, name, the value until then.
const SWAP_POSITION: &str = "\
    UPDATE position SET value = ?, updated_at = ? WHERE name = ? AND value = ? RETURNING name";

const LAST_NUMBERS: &str = "\
    SELECT (SELECT COALESCE(MAX(id), 0) FROM run), (SELECT COALESCE(MAX(seq), 0) FROM event), \
    (SELECT COALESCE(MAX(seq), 0) FROM journal), (SELECT COALESCE(MAX(id), 0) FROM backfill), \
    (SELECT COALESCE(MAX(id), 0) FROM alert), (SELECT COALESCE(MAX(id), 0) FROM silence)";

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
            .write(vec![
                Select::new(LOCK_LEASE, []),
                Select::new(
                    RECORD_OUTAGE,
                    [now.0.into(), (now - OUTAGE_MIN).0.into(), now.0.into()],
                ),
                Select::new(
                    TAKE_LEASE,
                    [
                        holder.into(),
                        expires_at.0.into(),
                        now.0.into(),
                        now.0.into(),
                    ],
                ),
            ])
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
            now.0.into(),
            lease.holder.as_str().into(),
            lease.term.into(),
        ];
        let rows = self.write(vec![Select::new(RENEW_LEASE, args)]).await?;
        Ok((!rows.is_empty()).then(|| Lease {
            expires_at,
            ..lease.clone()
        }))
    }

    async fn release_lease(&self, lease: &Lease, now: Timestamp) -> Result<(), Error> {
        let args = [
            now.0.into(),
            lease.holder.as_str().into(),
            lease.term.into(),
        ];
        self.write(vec![Select::new(RELEASE_LEASE, args)])
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
            ahead,
            left,
            half_matches,
            runs,
            tasks,
            scopes,
            backfills,
            backfill_items,
            slas,
            silences,
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
            ahead: all(ahead, decode::occurrence)?,
            left: all(left, decode::occurrence)?,
            half_matches: all(half_matches, decode::half_match)?,
            runs: all(runs, decode::run)?,
            tasks: all(tasks, decode::task)?,
            scopes: all(scopes, decode::scope)?,
            last_run: last.int()? as u64,
            last_event: last.int()? as u64,
            last_journal: last.int()? as u64,
            last_backfill: last.int()? as u64,
            last_alert: last.int()? as u64,
            last_silence: last.int()? as u64,
            slas: all(slas, decode::sla)?,
            silences: all(silences, decode::silence)?,
            backfills: all(backfills, decode::backfill)?,
            backfill_items: all(backfill_items, decode::backfill_item)?,
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
        snapshot(self, run, 0).await
    }

    async fn children(&self, run: RunId) -> Result<Vec<Arc<RunRow>>, Error> {
        list(self, children(run), decode::run).await
    }

    async fn runs_in(
        &self,
        flows: &[FlowName],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<History>, Error> {
        let flows: BTreeSet<&FlowName> = flows.iter().collect();
        let selects = flows.into_iter().map(|it| runs_in(it, from, to));
        let answers = self.read(selects.collect()).await?;
        let mut runs: Vec<History> = answers
            .iter()
            .flatten()
            .map(decode::history)
            .collect::<Result<_, _>>()?;
        runs.sort_unstable_by_key(|it| Reverse(it.run));
        Ok(runs)
    }

    async fn typical_durations(
        &self,
        flows: &[FlowName],
    ) -> Result<BTreeMap<FlowName, Span>, Error> {
        let flows: BTreeSet<&FlowName> = flows.iter().collect();
        let answers = self
            .read(flows.into_iter().map(durations).collect())
            .await?;
        let durations: Vec<(FlowName, Span)> = answers
            .iter()
            .flatten()
            .map(decode::duration)
            .collect::<Result<_, _>>()?;
        Ok(middle(durations))
    }

    async fn step_times(&self, flows: &[FlowName], limit: usize) -> Result<Vec<StepTime>, Error> {
        let flows: BTreeSet<&FlowName> = flows.iter().collect();
        let limit = page_limit(limit);
        let selects = flows.into_iter().map(|it| step_times(it, limit));
        let answers = self.read(selects.collect()).await?;
        let times = answers.iter().flatten().map(decode::step_time);
        times.collect()
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
        Ok(Page::cut(rows, limit, |it| event_cursor(it)))
    }

    async fn events_range(
        &self,
        from: Timestamp,
        to: Timestamp,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<Arc<EventRow>>, Error> {
        let select = events_range(from, to, after_seq, page_limit(limit));
        list(self, select, decode::event).await
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

    async fn matches_of(
        &self,
        flow: &FlowName,
        filter: &MatchFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<MatchRow>, Error> {
        let limit = page_limit(limit);
        let select = matches_of(flow, filter, cursor, limit)?;
        let rows = list(self, select, decode::event_match).await?;
        Ok(Page::cut(rows, limit, match_cursor))
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
        Ok(Page::cut(rows, limit, occurrence_cursor))
    }

    async fn occurrences_near(
        &self,
        flow: &FlowName,
        at: Timestamp,
        limit: usize,
    ) -> Result<Vec<OccurrenceRow>, Error> {
        let answers = self
            .read(occurrences_near(flow, at, page_limit(limit)))
            .await?;
        let [after, before] = &answers[..] else {
            unreachable!("one answer for each statement");
        };
        let mut rows = all(after, decode::occurrence)?;
        rows.reverse();
        rows.extend(all(before, decode::occurrence)?);
        Ok(rows)
    }

    async fn occurrence_counts(
        &self,
        flow: &FlowName,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<OccurrenceCount>, Error> {
        let select = occurrence_counts(flow, since, until);
        list(self, select, decode::occurrence_count).await
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

    async fn refused(
        &self,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<RefusedRow>, Error> {
        let limit = page_limit(limit);
        let rows = list(self, refused(cursor, limit)?, decode::refused).await?;
        Ok(Page::cut(rows, limit, refused_cursor))
    }

    async fn backfills(
        &self,
        filter: &BackfillFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<BackfillRow>, Error> {
        let limit = page_limit(limit);
        let rows = list(self, backfills(filter, cursor, limit)?, decode::backfill).await?;
        Ok(Page::cut(rows, limit, |it| it.id.to_string()))
    }

    async fn backfill(&self, id: u64) -> Result<Option<BackfillRow>, Error> {
        let select = from(&table::BACKFILL, "WHERE id = ?", [(id as i64).into()]);
        one(self, select, decode::backfill).await
    }

    async fn backfill_items(
        &self,
        id: u64,
        state: Option<BackfillItemState>,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<BackfillItemRow>, Error> {
        let limit = page_limit(limit);
        let select = backfill_items(id, state, cursor, limit)?;
        let rows = list(self, select, decode::backfill_item).await?;
        Ok(Page::cut(rows, limit, |it| it.number.to_string()))
    }

    async fn backfill_counts(&self, id: u64) -> Result<Vec<BackfillCount>, Error> {
        list(self, backfill_counts(id), decode::backfill_count).await
    }

    async fn slas(
        &self,
        filter: &SlaFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<SlaRow>, Error> {
        let limit = page_limit(limit);
        let rows = list(self, slas(filter, cursor, limit)?, decode::sla).await?;
        Ok(Page::cut(rows, limit, sla_cursor))
    }

    async fn attainment(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Attainment>, Error> {
        list(self, attainment(from, to), decode::attainment).await
    }

    async fn silences(&self, limit: usize) -> Result<Vec<SilenceRow>, Error> {
        let select = from(
            &table::SILENCE,
            "ORDER BY id DESC LIMIT ?",
            [Arg::Int(page_limit(limit) as i64)],
        );
        list(self, select, decode::silence).await
    }

    async fn alerts_after(&self, id: u64, limit: usize) -> Result<Vec<AlertRow>, Error> {
        list(self, alerts_after(id, page_limit(limit)), decode::alert).await
    }

    async fn alerts_page(
        &self,
        filter: &AlertFilter,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<AlertRow>, Error> {
        let limit = page_limit(limit);
        let rows = list(self, alerts_page(filter, cursor, limit)?, decode::alert).await?;
        Ok(Page::cut(rows, limit, |it| it.id.to_string()))
    }

    async fn outages(&self, since: Timestamp) -> Result<Vec<Outage>, Error> {
        list(self, outages(since), decode::outage).await
    }

    async fn position(&self, name: &str) -> Result<Option<String>, Error> {
        one(self, position(name), decode::position).await
    }

    async fn put_position(&self, name: &str, value: &str, now: Timestamp) -> Result<(), Error> {
        let args = [name.into(), value.into(), now.0.into()];
        self.write(vec![Select::new(PUT_POSITION, args)])
            .await
            .map(|_| ())
    }

    async fn swap_position(
        &self,
        name: &str,
        old: Option<&str>,
        value: &str,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let select = match old {
            None => Select::new(FIRST_POSITION, [name.into(), value.into(), now.0.into()]),
            Some(old) => Select::new(
                SWAP_POSITION,
                [value.into(), now.0.into(), name.into(), old.into()],
            ),
        };
        Ok(!self.write(vec![select]).await?.is_empty())
    }
}

/// A run with all that hangs on it. Its sub-flows are `depth` deep already.
fn snapshot<B: Backend>(
    store: &B,
    run: RunId,
    depth: u32,
) -> Pin<Box<dyn Future<Output = Result<Option<RunSnapshot>, Error>> + Send + '_>> {
    Box::pin(async move {
        let answers = store
            .read(vec![
                run_by_id(run),
                version_of(run),
                tasks_of(run),
                scopes(run),
                children(run),
            ])
            .await?;
        let [run, version, tasks, scopes, children] = &answers[..] else {
            unreachable!("one answer for each statement");
        };
        let (Some(run), Some(version)) = (run.first(), version.first()) else {
            return Ok(None);
        };
        let mut snapshot = RunSnapshot {
            run: decode::run(run)?,
            tasks: all(tasks, decode::task)?,
            scopes: all(scopes, decode::scope)?,
            version: decode::version(version)?,
            children: Vec::new(),
        };
        if depth < DEPTH_MAX {
            let children = all(children, decode::run)?;
            for child in to_resume(&children, snapshot.tasks.iter()) {
                let child = self::snapshot(store, child, depth + 1).await?;
                snapshot.children.extend(child);
            }
        }
        Ok(Some(snapshot))
    })
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

/// What time it is at least the newest entry tells; a clock may be set back by a day.
const LATELY: &str = "coalesce((SELECT at FROM journal WHERE seq = (SELECT max(seq) FROM journal)), 0) - 86400000000";

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
        from(
            &table::OCCURRENCE,
            &format!(
                "WHERE state <> 'expected' AND interval_end > due_at AND key >= 'cron:' AND key < 'cron;' \
                 AND interval_end > {LATELY} ORDER BY interval_end, flow, key"
            ),
            [],
        ),
        from(
            &table::OCCURRENCE,
            &format!(
                "WHERE state = 'skipped' AND due_at > updated_at AND due_at > {LATELY} \
                 AND flow IN (SELECT name FROM flow WHERE removed) ORDER BY due_at, flow, key"
            ),
            [],
        ),
        half_matches(None),
        from(&table::RUN, &format!("WHERE {UNFINISHED} ORDER BY id"), []),
        of_unfinished(&table::TASK, "run.id, task.step, task.path, task.iteration"),
        of_unfinished(&table::SCOPE, "run.id, scope.scope, scope.path"),
        from(
            &table::BACKFILL,
            &format!("WHERE {BACKFILL_UNFINISHED} ORDER BY id"),
            [],
        ),
        Select::new(
            &format!(
                "SELECT {} FROM backfill JOIN backfill_item ON backfill_item.backfill = backfill.id \
                 WHERE backfill.{BACKFILL_UNFINISHED} ORDER BY backfill.id, backfill_item.number",
                table::BACKFILL_ITEM.qualified_list()
            ),
            [],
        ),
        from(
            &table::SLA,
            &format!("WHERE {SLA_OPEN} ORDER BY flow, promise, period"),
            [],
        ),
        from(&table::SILENCE, "WHERE ended_at IS NULL ORDER BY id", []),
        Select::new(LAST_NUMBERS, []),
    ]
}

pub(crate) fn claim(key: &str) -> Select {
    from(&table::CLAIM, "WHERE key = ?", [key.into()])
}

fn run_by_id(run: RunId) -> Select {
    from(&table::RUN, "WHERE id = ?", [id(run)])
}

pub(crate) fn version_of(run: RunId) -> Select {
    let columns = table::VERSION.qualified_list();
    Select::new(
        &format!(
            "SELECT {columns} FROM run JOIN flow_version ON flow_version.flow = run.flow \
             AND flow_version.version = run.version WHERE run.id = ?"
        ),
        [id(run)],
    )
}

fn tasks_of(run: RunId) -> Select {
    from(
        &table::TASK,
        "WHERE run = ? ORDER BY step, path, iteration",
        [id(run)],
    )
}

pub(crate) fn children(run: RunId) -> Select {
    from(&table::RUN, "WHERE parent_run = ? ORDER BY id", [id(run)])
}

pub(crate) fn runs_in(flow: &FlowName, from: Timestamp, to: Timestamp) -> Select {
    Select::new(
        "SELECT flow, interval_start, interval_end, id, state, params FROM run \
         WHERE flow = ? AND interval_start >= ? AND interval_start < ?",
        [flow.as_str().into(), from.0.into(), to.0.into()],
    )
}

pub(crate) fn durations(flow: &FlowName) -> Select {
    Select::new(
        "SELECT flow, finished_at - started_at FROM run WHERE flow = ? AND state = 'succeeded' \
         AND started_at IS NOT NULL AND finished_at IS NOT NULL ORDER BY id DESC LIMIT ?",
        [flow.as_str().into(), Arg::Int(DURATIONS as i64)],
    )
}

pub(crate) fn step_times(flow: &FlowName, limit: usize) -> Select {
    Select::new(
        "SELECT newest.flow, newest.id, newest.started_at, newest.finished_at, task.step, COUNT(*), MIN(task.submitted_at), \
         MAX(task.finished_at), CAST(SUM(task.finished_at - task.submitted_at) AS BIGINT) \
         FROM (SELECT flow, id, started_at, finished_at FROM run WHERE flow = ? AND state = 'succeeded' \
         AND started_at IS NOT NULL AND finished_at IS NOT NULL ORDER BY id DESC LIMIT ?) AS newest \
         JOIN task ON task.run = newest.id WHERE task.state = 'succeeded' \
         AND task.submitted_at IS NOT NULL AND task.finished_at IS NOT NULL \
         GROUP BY newest.flow, newest.id, newest.started_at, newest.finished_at, task.step \
         ORDER BY newest.id DESC, task.step",
        [flow.as_str().into(), Arg::Int(limit as i64)],
    )
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
    if let Some(subject) = &filter.subject {
        select.push("AND subject = ?", [subject.as_str().into()]);
    }
    if let Some(prefix) = &filter.subject_prefix {
        select.push("AND subject >= ?", [prefix.as_str().into()]);
        if let Some(end) = after_prefix(prefix) {
            select.push("AND subject < ?", [end.as_str().into()]);
        }
    }
    if let Some(since) = filter.since {
        select.push("AND received_at >= ?", [since.0.into()]);
    }
    if let Some(until) = filter.until {
        select.push("AND received_at < ?", [until.0.into()]);
    }
    if let Some(flow) = &filter.flow {
        let flow = flow.as_str().into();
        match filter.outcome {
            None => select.push(
                "AND seq IN (SELECT event FROM event_match WHERE event_match.flow = ?)",
                [flow],
            ),
            Some(outcome) => select.push(
                "AND seq IN (SELECT event FROM event_match WHERE event_match.flow = ? AND outcome = ?)",
                [flow, outcome.as_str().into()],
            ),
        }
    }
    select.push("ORDER BY seq DESC LIMIT ?", [one_more(limit)]);
    Ok(select)
}

pub(crate) fn events_range(from: Timestamp, to: Timestamp, after_seq: u64, limit: usize) -> Select {
    self::from(
        &table::EVENT,
        "WHERE (received_at, seq) > (?, ?) AND received_at < ? ORDER BY received_at, seq LIMIT ?",
        [
            from.0.into(),
            Arg::Int(after_seq as i64),
            to.0.into(),
            Arg::Int(limit as i64),
        ],
    )
}

/// The newest of each outcome, and of those the newest: each part is found by index.
pub(crate) fn matches_of(
    flow: &FlowName,
    filter: &MatchFilter,
    cursor: Option<&Cursor>,
    limit: usize,
) -> Result<Select, Error> {
    let after = cursor.map(Cursor::event_match).transpose()?;
    let outcomes = match &filter.outcomes[..] {
        [] => MatchOutcome::ALL,
        some => some,
    };
    let columns = table::MATCH.list();
    let order = "ORDER BY event DESC, leaf DESC, trigger DESC LIMIT ?";
    let mut select = Select::new(&format!("SELECT {columns} FROM ("), []);
    for (place, outcome) in outcomes.iter().enumerate() {
        if place > 0 {
            select.push("UNION ALL", []);
        }
        select.push(
            &format!(
                "SELECT * FROM (SELECT {columns} FROM event_match WHERE flow = ? AND outcome = ?"
            ),
            [flow.as_str().into(), outcome.as_str().into()],
        );
        if let Some(trigger) = &filter.trigger {
            select.push("AND trigger = ?", [trigger.as_str().into()]);
        }
        if let Some((event, leaf, trigger)) = after {
            select.push(
                "AND event <= ? AND (event, leaf, trigger) < (?, ?, ?)",
                [event.into(), event.into(), leaf.into(), trigger.into()],
            );
        }
        select.push(&format!("{order}) AS part{place}"), [one_more(limit)]);
    }
    select.push(&format!(") AS newest {order}"), [one_more(limit)]);
    Ok(select)
}

pub(crate) fn refused(cursor: Option<&Cursor>, limit: usize) -> Result<Select, Error> {
    let mut select = from(&table::REFUSED, "", []);
    if let Some(cursor) = cursor {
        let (at, source, id) = cursor.refused()?;
        select.push(
            "WHERE (received_at, source, id) < (?, ?, ?)",
            [at.into(), source.into(), id.into()],
        );
    }
    select.push(
        "ORDER BY received_at DESC, source DESC, id DESC LIMIT ?",
        [one_more(limit)],
    );
    Ok(select)
}

pub(crate) fn backfills(
    filter: &BackfillFilter,
    cursor: Option<&Cursor>,
    limit: usize,
) -> Result<Select, Error> {
    let before = cursor.map_or(Ok(i64::MAX), Cursor::number)?;
    let mut select = from(&table::BACKFILL, "WHERE id < ?", [before.into()]);
    if let Some(flow) = &filter.flow {
        select.push("AND flow = ?", [flow.as_str().into()]);
    }
    one_of(
        &mut select,
        "state",
        filter.states.iter().map(|it| it.as_str()),
    );
    select.push("ORDER BY id DESC LIMIT ?", [one_more(limit)]);
    Ok(select)
}

pub(crate) fn backfill_items(
    id: u64,
    state: Option<BackfillItemState>,
    cursor: Option<&Cursor>,
    limit: usize,
) -> Result<Select, Error> {
    let after = cursor.map_or(Ok(-1), Cursor::number)?;
    let mut select = from(
        &table::BACKFILL_ITEM,
        "WHERE backfill = ? AND number > ?",
        [(id as i64).into(), after.into()],
    );
    if let Some(state) = state {
        select.push("AND state = ?", [state.as_str().into()]);
    }
    select.push("ORDER BY number LIMIT ?", [one_more(limit)]);
    Ok(select)
}

pub(crate) fn backfill_counts(id: u64) -> Select {
    Select::new(
        "SELECT flow, state, COUNT(*) FROM backfill_item WHERE backfill = ? GROUP BY flow, state ORDER BY flow, state",
        [(id as i64).into()],
    )
}

/// Rows that are open and due are missed by then.
pub(crate) fn attainment(from: Timestamp, to: Timestamp) -> Select {
    let week = format!("(due_at + {TO_MONDAY}) / {WEEK}");
    Select::new(
        &format!(
            "SELECT flow, promise, {week} AS week, COUNT(*) - COUNT(missed_at), COUNT(missed_at) FROM sla WHERE due_at >= ? AND due_at < ? AND withdrawn IS NULL GROUP BY flow, promise, {week} ORDER BY flow, promise, week"
        ),
        [from.0.into(), to.0.into()],
    )
}

pub(crate) fn slas(
    filter: &SlaFilter,
    cursor: Option<&Cursor>,
    limit: usize,
) -> Result<Select, Error> {
    let from_at = filter.from.unwrap_or(Timestamp(i64::MIN));
    let mut select = from(&table::SLA, "WHERE due_at >= ?", [from_at.0.into()]);
    if let Some(flow) = &filter.flow {
        select.push("AND flow = ?", [flow.as_str().into()]);
    }
    if let Some(cursor) = cursor {
        let (due_at, flow, promise, period) = cursor.sla()?;
        select.push(
            "AND (due_at, flow, promise, period) < (?, ?, ?, ?)",
            [due_at.into(), flow.into(), promise.into(), period.into()],
        );
    } else if let Some(to) = filter.to {
        select.push("AND due_at < ?", [to.0.into()]);
    }
    match filter.open {
        Some(true) => select.push("AND open", []),
        Some(false) => select.push("AND NOT open", []),
        None => {}
    }
    one_of(
        &mut select,
        "state",
        filter.states.iter().map(|it| it.as_str()),
    );
    select.push(
        "ORDER BY due_at DESC, flow DESC, promise DESC, period DESC LIMIT ?",
        [one_more(limit)],
    );
    Ok(select)
}

pub(crate) fn alerts_after(id: u64, limit: usize) -> Select {
    from(
        &table::ALERT,
        "WHERE id > ? ORDER BY id LIMIT ?",
        [Arg::Int(id as i64), Arg::Int(limit as i64)],
    )
}

pub(crate) fn alerts_page(
    filter: &AlertFilter,
    cursor: Option<&Cursor>,
    limit: usize,
) -> Result<Select, Error> {
    let before = cursor.map_or(Ok(i64::MAX), Cursor::number)?;
    let mut select = from(&table::ALERT, "WHERE id < ?", [before.into()]);
    if let Some(flow) = &filter.flow {
        select.push("AND flow = ?", [flow.as_str().into()]);
    }
    if let Some(key) = &filter.key {
        select.push("AND key = ?", [key.as_str().into()]);
    }
    one_of(
        &mut select,
        "kind",
        filter.kinds.iter().map(|it| it.as_str()),
    );
    select.push("ORDER BY id DESC LIMIT ?", [one_more(limit)]);
    Ok(select)
}

pub(crate) fn outages(since: Timestamp) -> Select {
    Select::new(
        "SELECT id, from_at, to_at, holder, reason FROM outage WHERE to_at >= ? ORDER BY to_at DESC, id DESC LIMIT ?",
        [since.0.into(), Arg::Int(PAGE_MAX as i64)],
    )
}

pub(crate) fn position(name: &str) -> Select {
    Select::new("SELECT value FROM position WHERE name = ?", [name.into()])
}

/// Those due after the instant, soonest first; then those due until then, latest first.
pub(crate) fn occurrences_near(flow: &FlowName, at: Timestamp, limit: usize) -> Vec<Select> {
    let half = |rest: &str| {
        from(
            &table::OCCURRENCE,
            &format!("WHERE flow = ? AND due_at {rest} LIMIT ?"),
            [flow.as_str().into(), at.0.into(), Arg::Int(limit as i64)],
        )
    };
    vec![
        half("> ? ORDER BY due_at, key"),
        half("<= ? ORDER BY due_at DESC, key DESC"),
    ]
}

pub(crate) fn occurrence_counts(flow: &FlowName, since: Timestamp, until: Timestamp) -> Select {
    Select::new(
        "SELECT trigger, state, COUNT(*) FROM occurrence WHERE flow = ? AND due_at >= ? AND due_at < ? \
         GROUP BY trigger, state ORDER BY trigger, state",
        [flow.as_str().into(), since.0.into(), until.0.into()],
    )
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
    if let Some(trigger) = &filter.trigger {
        select.push("AND trigger = ?", [trigger.as_str().into()]);
    }
    one_of(
        &mut select,
        "state",
        filter.states.iter().map(|it| it.as_str()),
    );
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
