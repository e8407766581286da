//! Rows from columns, in the order of [`crate::table`].

use crate::error::Error;
use crate::page::{
    Attainment, BackfillCount, OccurrenceCount, Outage, OutageReason, StepTime, TO_MONDAY,
    TaskCount, WEEK,
};
use crate::path;
use dalsegno_scheduler::alert::{AlertId, AlertKind, AlertRow};
use dalsegno_scheduler::backfill::History;
use dalsegno_scheduler::failure::FailureClass;
use dalsegno_scheduler::row::{
    AttemptRow, AttemptState, BackfillItemRow, BackfillItemState, BackfillMode, BackfillRow,
    BackfillState, Claim, EventRow, FlowRow, FlowVersionRow, HalfMatchRow, Interval, JournalEntry,
    MatchOutcome, MatchRow, OccurrenceRow, OccurrenceState, Paused, RefusedRow, Retries, RunRow,
    RunState, ScopeRow, ScopeState, SilenceRow, SlaRow, SlaState, TaskRow, TaskState,
};
use dalsegno_scheduler::{
    AttemptId, FlowName, RunId, Span, StepName, TaskId, Timestamp, TriggerName, Version,
};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// What the rows of both drivers can do.
pub(crate) trait Fields: Send + Sync {
    fn int(&self, column: usize) -> Result<Option<i64>, sqlx::Error>;
    fn text(&self, column: usize) -> Result<Option<String>, sqlx::Error>;
    fn flag(&self, column: usize) -> Result<bool, sqlx::Error>;
}

/// Reads the columns of one row from left to right.
pub(crate) struct Columns<'a, R> {
    row: &'a R,
    place: &'static str,
    column: usize,
}

impl<'a, R: Fields> Columns<'a, R> {
    pub(crate) fn new(row: &'a R, place: &'static str) -> Self {
        Self {
            row,
            place,
            column: 0,
        }
    }

    fn step(&mut self) -> usize {
        self.column += 1;
        self.column - 1
    }

    fn corrupt(&self, expected: &'static str, value: impl ToString) -> Error {
        Error::Corrupt {
            place: self.place,
            expected,
            value: value.to_string(),
        }
    }

    pub(crate) fn maybe_int(&mut self) -> Result<Option<i64>, Error> {
        let column = self.step();
        self.row
            .int(column)
            .map_err(|error| self.corrupt("a number", error))
    }

    pub(crate) fn int(&mut self) -> Result<i64, Error> {
        self.maybe_int()?
            .ok_or_else(|| self.corrupt("a number", "nothing"))
    }

    pub(crate) fn number<T: TryFrom<i64>>(&mut self) -> Result<T, Error> {
        let int = self.int()?;
        T::try_from(int).map_err(|_| self.corrupt("a number in range", int))
    }

    pub(crate) fn at(&mut self) -> Result<Timestamp, Error> {
        self.int().map(Timestamp)
    }

    fn maybe_at(&mut self) -> Result<Option<Timestamp>, Error> {
        Ok(self.maybe_int()?.map(Timestamp))
    }

    fn maybe_run(&mut self) -> Result<Option<RunId>, Error> {
        Ok(self.maybe_int()?.map(|it| RunId(it as u64)))
    }

    fn flag(&mut self) -> Result<bool, Error> {
        let column = self.step();
        self.row
            .flag(column)
            .map_err(|error| self.corrupt("true or false", error))
    }

    pub(crate) fn maybe_text(&mut self) -> Result<Option<String>, Error> {
        let column = self.step();
        self.row
            .text(column)
            .map_err(|error| self.corrupt("a text", error))
    }

    pub(crate) fn text(&mut self) -> Result<String, Error> {
        self.maybe_text()?
            .ok_or_else(|| self.corrupt("a text", "nothing"))
    }

    pub(crate) fn word<T>(&mut self, parse: fn(&str) -> Option<T>) -> Result<T, Error> {
        let text = self.text()?;
        parse(&text).ok_or_else(|| self.corrupt("a state", text))
    }

    fn maybe_json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        match self.maybe_text()? {
            None => Ok(None),
            Some(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|error| self.corrupt("JSON", format!("{text}: {error}"))),
        }
    }

    fn json<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        let text = self.text()?;
        serde_json::from_str(&text)
            .map_err(|error| self.corrupt("JSON", format!("{text}: {error}")))
    }

    fn task(&mut self) -> Result<TaskId, Error> {
        Ok(TaskId {
            step: StepName::new(self.text()?),
            path: path::parse(&self.text()?)?,
            iteration: self.number()?,
        })
    }
}

pub(crate) fn claim<R: Fields>(row: &R) -> Result<Claim, Error> {
    let c = &mut Columns::new(row, "a claim");
    Ok(Claim {
        key: c.text()?,
        result: c.text()?,
    })
}

pub(crate) fn version<R: Fields>(row: &R) -> Result<FlowVersionRow, Error> {
    let c = &mut Columns::new(row, "a flow version");
    Ok(FlowVersionRow {
        flow: FlowName::new(c.text()?),
        version: Version::new(c.text()?),
        source: c.text()?,
        definition: c.text()?,
        created_at: c.at()?,
    })
}

pub(crate) fn flow<R: Fields>(row: &R) -> Result<FlowRow, Error> {
    let c = &mut Columns::new(row, "a flow");
    Ok(FlowRow {
        name: FlowName::new(c.text()?),
        active_version: c.maybe_text()?.map(Version::new),
        file: c.text()?,
        invalid: c.maybe_text()?,
        removed: c.flag()?,
        paused: {
            let (by, reason, at) = (c.maybe_text()?, c.maybe_text()?, c.maybe_at()?);
            by.zip(at).map(|(by, at)| Paused { by, reason, at })
        },
        blocked_by: c.maybe_run()?,
        updated_at: c.at()?,
        failing: c.maybe_run()?,
    })
}

pub(crate) fn event<R: Fields>(row: &R) -> Result<Arc<EventRow>, Error> {
    event_from(&mut Columns::new(row, "an event")).map(Arc::new)
}

fn event_from<R: Fields>(c: &mut Columns<'_, R>) -> Result<EventRow, Error> {
    Ok(EventRow {
        seq: c.number()?,
        source: c.text()?,
        id: c.text()?,
        kind: c.text()?,
        subject: c.maybe_text()?,
        time: c.at()?,
        data: Arc::new(c.json()?),
        received_at: c.at()?,
        replay_of: c.maybe_int()?.map(|it| it as u64),
    })
}

pub(crate) fn occurrence<R: Fields>(row: &R) -> Result<OccurrenceRow, Error> {
    let c = &mut Columns::new(row, "an occurrence");
    Ok(OccurrenceRow {
        flow: FlowName::new(c.text()?),
        key: c.text()?,
        trigger: TriggerName::new(c.text()?),
        due_at: c.at()?,
        interval: Interval {
            start: c.at()?,
            end: c.at()?,
        },
        state: c.word(OccurrenceState::parse)?,
        reason: c.maybe_json()?,
        run: c.maybe_run()?,
        updated_at: c.at()?,
        since: c.at()?,
    })
}

pub(crate) fn event_match<R: Fields>(row: &R) -> Result<MatchRow, Error> {
    let c = &mut Columns::new(row, "an event's match");
    Ok(MatchRow {
        event: c.number()?,
        flow: FlowName::new(c.text()?),
        trigger: TriggerName::new(c.text()?),
        leaf: c.number()?,
        outcome: c.word(MatchOutcome::parse)?,
        reason: c.maybe_json()?,
        run: c.maybe_run()?,
        updated_at: c.at()?,
    })
}

/// The columns of the half match, then those of its event.
pub(crate) fn half_match<R: Fields>(row: &R) -> Result<HalfMatchRow, Error> {
    let c = &mut Columns::new(row, "a half match");
    let (flow, trigger, join_key, leaf) = (
        FlowName::new(c.text()?),
        TriggerName::new(c.text()?),
        c.text()?,
        c.number()?,
    );
    c.int()?;
    let expires_at = c.maybe_at()?;
    Ok(HalfMatchRow {
        flow,
        trigger,
        join_key,
        leaf,
        event: Arc::new(event_from(c)?),
        expires_at,
    })
}

pub(crate) fn run<R: Fields>(row: &R) -> Result<Arc<RunRow>, Error> {
    let c = &mut Columns::new(row, "a run");
    Ok(Arc::new(RunRow {
        id: RunId(c.number()?),
        flow: FlowName::new(c.text()?),
        version: Version::new(c.text()?),
        state: c.word(RunState::parse)?,
        generation: c.number()?,
        params: Arc::new(c.json()?),
        occurrence: c.text()?,
        trigger: TriggerName::new(c.text()?),
        interval: Interval {
            start: c.at()?,
            end: c.at()?,
        },
        priority: c.number()?,
        events: c.json()?,
        event_data: Arc::new(c.json()?),
        reason: c.maybe_json()?,
        ending: match c.maybe_text()? {
            None => None,
            Some(text) => Some(RunState::parse(&text).ok_or_else(|| c.corrupt("a state", text))?),
        },
        queued_at: c.at()?,
        created_at: c.at()?,
        started_at: c.maybe_at()?,
        finished_at: c.maybe_at()?,
        deadline: c.maybe_at()?,
        origin: c.maybe_int()?.map(|it| RunId(it as u64)),
        origin_created_at: c.maybe_at()?,
        parent: {
            // Named once more inside, for an index only.
            c.maybe_int()?;
            c.maybe_json()?
        },
        backfill: c.maybe_int()?.map(|it| it as u64),
    }))
}

pub(crate) fn task<R: Fields>(row: &R) -> Result<Arc<TaskRow>, Error> {
    let c = &mut Columns::new(row, "a task");
    let mut row = TaskRow {
        run: RunId(c.number()?),
        task: c.task()?,
        state: c.word(TaskState::parse)?,
        attempt: c.number()?,
        attempts_before: c.number()?,
        attempts_before_that: c.number()?,
        retries: Retries {
            user: c.number()?,
            infrastructure: c.number()?,
            ..Retries::default()
        },
        reason: c.maybe_json()?,
        ready_at: c.at()?,
        submitted_at: c.maybe_at()?,
        started_at: c.maybe_at()?,
        finished_at: c.maybe_at()?,
        retry_at: c.maybe_at()?,
        deadline: c.maybe_at()?,
        external_id: c.maybe_text()?.map(Arc::from),
        log: None,
        array: None,
        memory_bytes: None,
        outputs: c.maybe_json()?.map(Arc::new),
        chosen: c.maybe_json::<Vec<StepName>>()?.map(Arc::from),
        splits: match c.maybe_int()? {
            None => None,
            Some(int) => Some(u32::try_from(int).map_err(|_| c.corrupt("a number in range", int))?),
        },
    };
    row.retries.network = c.number()?;
    row.retries.throttled = c.number()?;
    row.retries.capacity = c.number()?;
    row.retries.oom = c.number()?;
    row.log = c.maybe_text()?.map(Arc::from);
    row.array = c.maybe_json()?;
    row.memory_bytes = c.maybe_int()?.map(|it| it as u64);
    Ok(Arc::new(row))
}

pub(crate) fn scope<R: Fields>(row: &R) -> Result<Arc<ScopeRow>, Error> {
    let c = &mut Columns::new(row, "a foreach scope");
    Ok(Arc::new(ScopeRow {
        run: RunId(c.number()?),
        scope: StepName::new(c.text()?),
        path: path::parse(&c.text()?)?,
        state: c.word(ScopeState::parse)?,
        items: Arc::new(c.json()?),
        reason: c.maybe_json()?,
        opened_at: c.at()?,
        closed_at: c.maybe_at()?,
    }))
}

pub(crate) fn attempt<R: Fields>(row: &R) -> Result<AttemptRow, Error> {
    let c = &mut Columns::new(row, "an attempt");
    let mut row = AttemptRow {
        id: AttemptId {
            run: RunId(c.number()?),
            task: c.task()?,
            number: c.number()?,
        },
        state: c.word(AttemptState::parse)?,
        reason: c.maybe_json()?,
        class: None,
        rule: None,
        external_id: c.maybe_text()?.map(Arc::from),
        log: None,
        memory_bytes: None,
        submitted_at: c.at()?,
        started_at: c.maybe_at()?,
        finished_at: c.at()?,
    };
    row.class = match c.maybe_text()? {
        None => None,
        Some(text) => {
            Some(FailureClass::parse(&text).ok_or_else(|| c.corrupt("a class of failures", text))?)
        }
    };
    row.rule = c.maybe_text()?;
    row.log = c.maybe_text()?.map(Arc::from);
    row.memory_bytes = c.maybe_int()?.map(|it| it as u64);
    Ok(row)
}

pub(crate) fn journal<R: Fields>(row: &R) -> Result<JournalEntry, Error> {
    let c = &mut Columns::new(row, "a journal entry");
    Ok(JournalEntry {
        seq: c.number()?,
        at: c.at()?,
        flow: FlowName::new(c.text()?),
        run: c.maybe_run()?,
        kind: c.text()?,
        body: c.text()?,
    })
}

pub(crate) fn task_count<R: Fields>(row: &R) -> Result<TaskCount, Error> {
    let c = &mut Columns::new(row, "a count of tasks");
    Ok(TaskCount {
        step: StepName::new(c.text()?),
        state: c.word(TaskState::parse)?,
        tasks: c.number()?,
    })
}

pub(crate) fn refused<R: Fields>(row: &R) -> Result<RefusedRow, Error> {
    let c = &mut Columns::new(row, "a refused delivery");
    Ok(RefusedRow {
        source: c.text()?,
        id: c.text()?,
        reason: c.text()?,
        excerpt: c.text()?,
        received_at: c.at()?,
    })
}

pub(crate) fn backfill<R: Fields>(row: &R) -> Result<BackfillRow, Error> {
    let c = &mut Columns::new(row, "a backfill");
    Ok(BackfillRow {
        id: c.number()?,
        flow: FlowName::new(c.text()?),
        from: c.at()?,
        to: c.at()?,
        mode: c.word(BackfillMode::parse)?,
        downstream: c.flag()?,
        state: c.word(BackfillState::parse)?,
        parallel: c.number()?,
        by: c.text()?,
        reason: c.maybe_json()?,
        created_at: c.at()?,
        updated_at: c.at()?,
        finished_at: c.maybe_at()?,
    })
}

pub(crate) fn backfill_item<R: Fields>(row: &R) -> Result<BackfillItemRow, Error> {
    let c = &mut Columns::new(row, "an item of a backfill");
    Ok(BackfillItemRow {
        backfill: c.number()?,
        number: c.number()?,
        flow: FlowName::new(c.text()?),
        interval: Interval {
            start: c.at()?,
            end: c.at()?,
        },
        trigger: TriggerName::new(c.text()?),
        after: c.json()?,
        state: c.word(BackfillItemState::parse)?,
        run: c.maybe_run()?,
        reason: c.maybe_json()?,
        events: c.json()?,
        updated_at: c.at()?,
    })
}

pub(crate) fn alert<R: Fields>(row: &R) -> Result<AlertRow, Error> {
    let c = &mut Columns::new(row, "an alert");
    Ok(AlertRow {
        id: AlertId(c.number()?),
        at: c.at()?,
        kind: c.word(AlertKind::parse)?,
        flow: c.maybe_text()?.map(FlowName::new),
        owner: c.maybe_text()?,
        run: c.maybe_run()?,
        step: c.maybe_text()?.map(StepName::new),
        key: c.text()?,
        is_recovery: c.flag()?,
        summary: c.text()?,
        data: c.json()?,
    })
}

pub(crate) fn sla<R: Fields>(row: &R) -> Result<SlaRow, Error> {
    let c = &mut Columns::new(row, "a promise");
    Ok(SlaRow {
        flow: FlowName::new(c.text()?),
        promise: c.text()?.into(),
        period: c.text()?.into(),
        due_at: c.at()?,
        state: c.word(SlaState::parse)?,
        open: c.flag()?,
        run: c.maybe_run()?,
        step: c.maybe_text()?.map(StepName::new),
        at_risk_since: c.maybe_at()?,
        missed_at: c.maybe_at()?,
        met_at: c.maybe_at()?,
        told: match c.maybe_text()? {
            None => None,
            Some(text) => Some(SlaState::parse(&text).ok_or_else(|| c.corrupt("a state", text))?),
        },
        prediction: c.maybe_json()?,
        acknowledged: c.maybe_json()?,
        silenced_until: c.maybe_at()?,
        withdrawn: c.maybe_json()?,
        more: c.number()?,
        created_at: c.at()?,
        updated_at: c.at()?,
    })
}

pub(crate) fn silence<R: Fields>(row: &R) -> Result<SilenceRow, Error> {
    let c = &mut Columns::new(row, "a silence");
    Ok(SilenceRow {
        id: c.number()?,
        flow: c.maybe_text()?,
        promise: c.maybe_text()?,
        from: c.at()?,
        until: c.at()?,
        by: c.text()?,
        note: c.maybe_text()?,
        created_at: c.at()?,
        ended_at: c.maybe_at()?,
    })
}

pub(crate) fn backfill_count<R: Fields>(row: &R) -> Result<BackfillCount, Error> {
    let c = &mut Columns::new(row, "a count of a backfill's items");
    Ok(BackfillCount {
        flow: FlowName::new(c.text()?),
        state: c.word(BackfillItemState::parse)?,
        items: c.number()?,
    })
}

pub(crate) fn attainment<R: Fields>(row: &R) -> Result<Attainment, Error> {
    let c = &mut Columns::new(row, "how a promise was kept");
    Ok(Attainment {
        flow: FlowName::new(c.text()?),
        promise: c.text()?.to_owned(),
        week: Timestamp(c.number::<i64>()? * WEEK - TO_MONDAY),
        kept: c.number()?,
        missed: c.number()?,
    })
}

pub(crate) fn occurrence_count<R: Fields>(row: &R) -> Result<OccurrenceCount, Error> {
    let c = &mut Columns::new(row, "a count of occurrences");
    Ok(OccurrenceCount {
        trigger: TriggerName::new(c.text()?),
        state: c.word(OccurrenceState::parse)?,
        occurrences: c.number()?,
    })
}

pub(crate) fn history<R: Fields>(row: &R) -> Result<History, Error> {
    let c = &mut Columns::new(row, "a run of a flow");
    Ok(History {
        flow: FlowName::new(c.text()?),
        interval: Interval {
            start: c.at()?,
            end: c.at()?,
        },
        run: RunId(c.number()?),
        state: c.word(RunState::parse)?,
        params: Arc::new(c.json()?),
    })
}

pub(crate) fn duration<R: Fields>(row: &R) -> Result<(FlowName, Span), Error> {
    let c = &mut Columns::new(row, "the time a run took");
    Ok((FlowName::new(c.text()?), Span(c.int()?)))
}

pub(crate) fn step_time<R: Fields>(row: &R) -> Result<StepTime, Error> {
    let c = &mut Columns::new(row, "the time a step took");
    Ok(StepTime {
        flow: FlowName::new(c.text()?),
        run: RunId(c.number()?),
        started_at: c.at()?,
        finished_at: c.at()?,
        step: StepName::new(c.text()?),
        tasks: c.number()?,
        from: c.at()?,
        to: c.at()?,
        sum: Span(c.int()?),
    })
}

pub(crate) fn outage<R: Fields>(row: &R) -> Result<Outage, Error> {
    let c = &mut Columns::new(row, "an outage");
    Ok(Outage {
        term: c.int()?,
        from: c.at()?,
        to: c.at()?,
        holder: c.text()?,
        reason: c.word(OutageReason::parse)?,
    })
}

pub(crate) fn position<R: Fields>(row: &R) -> Result<String, Error> {
    Columns::new(row, "a position").text()
}
