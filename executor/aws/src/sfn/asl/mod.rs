//! A flow as a state machine of AWS Step Functions.

mod estimate;
mod node;
mod plan;
mod rules;
mod scope;
mod slots;
mod task;
mod text;

pub use estimate::{Estimate, Finding, HISTORY_MAX, PAYLOAD_MAX, Severity, findings};
pub use plan::{Block, Members, open_of};
pub use slots::{AllSlots, Kind};
pub use task::word;

use dalsegno_scheduler::spec::{Command, Items, OnFailure, Route, ScopeIndex, StepSpec};
use dalsegno_scheduler::{Flow, NodeKind, Path, StepName, TaskId};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Items from which on a foreach is a Distributed Map: an inline Map runs at most 40 at a time, and each of its items
/// takes events of the one history.
pub const INLINE_ITEMS_MAX: usize = 40;

/// The most bytes of a definition.
pub const DEFINITION_MAX: usize = 1 << 20;

/// A state's name has at most so many characters.
pub const NAME_MAX: usize = 80;

/// Nodes of a flow that is compiled at all: more than fit a definition.
const NODES_MAX: usize = 2_000;

/// What a flow is compiled with.
pub struct Settings<'a> {
    /// The job of a step; else why there can be none.
    pub job: &'a dyn Fn(&StepSpec) -> Result<JobShape, String>,
    /// A bucket is configured.
    pub has_s3: bool,
    /// How many items foreachs have, where that is known.
    pub items: BTreeMap<StepName, usize>,
    /// Foreachs whose items are read from S3, for they are too many for the input.
    pub items_in_s3: BTreeSet<StepName>,
    /// Tasks that are done already, in a resumed run.
    pub done: BTreeSet<TaskId>,
    /// Steps among them whose outputs are known.
    pub known: BTreeSet<StepName>,
    /// Host losses that a job may have before that is its failure.
    pub lost_retries: u32,
}

/// What a step's jobs are submitted with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobShape {
    /// The name of the job definition. The command is in it.
    pub definition: String,
    pub queue: String,
    /// The command runs inside the wrapper that brings outputs back.
    pub is_wrapped: bool,
    /// Tags beside those that tell whose job it is.
    pub tags: BTreeMap<String, String>,
}

/// A compiled flow.
#[derive(Clone, Debug)]
pub struct StateMachine {
    pub definition: Value,
    /// Of the definition's text: 16 hex digits.
    pub hash: String,
    pub estimate: Estimate,
    /// What has to be worked out when an execution starts.
    pub slots: AllSlots,
    /// Foreachs that are Distributed Maps: their tasks are not in the execution's own history.
    pub distributed: BTreeSet<StepName>,
}

impl StateMachine {
    pub fn text(&self) -> String {
        self.definition.to_string()
    }
}

/// What cannot be said in Amazon States Language.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}; {cure}")]
pub struct Problem {
    /// The step or foreach, and its field.
    pub place: String,
    pub message: String,
    pub cure: String,
}

/// Cure of most problems: there we decide each step ourselves.
pub const USE_BATCH: &str = "with `executor: batch` this is decided here";

/// Compiles a flow.
///
/// # Errors
/// All that cannot be compiled, not only the first.
pub fn compile(flow: &Flow, settings: &Settings<'_>) -> Result<StateMachine, Vec<Problem>> {
    if flow.nodes().len() > NODES_MAX {
        return Err(vec![Problem {
            place: format!("flow {}", flow.name()),
            message: format!(
                "{} steps do not fit a state machine of 1 MiB",
                flow.spec().steps.len()
            ),
            cure: USE_BATCH.into(),
        }]);
    }
    let mut compiler = Compiler {
        flow,
        settings,
        slots: AllSlots::new(),
        problems: Vec::new(),
        distributed: BTreeSet::new(),
        parallels: 0,
    };
    compiler.check();
    let (start, states) = compiler.root();
    let mut definition = json!({
        "Comment": format!("Flow {} of Dalsegno", flow.name()),
        "StartAt": start,
        "States": states,
    });
    if let Some(timeout) = flow.spec().run.timeout {
        definition["TimeoutSeconds"] = json!((timeout.0.max(0) as u64).div_ceil(1_000_000).max(1));
    }
    compiler.problems.dedup();
    if !compiler.problems.is_empty() {
        return Err(compiler.problems);
    }
    let estimate = estimate::estimate(&definition, &settings.items);
    Ok(StateMachine {
        hash: hash(&definition.to_string()),
        estimate,
        slots: compiler.slots,
        distributed: compiler.distributed,
        definition,
    })
}

/// 16 hex digits.
pub fn hash(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest[..8].iter().map(|it| format!("{it:02x}")).collect()
}

type States = Map<String, Value>;

/// What comes after a state.
#[derive(Clone, Debug)]
enum Next {
    State(String),
    End,
}

impl Next {
    /// With `Next` or `End`.
    fn after(&self, mut state: Value) -> Value {
        match self {
            Self::State(name) => state["Next"] = json!(name),
            Self::End => state["End"] = json!(true),
        }
        state
    }
}

struct Compiler<'a> {
    flow: &'a Flow,
    settings: &'a Settings<'a>,
    slots: AllSlots,
    problems: Vec<Problem>,
    distributed: BTreeSet<StepName>,
    parallels: u32,
}

impl Compiler<'_> {
    fn problem(&mut self, place: String, message: String, cure: &str) {
        let cure = cure.to_owned();
        self.problems.push(Problem {
            place,
            message,
            cure,
        });
    }

    /// What has no form at all.
    fn check(&mut self) {
        let hooks: Vec<_> = self
            .flow
            .hooks()
            .iter()
            .map(|it| self.flow.node(it.0).name.clone())
            .collect();
        for step in &self.flow.spec().steps {
            if hooks.contains(&step.name) {
                continue;
            }
            let place = format!("step {}", step.name);
            if let Command::Flow(sub) = &step.run {
                let message = format!(
                    "a run of flow {} cannot be a state of an execution",
                    sub.flow
                );
                self.problem(place.clone(), message, USE_BATCH);
            }
            if step.route == Route::Switch {
                let message =
                    "which way a switch goes is only known from its task's own report".into();
                self.problem(place.clone(), message, USE_BATCH);
            }
            if step.on_oom.is_some() {
                let message = "Step Functions repeats a job as it was, with no more memory".into();
                self.problem(format!("{place}: on_oom"), message, USE_BATCH);
            }
            if !step.outputs.is_empty() && !self.settings.has_s3 {
                let message = "outputs come back through S3".into();
                self.problem(
                    format!("{place}: outputs"),
                    message,
                    "set `s3` in [aws] of dalsegno.toml",
                );
            }
        }
        for scope in &self.flow.spec().scopes {
            if matches!(scope.items, Items::Reported) {
                let message =
                    "how many items there are is only known from a task's own report".into();
                self.problem(format!("foreach {}", scope.name), message, USE_BATCH);
            }
        }
    }

    fn step(&self, id: dalsegno_scheduler::NodeId) -> Option<&StepSpec> {
        match self.flow.node(id).kind {
            NodeKind::Step(index) => Some(&self.flow.spec().steps[index]),
            NodeKind::Open(_) | NodeKind::Close(_) => None,
        }
    }

    /// Whether a step stops all else when it fails, here or in a foreach inside.
    fn has_fail_fast(&self, scope: ScopeIndex) -> bool {
        let spec = self.flow.spec();
        let mut steps = spec.steps.iter().filter(|it| it.scope == scope);
        let mut inner = spec
            .scopes
            .iter()
            .enumerate()
            .filter(|(_, it)| it.parent == scope);
        steps.any(|it| it.on_failure == OnFailure::FailFast)
            || inner.any(|(at, _)| self.has_fail_fast(index_of(at)))
    }

    /// Done at the root: nothing is left to do for it.
    fn is_done(&self, step: &StepName) -> bool {
        let task = TaskId {
            step: step.clone(),
            path: Path::ROOT,
            iteration: 0,
        };
        self.settings.done.contains(&task)
    }
}

/// The scope by its place in the flow's scopes.
pub fn index_of(place: usize) -> ScopeIndex {
    ScopeIndex(u16::try_from(place + 1).expect("a flow has fewer scopes"))
}

/// Of a step or foreach with what a state does for it: at most [`NAME_MAX`] characters.
fn name(node: &dalsegno_scheduler::Node, what: &str) -> String {
    let whole = format!("{}{what}", node.name);
    if whole.chars().count() <= NAME_MAX {
        return whole;
    }
    let tail = format!("~{}{what}", node.id.0);
    let room = NAME_MAX.saturating_sub(tail.chars().count());
    let head: String = node.name.as_str().chars().take(room).collect();
    format!("{head}{tail}")
}
