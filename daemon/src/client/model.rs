//! What the API tells, as far as the command line shows it. Members that are not needed are not named,
//! and words that a newer daemon may add to (states, kinds) stay text.

use dalsegno_scheduler::Timestamp;
use dalsegno_scheduler::metaflow::output;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// An instant in RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) Timestamp);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at = Timestamp::parse_rfc3339(&text);
        at.map(Self)
            .ok_or_else(|| de::Error::custom(format!("`{text}` is not an instant")))
    }
}

/// Why something is as it is.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Reason {
    pub(crate) code: String,
    #[serde(default)]
    text: Option<String>,
}

impl Reason {
    /// In words.
    pub(crate) fn text(&self) -> &str {
        self.text.as_deref().unwrap_or(&self.code)
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Run {
    pub(crate) id: String,
    pub(crate) flow: String,
    #[serde(default)]
    pub(crate) version: String,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) generation: u32,
    #[serde(default)]
    pub(crate) params: Map<String, Value>,
    #[serde(default)]
    pub(crate) trigger: String,
    /// The events that started it, by number.
    #[serde(default)]
    pub(crate) events: Vec<u64>,
    /// What started it, in words, where more is known than the trigger's name; not a part of the answer.
    #[serde(skip)]
    pub(crate) by: Option<String>,
    #[serde(default)]
    pub(crate) interval: Option<Interval>,
    #[serde(default)]
    pub(crate) reason: Option<Reason>,
    pub(crate) created_at: Time,
    /// Since when it has been in the queue: its creation or its newest resume.
    #[serde(default)]
    pub(crate) queued_at: Option<Time>,
    #[serde(default)]
    pub(crate) started_at: Option<Time>,
    #[serde(default)]
    pub(crate) finished_at: Option<Time>,
    /// The run whose finished tasks it began with.
    #[serde(default)]
    pub(crate) origin: Option<String>,
    #[serde(default)]
    pub(crate) metaflow: Option<InMetaflow>,
}

/// What a run is called in Metaflow.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct InMetaflow {
    /// `Class/run id`
    pub(crate) pathspec: String,
}

impl Run {
    pub(crate) fn is_finished(&self) -> bool {
        self.finished_at.is_some()
    }
    pub(crate) fn succeeded(&self) -> bool {
        self.state == "succeeded"
    }
    /// When it began, or went on after its newest resume.
    pub(crate) fn since(&self) -> Option<Time> {
        self.started_at
            .map(|it| it.max(self.queued_at.unwrap_or(it)))
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Interval {
    pub(crate) start: Time,
    pub(crate) end: Time,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Task {
    pub(crate) task: String,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) attempt: u32,
    #[serde(default)]
    pub(crate) reason: Option<Reason>,
    #[serde(default)]
    pub(crate) ready_at: Option<Time>,
    #[serde(default)]
    pub(crate) started_at: Option<Time>,
    #[serde(default)]
    pub(crate) finished_at: Option<Time>,
    #[serde(default)]
    outputs: Option<Map<String, Value>>,
    /// Its attempts that failed, oldest first, where they were asked for; not a part of the answer.
    #[serde(skip)]
    pub(crate) failures: Vec<Attempt>,
}

impl Task {
    /// `@catch` of Metaflow took an error.
    pub(crate) fn caught(&self) -> bool {
        let outputs = self.outputs.as_ref();
        outputs.is_some_and(|it| it.get(output::CAUGHT) == Some(&Value::Bool(true)))
    }
    /// What item `index` of the foreach after it is, in short; Metaflow's splits tell it.
    pub(crate) fn label(&self, index: usize) -> Option<&str> {
        self.outputs
            .as_ref()?
            .get(output::LABELS)?
            .get(index)?
            .as_str()
    }
    /// The indexes of its items, outermost first.
    pub(crate) fn path(&self) -> Vec<&str> {
        let place = self.place().strip_prefix('[');
        let path = place.and_then(|it| it.split_once(']'));
        path.map_or_else(Vec::new, |(path, _)| path.split('.').collect())
    }
    /// The step it belongs to: `fit` of `fit[3.0]@2`.
    pub(crate) fn step(&self) -> &str {
        let end = self.task.find(['[', '@']).unwrap_or(self.task.len());
        &self.task[..end]
    }
    /// Its place in the step: `[3.0]@2`, or nothing.
    pub(crate) fn place(&self) -> &str {
        &self.task[self.step().len()..]
    }
    /// How many foreach it is in.
    pub(crate) fn depth(&self) -> usize {
        self.path().len()
    }
    /// Its result stands, and a resume keeps it.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state.as_str(), "succeeded" | "caught")
    }
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_done() || matches!(self.state.as_str(), "failed" | "cancelled" | "skipped")
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Attempt {
    #[serde(default)]
    pub(crate) task: String,
    pub(crate) number: u32,
    #[serde(default)]
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) reason: Option<Reason>,
    #[serde(default)]
    pub(crate) finished_at: Option<Time>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Flow {
    pub(crate) name: String,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) file: String,
    #[serde(default)]
    pub(crate) active_version: Option<String>,
    #[serde(default)]
    pub(crate) invalid: Option<String>,
    #[serde(default)]
    pub(crate) paused: Option<Paused>,
    #[serde(default)]
    pub(crate) description: Option<String>,
    #[serde(default)]
    pub(crate) owner: Option<String>,
    /// In words, what starts it.
    #[serde(default)]
    pub(crate) starts: Option<String>,
    #[serde(default)]
    pub(crate) next_at: Option<Time>,
    #[serde(default)]
    pub(crate) unfinished_runs: u64,
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
    #[serde(default)]
    pub(crate) edges: Vec<(String, String)>,
    #[serde(default)]
    pub(crate) params: Vec<Param>,
    #[serde(default)]
    pub(crate) schedules: Vec<Schedule>,
    #[serde(default)]
    pub(crate) metaflow: Option<FlowOfMetaflow>,
}

/// What is told of a flow that is a Metaflow file.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct FlowOfMetaflow {
    pub(crate) class: String,
    #[serde(default)]
    pub(crate) interpreter: Option<String>,
    #[serde(default)]
    pub(crate) dynamic: Vec<Dynamic>,
    #[serde(default)]
    pub(crate) progress: Option<String>,
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
}

/// Something that only running the file can tell.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Dynamic {
    pub(crate) what: String,
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) line: u32,
}

impl Flow {
    /// Its file is gone, and never was valid: a slip of the pen.
    pub(crate) fn never_was(&self) -> bool {
        self.state == "removed" && self.active_version.is_none()
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Paused {
    pub(crate) by: String,
    #[serde(default)]
    pub(crate) reason: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Step {
    pub(crate) name: String,
    /// The foreach it belongs to.
    #[serde(default)]
    pub(crate) foreach: Option<String>,
    #[serde(default)]
    pub(crate) when: Option<Value>,
    #[serde(default)]
    pub(crate) retries: u32,
    #[serde(default)]
    pub(crate) metaflow: Option<StepOfMetaflow>,
}

impl Step {
    /// The step whose items its foreach goes over, when a Metaflow file declares it: the scope has no name there.
    pub(crate) fn over(&self) -> Option<&str> {
        self.metaflow.as_ref()?;
        self.foreach.as_deref()?.strip_suffix("-foreach")
    }
}

/// A schedule of a flow.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Schedule {
    pub(crate) name: String,
    /// In words, when it is due.
    pub(crate) text: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StepOfMetaflow {
    /// `@retry`: how often the code is repeated; the step's retries also count those that only `@catch` runs.
    #[serde(default)]
    pub(crate) user_retries: Option<u32>,
    #[serde(default)]
    pub(crate) decorators: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Param {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) optional: bool,
    #[serde(default)]
    pub(crate) default: Option<Value>,
    #[serde(default)]
    pub(crate) description: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Occurrence {
    pub(crate) flow: String,
    pub(crate) trigger: String,
    pub(crate) due_at: Time,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) reason: Option<Reason>,
    #[serde(default)]
    pub(crate) run: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Event {
    pub(crate) seq: u64,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) source: String,
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) subject: Option<String>,
    pub(crate) received_at: Time,
    #[serde(default)]
    pub(crate) data: Value,
    #[serde(default)]
    pub(crate) matches: Vec<Match>,
    /// The event that it repeats.
    #[serde(default)]
    pub(crate) replay_of: Option<u64>,
    /// How often what became of it, in lists.
    #[serde(default)]
    pub(crate) outcomes: BTreeMap<String, u64>,
}

/// Events of one trigger and join key that wait for others.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WaitingSet {
    pub(crate) trigger: String,
    pub(crate) join_key: String,
    pub(crate) since: Time,
    #[serde(default)]
    pub(crate) missing: Vec<String>,
    #[serde(default)]
    pub(crate) arrived: Vec<Arrived>,
    #[serde(default)]
    pub(crate) fires_at: Option<Time>,
    #[serde(default)]
    pub(crate) expires_at: Option<Time>,
    #[serde(default)]
    pub(crate) held: Option<Reason>,
}

/// What waits at one leaf.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Arrived {
    pub(crate) label: String,
    pub(crate) events: Vec<Event>,
    #[serde(default)]
    pub(crate) more: u64,
}

/// What would start if a flow were unpaused now, for each choice.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Unpausing {
    pub(crate) choices: Vec<Choice>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Choice {
    pub(crate) choice: String,
    pub(crate) starts: u64,
    #[serde(default)]
    pub(crate) runs: Vec<WouldStart>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WouldStart {
    pub(crate) trigger: String,
    pub(crate) due_at: Time,
}

/// What a flow file would have started.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct DryRun {
    pub(crate) flow: String,
    pub(crate) events: u64,
    pub(crate) since: Time,
    pub(crate) until: Time,
    #[serde(default)]
    pub(crate) truncated: bool,
    pub(crate) runs: Vec<WouldRun>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct WouldRun {
    pub(crate) at: Time,
    pub(crate) trigger: String,
    #[serde(default)]
    pub(crate) params: Map<String, Value>,
    #[serde(default)]
    pub(crate) events: Vec<u64>,
    #[serde(default)]
    pub(crate) refused: Option<Reason>,
}

/// A delivery that was no event.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Refused {
    pub(crate) source: String,
    pub(crate) id: String,
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) excerpt: String,
    pub(crate) received_at: Time,
}

/// Where events come from, or go to.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) message: Option<String>,
    #[serde(default)]
    pub(crate) cure: Option<String>,
    #[serde(default)]
    pub(crate) last_event_at: Option<Time>,
    #[serde(default)]
    pub(crate) received: u64,
    #[serde(default)]
    pub(crate) refused: u64,
}

/// The circuit breaker of a service, or of one of its calls.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Breaker {
    pub(crate) name: String,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) by_hand: Option<String>,
    #[serde(default)]
    pub(crate) failures: u64,
    #[serde(default)]
    pub(crate) opened_at: Option<Time>,
    #[serde(default)]
    pub(crate) retry_at: Option<Time>,
    #[serde(default)]
    pub(crate) last_error: Option<String>,
    #[serde(default)]
    pub(crate) calls: u64,
    #[serde(default)]
    pub(crate) errors: u64,
}

/// A job on AWS that no task wants.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct OrphanJob {
    pub(crate) job: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) queue: String,
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) created_at: Option<Time>,
    #[serde(default)]
    pub(crate) flow: String,
    #[serde(default)]
    pub(crate) attempt: String,
    #[serde(default)]
    pub(crate) why: String,
}

/// What a backfill would run.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct BackfillPlan {
    pub(crate) flow: String,
    pub(crate) from: Time,
    pub(crate) to: Time,
    #[serde(default)]
    pub(crate) downstream: bool,
    pub(crate) mode: String,
    pub(crate) items: Vec<PlanItem>,
    #[serde(default)]
    pub(crate) conflicts: Vec<String>,
    #[serde(default)]
    pub(crate) notes: Vec<String>,
    #[serde(default)]
    pub(crate) estimate_us: Option<i64>,
    pub(crate) counts: PlanCounts,
    pub(crate) token: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct PlanCounts {
    pub(crate) run: u64,
    pub(crate) keep: u64,
    pub(crate) conflict: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PlanItem {
    pub(crate) flow: String,
    pub(crate) interval: Interval,
    #[serde(default)]
    pub(crate) after: Vec<u32>,
    #[serde(default)]
    pub(crate) existing: Vec<Existing>,
    pub(crate) verdict: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Existing {
    pub(crate) run: String,
    pub(crate) state: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Backfill {
    #[serde(deserialize_with = "text_or_number")]
    pub(crate) id: String,
    pub(crate) flow: String,
    pub(crate) from: Time,
    pub(crate) to: Time,
    pub(crate) mode: String,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) by: String,
    #[serde(default)]
    pub(crate) parallel: u32,
    pub(crate) created_at: Time,
    #[serde(default)]
    pub(crate) finished_at: Option<Time>,
    #[serde(default)]
    pub(crate) counts: BTreeMap<String, u64>,
    #[serde(default)]
    pub(crate) running: Vec<String>,
    #[serde(default)]
    pub(crate) estimate_us: Option<i64>,
}

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct BackfillItem {
    pub(crate) flow: String,
    pub(crate) interval: Interval,
    #[serde(default)]
    pub(crate) run: Option<String>,
    #[serde(default)]
    pub(crate) reason: Option<Reason>,
}

/// What became of an event at one trigger.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Match {
    pub(crate) flow: String,
    pub(crate) trigger: String,
    pub(crate) outcome: String,
    #[serde(default)]
    pub(crate) reason: Option<Reason>,
    #[serde(default)]
    pub(crate) run: Option<String>,
}

/// One entry of an answer to `why`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Explanation {
    pub(crate) subject: String,
    pub(crate) text: String,
    /// `None` where nothing stands in the way.
    #[serde(default)]
    pub(crate) reason: Option<Reason>,
    #[serde(default)]
    pub(crate) until: Option<Time>,
    #[serde(default)]
    pub(crate) cure: Option<String>,
}

/// One entry of a run's journal.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) at: Time,
    /// The row's kind and its new state: `task.running`.
    pub(crate) kind: String,
    /// The row after the change, as the daemon stores it.
    pub(crate) body: String,
}
