//! Reasons: why something waits, was skipped, refused or failed. Recorded with the decision, so that
//! `why` tells what was so and not what might have been.

use crate::id::{FlowName, PoolName, RunId, StepName, TriggerName};
use crate::row::RunState;
use crate::spec::HookOn;
use crate::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A limit that can make runs and tasks wait.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Live attempts of this instance (`max_tasks` of the configuration).
    Tasks,
    /// Live attempts that run as jobs of AWS Batch (`max_remote_tasks`).
    Remote,
    /// Slots of a pool.
    Pool(PoolName),
    /// Live attempts of one run (`max_parallel_tasks`).
    Run(RunId),
    /// Live attempts of one step or block of a run (`max_parallel`).
    Scope(RunId, StepName),
    /// Running runs of one flow (its strategy).
    Flow(FlowName),
    /// Unfinished runs of one backfill (its `parallel`).
    Backfill(u64),
    /// Live attempts of all backfills together: their share of `max_tasks`.
    BackfillTasks,
    /// Slots of a pool that backfills hold together: their share of it.
    BackfillPool(PoolName),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tasks => write!(f, "the limit of live tasks (max_tasks)"),
            Self::Remote => write!(f, "the limit of live tasks elsewhere (max_remote_tasks)"),
            Self::Pool(pool) => write!(f, "pool {pool}"),
            Self::Run(run) => write!(f, "max_parallel_tasks of run {run}"),
            Self::Scope(run, step) => write!(f, "max_parallel of {step} in run {run}"),
            Self::Flow(flow) => write!(f, "the run strategy of flow {flow}"),
            Self::Backfill(id) => write!(f, "the runs at a time of backfill {id} (parallel)"),
            Self::BackfillTasks => {
                write!(
                    f,
                    "the share of live tasks that backfills have (backfill_share)"
                )
            }
            Self::BackfillPool(pool) => {
                write!(
                    f,
                    "the share of pool {pool} that backfills have (backfill_share)"
                )
            }
        }
    }
}

/// What a submission waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubmissionWait {
    /// The limit of submissions a minute, or of calls to one API.
    RateLimit,
    /// The circuit breaker of the API is open.
    BreakerOpen,
    /// The service asked to be called less often.
    Throttled,
    /// The service did not answer, or failed.
    Unreachable,
    /// An answer was lost: it is being found out whether the job exists.
    UnknownOutcome,
    /// Credentials are missing, expired or not enough.
    Denied,
}

impl fmt::Display for SubmissionWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RateLimit => "its limit of calls",
            Self::BreakerOpen => "its circuit breaker, which is open",
            Self::Throttled => "the service, which asked to be called less often",
            Self::Unreachable => "the service, which does not answer",
            Self::UnknownOutcome => "word whether the job exists, for an answer was lost",
            Self::Denied => "credentials that the service accepts",
        })
    }
}

/// A recorded reason. `code` is stable; the text is for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Reason {
    // Waiting.
    LimitFull {
        limit: Limit,
        capacity: u32,
        used: u32,
        wanted: u32,
    },
    BlockedByFailure {
        run: RunId,
    },
    RetryAt {
        at: Timestamp,
        attempt: u32,
        after: Box<Self>,
    },
    FlowPaused {
        by: String,
        reason: Option<String>,
    },
    /// A run that goes on with the task it belongs to, once that is reached again.
    WaitsForTask {
        run: RunId,
        task: String,
    },

    /// The attempt is asked for, and the service is not asked yet or does not answer.
    SubmissionWaits {
        /// The API: `batch:SubmitJob`.
        api: String,
        cause: SubmissionWait,
        until: Option<Timestamp>,
        /// What the service said; empty when it was not asked.
        message: String,
    },
    /// The job is in a queue elsewhere.
    JobWaits {
        queue: String,
        /// The service's own word: `RUNNABLE`.
        state: String,
        since: Timestamp,
        /// The service's own explanation, e.g. `CAPACITY:…` or `MISCONFIGURATION:…`; empty: none.
        message: String,
    },

    // Skipped tasks and scopes.
    WhenFalse {
        expression: String,
    },
    UpstreamSkipped {
        step: StepName,
    },
    UpstreamFailed {
        step: StepName,
    },
    NotChosen {
        by: StepName,
    },
    /// A hook of a run that ended otherwise.
    OtherEnd {
        on: HookOn,
    },

    // Failed attempts.
    Exit {
        status: i32,
    },
    DoNotRetry {
        status: i32,
    },
    /// The task's own code broke off with an error: its last line.
    UserError {
        message: String,
    },
    /// What has to be put right before a repetition makes sense; never retried.
    Configuration {
        message: String,
    },
    Signal {
        signal: i32,
    },
    OutOfMemory {
        limit_bytes: Option<u64>,
    },
    AttemptTimeout {
        timeout: Span,
    },
    Lost {
        message: String,
    },
    NotStarted {
        message: String,
    },
    /// The network, or a service that fails.
    Network {
        message: String,
    },
    /// A service asked to be called less often.
    Throttled {
        message: String,
    },
    /// There was no machine for it.
    Capacity {
        message: String,
    },
    /// A job ended in a way that its exit code does not tell.
    Job {
        message: String,
        exit: Option<i32>,
    },
    /// The execution that the task was a state of ended with an error.
    Execution {
        error: String,
        cause: String,
    },
    BadOutput {
        message: String,
    },
    Expression {
        message: String,
    },

    /// The run of another flow that the step is did not succeed.
    SubFlow {
        run: RunId,
        state: RunState,
    },
    /// The flow that the step runs did not start a run.
    SubFlowRefused {
        flow: FlowName,
        because: Box<Self>,
    },
    /// There is no such flow.
    SubFlowUnknown {
        flow: FlowName,
        similar: Option<FlowName>,
    },
    /// It would be inside too many others; never retried.
    SubFlowDepth {
        flow: FlowName,
        max: u32,
    },

    // Ended runs.
    /// The task that waits for the run is stopped.
    ParentStopped {
        run: RunId,
        task: String,
        because: Box<Self>,
    },
    /// It was to go on with a task that its parent did not come to again.
    TaskNotReached {
        run: RunId,
        task: String,
    },
    TasksFailed {
        tasks: u32,
        first: String,
    },
    RunTimeout {
        timeout: Span,
    },
    CancelledBy {
        by: String,
        reason: Option<String>,
    },
    FailFast {
        task: String,
    },
    ReplacedBy {
        run: RunId,
    },
    BadParams {
        message: String,
    },

    // Occurrences and events.
    StrategyRefused {
        strategy: String,
        running: RunId,
    },
    Coalesced {
        into: String,
    },
    MissedDown {
        from: Timestamp,
        to: Timestamp,
    },
    MissedTooMany {
        dropped: u64,
        kept: u32,
    },
    MissedTooOld {
        window: Span,
    },
    FlowInvalid {
        message: String,
    },
    FlowRemoved,
    ScheduleChanged,
    /// Of a promise: the flow file does not make it any more.
    PromiseRemoved,
    /// Of a promise about a start: the run ended without one.
    NeverStarted {
        run: RunId,
    },
    /// A closed day of the schedule's calendar.
    Calendar {
        calendar: String,
        day: chrono::NaiveDate,
        /// What the day is called.
        note: String,
    },
    /// The schedule's calendar moved it to a moment at which another one is due already.
    CoalescedByRoll {
        into: String,
    },
    /// `until`: when it is over; with `do: defer` that is when it goes on.
    Blackout {
        name: String,
        until: Option<Timestamp>,
    },
    /// The trigger had not started a run by its deadline.
    Deadline {
        waiting_for: Vec<String>,
    },
    /// A schedule has an `end`, and nothing comes before it any more.
    ScheduleEnded {
        end: Timestamp,
    },
    /// A schedule's days never come again.
    NoFutureDate,
    /// A schedule has a next date, but nothing is expected then. It is planned at the next start.
    NotPlanned {
        next: Timestamp,
    },
    FilterFalse {
        expression: String,
    },
    FilterFailed {
        message: String,
    },
    /// The event lacks a field that a parameter without a default is taken from.
    FieldMissing {
        field: String,
        param: String,
    },
    WaitingFor {
        missing: Vec<String>,
    },
    /// Half-matched sets were emptied, as `reset_at` asks for.
    SetReset {
        at: Timestamp,
        missing: Vec<String>,
    },
    SetExpired {
        within: Span,
        missing: Vec<String>,
    },
    ReplacedByEvent {
        event: u64,
    },
    /// A complete set waits for more events (debounce, batch).
    Gathering {
        until: Timestamp,
    },
    /// Runs of a backfill start nothing: the backfill itself says what follows.
    OfBackfill {
        backfill: u64,
    },
    /// More events waited than are kept; the oldest were refused.
    TooManyWaiting {
        kept: u32,
    },
    TriggerChanged,
    NoTrigger,

    // Backfills.
    PausedBy {
        by: String,
    },
    /// An item of a backfill comes after one that did not succeed.
    BackfillUpstream {
        flow: FlowName,
    },
    /// The run of a backfill's item is not there: this program cannot read the version of the flow that it is of.
    RunUnreadable {
        run: RunId,
    },
    /// The flow's active version has no schedule or trigger of this name any more.
    TriggerGone {
        trigger: TriggerName,
    },
}

impl Reason {
    /// The stable code, as in JSON.
    pub fn code(&self) -> String {
        let json = serde_json::to_value(self).unwrap_or_default();
        json["code"].as_str().unwrap_or("unknown").to_owned()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let note = |note: &Option<String>| {
            note.as_ref()
                .map(|it| format!(": {it}"))
                .unwrap_or_default()
        };
        match self {
            Self::LimitFull {
                limit,
                capacity,
                used,
                wanted,
            } => {
                write!(f, "waits for {limit}: {used} of {capacity} in use")?;
                if *wanted > 1 {
                    write!(f, ", {wanted} wanted")?;
                }
                Ok(())
            }
            Self::BlockedByFailure { run } => write!(
                f,
                "waits because run {run} failed and the strategy is strict_sequential; resume it to go on"
            ),
            Self::RetryAt { at, attempt, after } => {
                write!(
                    f,
                    "attempt {attempt} failed ({after}); the next begins at {}",
                    at.ceil_to_second()
                )
            }
            Self::FlowPaused { by, reason } => {
                write!(f, "the flow was paused by {by}{}", note(reason))
            }
            Self::WaitsForTask { run, task } => {
                write!(f, "goes on when run {run} comes to {task} again")
            }
            Self::SubFlow { run, state } => {
                write!(f, "run {run}, which it waited for, is {state}")
            }
            Self::SubFlowRefused { flow, because } => {
                write!(f, "no run of flow {flow} was made: {because}")
            }
            Self::SubFlowUnknown { flow, similar } => {
                write!(f, "there is no flow {flow}")?;
                match similar {
                    Some(similar) => write!(f, "; did you mean {similar}?"),
                    None => Ok(()),
                }
            }
            Self::SubFlowDepth { flow, max } => write!(
                f,
                "a run of flow {flow} would be inside more than {max} others, and {max} is the most"
            ),
            Self::ParentStopped { run, task, because } => {
                write!(
                    f,
                    "{task} of run {run} waits for it, and is stopped: {because}"
                )
            }
            Self::TaskNotReached { run, task } => {
                write!(f, "run {run} ended without coming to {task} again")
            }
            Self::WhenFalse { expression } => write!(f, "`when` was false: {expression}"),
            Self::UpstreamSkipped { step } => write!(f, "{step}, which it needs, was skipped"),
            Self::UpstreamFailed { step } => write!(f, "{step}, which it needs, failed"),
            Self::NotChosen { by } => write!(f, "{by} chose another branch"),
            Self::OtherEnd {
                on: HookOn::Success,
            } => write!(f, "it is called when the run succeeds"),
            Self::OtherEnd {
                on: HookOn::Failure,
            } => write!(f, "it is called when the run fails"),
            Self::Exit { status } => write!(f, "exit code {status}"),
            Self::DoNotRetry { status } => {
                write!(f, "exit code {status}, which means: do not retry")
            }
            Self::UserError { message } => write!(f, "{message}"),
            Self::Configuration { message } => write!(f, "it cannot run as it is: {message}"),
            Self::Signal { signal } => write!(f, "killed by signal {signal}"),
            Self::OutOfMemory {
                limit_bytes: Some(bytes),
            } => {
                write!(f, "out of memory: the limit is {} MiB", bytes / (1 << 20))
            }
            Self::OutOfMemory { limit_bytes: None } => write!(f, "killed by the kernel for memory"),
            Self::AttemptTimeout { timeout } => write!(f, "timed out after {timeout}"),
            Self::Lost { message } => write!(f, "lost: {message}"),
            Self::NotStarted { message } => write!(f, "could not be started: {message}"),
            Self::SubmissionWaits {
                api,
                cause,
                until,
                message,
            } => {
                write!(f, "{api} waits for {cause}")?;
                if !message.is_empty() {
                    write!(f, ": {message}")?;
                }
                match until {
                    Some(until) => write!(f, "; next at {}", until.ceil_to_second()),
                    None => Ok(()),
                }
            }
            Self::JobWaits {
                queue,
                state,
                since,
                message,
            } => {
                write!(
                    f,
                    "{state} in queue {queue} since {}",
                    since.floor_to_second()
                )?;
                match message.as_str() {
                    "" => Ok(()),
                    message => write!(f, ": {message}"),
                }
            }
            Self::Network { message } => write!(f, "the network or a service failed: {message}"),
            Self::Throttled { message } => {
                write!(f, "a service asked to be called less often: {message}")
            }
            Self::Capacity { message } => write!(f, "no machine for it: {message}"),
            Self::Job {
                message,
                exit: Some(exit),
            } => write!(f, "{message} (exit code {exit})"),
            Self::Job {
                message,
                exit: None,
            } => f.write_str(message),
            Self::Execution { error, cause } if cause.is_empty() => {
                write!(f, "the execution ended with {error}")
            }
            Self::Execution { error, cause } => {
                write!(f, "the execution ended with {error}: {cause}")
            }
            Self::BadOutput { message } => write!(f, "outputs are not usable: {message}"),
            Self::Expression { message } => write!(f, "expression failed: {message}"),
            Self::TasksFailed { tasks: 1, first } => write!(f, "{first} failed"),
            Self::TasksFailed { tasks, first } => write!(f, "{tasks} tasks failed, first {first}"),
            Self::RunTimeout { timeout } => write!(f, "the run timed out after {timeout}"),
            Self::CancelledBy { by, reason } => write!(f, "cancelled by {by}{}", note(reason)),
            Self::FailFast { task } => write!(f, "cancelled because {task} failed (fail_fast)"),
            Self::ReplacedBy { run } => write!(f, "replaced by run {run}"),
            Self::BadParams { message } => write!(f, "parameters are not usable: {message}"),
            Self::StrategyRefused { strategy, running } => {
                write!(
                    f,
                    "run {running} is unfinished and the strategy is {strategy}"
                )
            }
            Self::Coalesced { into } => write!(f, "{into} stands for it"),
            Self::MissedDown { from, to } => {
                let (from, to) = (from.floor_to_second(), to.floor_to_second());
                write!(f, "the daemon was down from {from} to {to}")
            }
            Self::MissedTooMany { dropped, kept } => {
                write!(
                    f,
                    "{dropped} older occurrences were missed; only the newest {kept} are caught up"
                )
            }
            Self::MissedTooOld { window } => write!(f, "older than the misfire window of {window}"),
            Self::FlowInvalid { message } => write!(f, "the flow file is not valid: {message}"),
            Self::FlowRemoved => write!(f, "the flow file is gone"),
            Self::PromiseRemoved => write!(f, "the flow does not promise it any more"),
            Self::NeverStarted { run } => write!(f, "run {run} ended before it came to start"),
            Self::ScheduleChanged => write!(f, "the schedule was changed before it was due"),
            Self::Calendar {
                calendar,
                day,
                note,
            } => write!(f, "{day} is a closed day of calendar {calendar} ({note})"),
            Self::CoalescedByRoll { into } => {
                write!(
                    f,
                    "the calendar moved it to the moment of {into}, which stands for it"
                )
            }
            Self::Blackout {
                name,
                until: Some(until),
            } => write!(f, "blackout {name}, until {}", until.ceil_to_second()),
            Self::Blackout { name, until: None } => write!(f, "blackout {name}"),
            Self::Deadline { waiting_for } if waiting_for.is_empty() => {
                write!(f, "no run had started by the deadline")
            }
            Self::Deadline { waiting_for } => write!(
                f,
                "no run had started by the deadline, for {} had not come",
                waiting_for.join(" and ")
            ),
            Self::ScheduleEnded { end } => {
                write!(f, "the schedule ended at {}", end.floor_to_second())
            }
            Self::NoFutureDate => write!(f, "none of the schedule's days comes again"),
            Self::NotPlanned { next } => write!(
                f,
                "nothing is expected at {}, where the schedule is due next; it is planned when the daemon starts anew",
                next.ceil_to_second()
            ),
            Self::FilterFalse { expression } => write!(f, "`where` was false: {expression}"),
            Self::FilterFailed { message } => {
                write!(f, "`where` could not be evaluated: {message}")
            }
            Self::WaitingFor { missing } => write!(f, "waits for {}", missing.join(" and ")),
            Self::FieldMissing { field, param } => write!(
                f,
                "the event has no field `{field}`, from which parameter `{param}` is taken"
            ),
            Self::SetReset { at, missing } => write!(
                f,
                "the set was emptied at {} (reset_at), and {} had not arrived",
                at.floor_to_second(),
                missing.join(" and ")
            ),
            Self::SetExpired { within, missing } => {
                write!(
                    f,
                    "{} did not arrive within {within}",
                    missing.join(" and ")
                )
            }
            Self::ReplacedByEvent { event } => write!(
                f,
                "event {event} took its place before the set was complete"
            ),
            Self::Gathering { until } => write!(
                f,
                "the set is complete; more events are gathered until {}",
                until.ceil_to_second()
            ),
            Self::OfBackfill { backfill } => write!(
                f,
                "the run belongs to backfill {backfill}, which itself says what follows"
            ),
            Self::TooManyWaiting { kept } => write!(
                f,
                "too many events waited; the oldest were refused and {kept} kept"
            ),
            Self::TriggerChanged => write!(f, "the trigger was changed while the event waited"),
            Self::PausedBy { by } => write!(f, "paused by {by}"),
            Self::BackfillUpstream { flow } => write!(
                f,
                "{flow} of the same interval, from which it follows, did not succeed"
            ),
            Self::RunUnreadable { run } => write!(
                f,
                "run {run} is not there: its version of the flow cannot be read by this version of Dalsegno"
            ),
            Self::TriggerGone { trigger } => write!(
                f,
                "the flow has no schedule or trigger `{trigger}` any more"
            ),
            Self::NoTrigger => write!(f, "no flow has a trigger for this type and source"),
        }
    }
}
