//! What an execution's history tells of its jobs.
//!
//! Works for any machine whose tasks are `batch:submitJob.sync`: each job is known by its state, the items that state
//! is in, and its name. Which step that is, is for the caller to say.

use aws_sdk_sfn::types::{HistoryEvent, HistoryEventType};
use dalsegno_scheduler::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// Who knows what the states of a machine are.
pub trait States {
    /// What is in a state, in these items of the maps around it (outermost first).
    type Place;
    /// `None`: nothing that anybody asks for.
    fn place(&self, state: &str, items: &[u32]) -> Option<Self::Place>;
}

/// One job that a state asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    pub state: String,
    /// The step, where the job's parameters name it, as those of Metaflow's jobs do.
    pub step: String,
    /// Indexes in the maps around it, outermost first.
    pub items: Vec<u32>,
    pub name: String,
    /// `None`: it was not accepted, or not yet.
    pub job: Option<String>,
    pub at: Timestamp,
    /// Error and cause, when it failed.
    pub failed: Option<(String, String)>,
    pub has_succeeded: bool,
    /// Nothing comes after it: it failed, and was not repeated.
    pub is_last: bool,
    /// How often the execution had been taken up again before it.
    pub redrives: u32,
}

/// What was read so far. Reading the same event twice changes nothing.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub asked: Vec<Asked>,
    /// The number of the newest event.
    pub last: i64,
    pub redrives: u32,
    /// How many items each Map has, by its state and the items that is in.
    pub maps: BTreeMap<(String, Vec<u32>), u32>,
    /// Per event: the state and the items it is in, and the place in `asked`.
    chain: BTreeMap<i64, Link>,
}

#[derive(Clone, Debug, Default)]
struct Link {
    state: String,
    items: Vec<u32>,
    is_iteration: bool,
    /// An item of a Map begins.
    is_new_item: bool,
    asked: Option<usize>,
}

impl History {
    /// Takes in events in the order of their numbers.
    pub fn read(&mut self, events: &[HistoryEvent]) {
        for event in events {
            if event.id() > self.last {
                self.last = event.id();
                self.read_one(event);
            }
        }
    }

    /// The jobs of a place that somebody asks for, in the order of their tries.
    pub fn of<'a, S: States>(
        &'a self,
        states: &'a S,
    ) -> impl Iterator<Item = (S::Place, &'a Asked)> + 'a {
        self.asked
            .iter()
            .filter_map(|it| Some((states.place(&it.state, &it.items)?, it)))
    }

    fn read_one(&mut self, event: &HistoryEvent) {
        use HistoryEventType as Kind;
        let before = self.chain.get(&event.previous_event_id()).cloned();
        let mut link = before.unwrap_or_default();
        let was_iteration = std::mem::take(&mut link.is_iteration);
        let was_new_item = std::mem::take(&mut link.is_new_item);
        if let Some(entered) = event.state_entered_event_details() {
            entered.name().clone_into(&mut link.state);
            // Metaflow's items are numbers from a set: which one it is tells the item, not its place in the Map.
            let index = was_new_item.then(|| index_in(entered.input())).flatten();
            if let (Some(index), Some(last)) = (index, link.items.last_mut()) {
                *last = index;
            }
            self.is_over(&mut link);
        }
        match event.r#type() {
            Kind::MapStateStarted => {
                if let Some(it) = event.map_state_started_event_details() {
                    let length = u32::try_from(it.length()).unwrap_or_default();
                    let map = (link.state.clone(), link.items.clone());
                    self.maps.insert(map, length);
                }
            }
            Kind::MapIterationStarted => {
                link.is_new_item = true;
                if let Some(it) = event.map_iteration_started_event_details() {
                    link.items
                        .push(u32::try_from(it.index()).unwrap_or_default());
                }
            }
            Kind::MapIterationSucceeded | Kind::MapIterationFailed | Kind::MapIterationAborted => {
                link.is_iteration = true;
            }
            Kind::MapStateSucceeded | Kind::MapStateFailed | Kind::MapStateAborted
                if was_iteration =>
            {
                link.items.pop();
            }
            Kind::ExecutionRedriven => self.redrives += 1,
            Kind::TaskStateExited | Kind::ExecutionFailed => self.is_over(&mut link),
            Kind::TaskScheduled => {
                let details = event.task_scheduled_event_details();
                let details = details.filter(|it| it.resource_type() == "batch");
                if let Some(details) = details {
                    let parameters: Value =
                        serde_json::from_str(details.parameters()).unwrap_or_default();
                    link.asked = Some(self.asked.len());
                    self.asked.push(Asked {
                        state: link.state.clone(),
                        step: parameters["Parameters"]["step_name"]
                            .as_str()
                            .unwrap_or_default()
                            .to_owned(),
                        items: link.items.clone(),
                        name: parameters["JobName"]
                            .as_str()
                            .unwrap_or_default()
                            .to_owned(),
                        at: time(event),
                        redrives: self.redrives,
                        ..Asked::default()
                    });
                }
            }
            _ => {}
        }
        if let Some(asked) = link.asked.and_then(|it| self.asked.get_mut(it)) {
            let failed = |error: Option<&str>, cause: Option<&str>| {
                Some((
                    error.unwrap_or_default().to_owned(),
                    cause.unwrap_or_default().to_owned(),
                ))
            };
            if let Some(it) = event.task_submitted_event_details() {
                let output: Value =
                    serde_json::from_str(it.output().unwrap_or_default()).unwrap_or_default();
                asked.job = output["JobId"].as_str().map(str::to_owned);
            }
            if let Some(it) = event.task_submit_failed_event_details() {
                asked.failed = failed(it.error(), it.cause());
            }
            if let Some(it) = event.task_failed_event_details() {
                asked.failed = failed(it.error(), it.cause());
            }
            if let Some(it) = event.task_start_failed_event_details() {
                asked.failed = failed(it.error(), it.cause());
            }
            if let Some(it) = event.task_timed_out_event_details() {
                asked.failed = failed(it.error(), it.cause());
            }
            if event.task_succeeded_event_details().is_some() {
                asked.has_succeeded = true;
            }
        }
        self.chain.insert(event.id(), link);
    }

    fn is_over(&mut self, link: &mut Link) {
        if let Some(asked) = link.asked.take().and_then(|it| self.asked.get_mut(it)) {
            asked.is_last = true;
        }
    }
}

/// What Metaflow's machines call the item.
fn index_in(input: Option<&str>) -> Option<u32> {
    let input: Value = serde_json::from_str(input?).ok()?;
    match &input["Index"] {
        Value::String(text) => text.parse().ok(),
        other => u32::try_from(other.as_u64()?).ok(),
    }
}

fn time(event: &HistoryEvent) -> Timestamp {
    let micros = event.timestamp().as_nanos() / 1_000;
    Timestamp(i64::try_from(micros).unwrap_or_default())
}
