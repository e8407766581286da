//! What the core is told, and what it answers.

use crate::alert::{AlertId, NewAlert};
use crate::flow::Flow;
use crate::id::{AttemptId, FlowName, RunId, StepName, Version};
use crate::reason::Reason;
use crate::row::{EventRow, RefusedRow, RunSnapshot};
use crate::sla::NewPrediction;
use crate::time::Timestamp;
use serde_json::{Map, Value};
use std::sync::Arc;

/// One thing the outside world tells the core.
#[derive(Clone, Debug)]
pub enum Input {
    /// A valid flow file was read. The same version again changes nothing but `file`.
    Deploy {
        flow: Arc<Flow>,
        version: Version,
        /// The flow file's text.
        source: Arc<str>,
        file: String,
    },
    /// A flow file can no longer be read as a flow; the last good version stays active.
    Invalid {
        flow: FlowName,
        file: String,
        message: String,
    },
    /// The flow file is gone.
    Remove {
        flow: FlowName,
    },
    Start(StartRequest),
    Event(NewEvent),
    Report {
        attempt: AttemptId,
        report: Report,
    },
    Cancel {
        run: RunId,
        by: String,
        reason: Option<String>,
    },
    Resume(Box<ResumeRequest>),
    Rerun(Box<RerunRequest>),
    Pause {
        flow: FlowName,
        by: String,
        reason: Option<String>,
    },
    Unpause {
        flow: FlowName,
        by: String,
        catch_up: CatchUp,
    },
    /// Someone wants an event to be seen once more.
    Replay(ReplayRequest),
    /// A delivery that is no event: it is on record before it is taken off its queue.
    Refuse(RefusedRow),
    /// Someone wants past intervals to be run.
    Backfill(Box<BackfillRequest>),
    ChangeBackfill {
        backfill: u64,
        change: BackfillChange,
        by: String,
    },
    /// Something worth telling that the core does not see by itself. If no rule wants it, nothing happens.
    Alert(Box<NewAlert>),
    /// The predictor has looked at an open row of a promise.
    Prediction(Box<NewPrediction>),
    /// Somebody has seen that a promise is at risk or missed.
    Acknowledge {
        flow: FlowName,
        promise: Arc<str>,
        period: Arc<str>,
        by: String,
        note: Option<String>,
    },
    /// Nobody is to be told of promises for a while.
    Silence(Box<NewSilence>),
    EndSilence {
        silence: u64,
    },
    /// Time has passed; nothing else happened.
    Tick,
}

impl Input {
    /// The dedupe key that this input claims; a second input with the same key is answered with the
    /// first one's result.
    pub fn claim(&self) -> Option<String> {
        match self {
            Self::Start(StartRequest {
                flow,
                key: Some(key),
                ..
            }) => Some(format!("start:{flow} {key}")),
            // With its length, for both may hold spaces.
            Self::Event(NewEvent { source, id, .. }) => {
                Some(format!("event:{} {source} {id}", source.len()))
            }
            Self::Rerun(request) => {
                let key = request.key.as_ref()?;
                Some(format!("rerun:{} {key}", request.snapshot.run.flow))
            }
            Self::Replay(request) => {
                let key = request.key.as_ref()?;
                Some(format!("replay:{} {key}", request.event.seq))
            }
            Self::Backfill(request) => request.claim(),
            Self::Silence(silence) => silence.claim(),
            Self::Alert(alert) => Some(format!("alert:{}", alert.dedupe)),
            // With its length, for both may hold spaces.
            Self::Refuse(row) => Some(format!(
                "refused:{} {} {}",
                row.source.len(),
                row.source,
                row.id
            )),
            _ => None,
        }
    }
}

/// Somebody wants nobody to be told of promises for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct NewSilence {
    /// A flow's name, in which `*` stands for any text. `None`: all flows.
    pub flow: Option<String>,
    /// The key of a promise. `None`: all promises.
    pub promise: Option<String>,
    /// `None`: now.
    pub from: Option<Timestamp>,
    pub until: Timestamp,
    pub by: String,
    pub note: Option<String>,
    /// `Idempotency-Key`: a second request with the same key gets the first one's silence.
    pub key: Option<String>,
}

impl NewSilence {
    pub(crate) fn claim(&self) -> Option<String> {
        Some(format!("silence:{}", self.key.as_ref()?))
    }
}

/// What becomes of all that was held while a flow was paused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// What `misfire.paused` of each schedule says; of triggers nothing.
    #[default]
    Declared,
    None,
    /// The newest of each schedule and trigger.
    Latest,
    All,
}

/// Someone wants an event to be seen once more, as a new event with the same content.
#[derive(Clone, Debug)]
pub struct ReplayRequest {
    /// As stored: old events are not in memory.
    pub event: Arc<EventRow>,
    /// Only this flow sees it; `None`: all.
    pub flow: Option<FlowName>,
    /// `Idempotency-Key`.
    pub key: Option<String>,
    pub by: String,
}

/// Someone wants past intervals to be run, as planned.
#[derive(Clone, Debug)]
pub struct BackfillRequest {
    pub plan: crate::backfill::Plan,
    /// 1 to 1000.
    pub parallel: u32,
    /// `Idempotency-Key`.
    pub key: Option<String>,
    pub by: String,
}

impl BackfillRequest {
    pub(crate) fn claim(&self) -> Option<String> {
        Some(Self::claim_of(&self.plan.flow, self.key.as_ref()?))
    }

    /// What [`Input::claim`] would say: known before there is a plan.
    pub fn claim_of(flow: &FlowName, key: &str) -> String {
        format!("backfill:{flow} {key}")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackfillChange {
    Pause,
    Resume,
    Cancel,
}

/// Someone wants a run now.
#[derive(Clone, Debug)]
pub struct StartRequest {
    pub flow: FlowName,
    pub params: Map<String, Value>,
    /// `Idempotency-Key`: a second request with the same key gets the first one's run.
    pub key: Option<String>,
    pub by: String,
}

/// An event as it arrives: CloudEvents attributes.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    pub source: String,
    pub id: String,
    pub kind: String,
    pub subject: Option<String>,
    /// `None`: the time of arrival.
    pub time: Option<Timestamp>,
    pub data: Value,
}

/// Someone wants a finished run to go on.
#[derive(Clone, Debug)]
pub struct ResumeRequest {
    /// The run as stored: finished runs are not in memory.
    pub snapshot: RunSnapshot,
    /// Also repeat this step and all that follows from it, finished or not.
    pub from: Option<StepName>,
    pub with: ResumeWith,
    pub by: String,
}

/// Someone wants a new run that begins where a finished one was at some step.
#[derive(Clone, Debug)]
pub struct RerunRequest {
    /// The run as stored.
    pub snapshot: RunSnapshot,
    /// This step and all that follows from it are done in the new run, and what else is not finished. `None`, for runs
    /// that did not succeed: only that.
    pub from: Option<StepName>,
    /// Instead of the values that the old run had.
    pub params: Map<String, Value>,
    pub with: ResumeWith,
    /// `Idempotency-Key`: a second request for the same flow with the same key gets the first one's run.
    pub key: Option<String>,
    pub by: String,
}

/// The version of the flow with which a resumed run goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResumeWith {
    /// The active one: whoever repaired the flow file wants the repair. Finished tasks of steps that are
    /// still there are kept.
    #[default]
    Latest,
    /// The one that the run has had so far.
    Same,
}

/// What an executor says of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// It runs, under this name. Said again with a later time when its host went away and whoever runs it began anew: its
    /// timeout counts from there.
    Started {
        external_id: Arc<str>,
        at: Timestamp,
    },
    Ended {
        outcome: Outcome,
        started_at: Option<Timestamp>,
        at: Timestamp,
    },
    /// The executor does not know whether it was submitted: ask again.
    Unknown,
    /// Something was learned of it; its state stays as it is.
    News(News),
}

/// What an executor learned of a live attempt. What is `None` stays as it was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct News {
    /// It was accepted under this name.
    pub external_id: Option<Arc<str>>,
    /// Where its log is found, also when the job itself is gone: a log stream.
    pub log: Option<Arc<str>>,
    /// Why it does not run yet; of one that runs ([`Reason::SubmissionWaits`]), why it is not known how it stands.
    pub waiting: Option<Reason>,
    /// What was said to be waited for is over.
    pub is_wait_over: bool,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Succeeded(Success),
    /// By its own fault: the reason is one of the failed-attempt reasons.
    Failed(Reason),
    /// Nobody knows how: its host or keeper went away. Never charged to the user's retries.
    Lost(String),
    /// The same, of one that was repeated by whoever ran it: its hosts went away so many times.
    HostsLost {
        message: String,
        times: u32,
    },
    /// It was stopped at our request, and is dead.
    Stopped,
}

/// What a task that succeeded gives to those after it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Success {
    pub outputs: Map<String, Value>,
    /// With [`crate::spec::Route::Switch`]: the successors taken.
    pub chosen: Option<Vec<StepName>>,
    /// With [`crate::spec::Items::Reported`]: how many items follow.
    pub splits: Option<u32>,
}

/// What the shell must do. Derived from rows, never stored: after a restart the same list comes out again,
/// so executors see commands at least once and go by the attempt's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Command {
    Submit(AttemptId),
    /// After a restart: the attempt was running; go on watching it, or say that it is lost.
    Watch(AttemptId),
    /// Stop the attempt, by force after its grace, and report when it is dead.
    Stop(AttemptId),
    /// The end of this attempt is durable; the executor may forget it.
    Forget(AttemptId),
}

/// What an accepted input led to. Given to the caller after the commit.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Done,
    /// `created`: false when the same version was already active.
    Deployed {
        flow: FlowName,
        version: Version,
        created: bool,
    },
    /// `duplicate`: an earlier request with the same key started it.
    Run {
        run: RunId,
        duplicate: bool,
    },
    /// The request is on record, but no run came of it.
    NotStarted {
        occurrence: String,
        reason: Reason,
    },
    /// `runs`: those it started. `duplicate`: it was accepted before.
    Event {
        seq: u64,
        runs: Vec<RunId>,
        duplicate: bool,
    },
    Backfill {
        backfill: u64,
        duplicate: bool,
    },
    /// `None`: no rule wants it. `duplicate`: it was on record before.
    Alert {
        alert: Option<AlertId>,
        duplicate: bool,
    },
    /// `duplicate`: an earlier request with the same key made it.
    Silence {
        silence: u64,
        duplicate: bool,
    },
}

/// Why an input was not accepted. Nothing was changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Rejected {
    /// The report names an attempt that is not (or no longer) the live one. Safe to acknowledge.
    #[error("attempt {0} is not the live one")]
    Stale(AttemptId),
    #[error("there is no flow `{flow}`")]
    UnknownFlow {
        flow: FlowName,
        similar: Option<FlowName>,
    },
    #[error("there is no unfinished run {0}")]
    UnknownRun(RunId),
    #[error("flow `{0}` has no valid version")]
    NoVersion(FlowName),
    #[error("the flow file of `{0}` is gone")]
    FlowRemoved(FlowName),
    #[error("run {0} is not finished, so there is nothing to resume")]
    NotFinished(RunId),
    #[error(
        "run {0} succeeded, so there is nothing to resume; name a step to repeat it and what follows"
    )]
    AlreadySucceeded(RunId),
    #[error("flow `{flow}` has no step `{step}`")]
    UnknownStep { flow: FlowName, step: StepName },
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    BadParams(Vec<BadParam>),
    #[error("flow `{0}` would wait for itself: {1}")]
    FlowCycle(FlowName, String),
    #[error("flow `{flow}` would run itself, again and again: {path}")]
    FlowLoop { flow: FlowName, path: String },
    #[error("flows may run flows {max} deep, and with flow `{flow}` these go deeper: {path}")]
    SubFlowDepth {
        flow: FlowName,
        max: u32,
        path: String,
    },
    #[error(
        "flow `{flow}` wants {wanted} of pool `{pool}`, which {has}; set `{pool} = N` below [pools] in dalsegno.toml and restart"
    )]
    Pool {
        flow: FlowName,
        pool: String,
        wanted: u32,
        has: String,
    },
    #[error(
        "event types that begin with `dalsegno.` are Dalsegno's own; choose another than `{0}`"
    )]
    ReservedEvent(String),
    #[error("{0} is too large: at most {1} bytes")]
    TooLarge(&'static str, usize),
    #[error("there is no unfinished backfill {0}")]
    UnknownBackfill(u64),
    /// The world is not as it was when the plan was made.
    #[error("the plan is out of date: {0}; plan again")]
    PlanChanged(String),
    #[error("there is no open promise `{0}`: it may be over by now")]
    UnknownSla(String),
    #[error("there is no silence {0} that is not over")]
    UnknownSilence(u64),
    #[error("a silence from {from} until {until} is none: let it end later")]
    EmptySilence { from: Timestamp, until: Timestamp },
    /// A backfill that cannot be: what is wrong, and the cure.
    #[error("no backfill: {0}")]
    Backfill(String),
}

/// One parameter that does not fit its declaration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parameter `{name}`: {message}")]
pub struct BadParam {
    pub name: String,
    pub message: String,
}
