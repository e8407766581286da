//! Metaflow flows as executions: Metaflow's own compiler makes the machine, we start it under our name, and what its
//! history tells is told of Metaflow's steps.
//!
//! In such a machine the state `x` is the job of step `x`, `#x` looks up how many items there are, and `*x` is the Map
//! over them. Batch repeats what `@retry` and `@catch` allow, within one job.

use super::history::History;
use super::machine::{self, NotYet, later};
use super::mirror::Inner;
use super::resume::{Before, ResumePlan, resume_plan};
use super::start::Prepared;
use crate::guard::{Api, CallError};
use crate::names;
use dalsegno_executor::metaflow::Machines;
use dalsegno_scheduler::metaflow::MetaflowFlow;
use dalsegno_scheduler::spec::{Command, Items, StepSpec};
use dalsegno_scheduler::{Execution, NodeKind, Path, Reason, RunId, Submission, TaskId, Timestamp};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What Metaflow itself lets parameters have: the rest of what a job may be given is its own.
const INPUT_MAX: usize = 20_480;

/// Where a run of a flow that Metaflow compiles comes from.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    pub(super) flow: Arc<MetaflowFlow>,
    pub(super) file: String,
}

/// The ARNs of a machine, and of its version that belongs to a version of the flow.
#[derive(Clone, Debug)]
pub(super) struct Deployed {
    pub(super) machine: String,
    pub(super) version: String,
}

impl Compiled {
    /// `None`: it is no Metaflow flow, and we compile it.
    pub(super) fn of(submission: &Submission) -> Option<Self> {
        let task = submission.metaflow.as_ref()?;
        Some(Self {
            flow: task.flow.clone(),
            file: submission.file.clone(),
        })
    }

    /// What Metaflow calls a run: after the execution that it began with.
    pub(super) fn run_id(installation: &str, run: RunId, created: Timestamp) -> String {
        format!("sfn-{}", names::execution(installation, run, created, 1))
    }

    /// The execution's name and input. The same run always gives the same.
    pub(super) fn prepare(
        installation: &str,
        execution: &Execution,
        run: RunId,
        created: Timestamp,
    ) -> Result<Prepared, Reason> {
        if execution.generation == 1 && !execution.done.is_empty() {
            return Err(Reason::Configuration {
                message: format!(
                    "a machine that Metaflow compiles begins at its first step, and {} tasks of the earlier run are \
                     not to be done again; start a new run, or resume that run itself",
                    execution.done.len()
                ),
            });
        }
        let input = input(&execution.params);
        if input.len() > INPUT_MAX {
            return Err(Reason::Configuration {
                message: format!(
                    "the parameters are {} bytes, and Metaflow hands at most {INPUT_MAX} to Step Functions; hand a \
                     large value over as a file in S3",
                    input.len()
                ),
            });
        }
        let name = names::execution(installation, run, created, execution.generation);
        Ok(Prepared::named(name, input))
    }

    /// The flow's machine, if it was deployed by us.
    pub(super) async fn machine(
        inner: &Inner,
        execution: &Execution,
    ) -> Result<Option<String>, NotYet> {
        let found = inner.aws.store.position(&of_flow(execution)).await;
        let found = found.map_err(unread)?;
        Ok(found.filter(|it| !it.is_empty()))
    }

    /// The machine in the version that belongs to this version of the flow, deployed if it never was.
    pub(super) async fn deployed(
        &self,
        inner: &Inner,
        execution: &Execution,
    ) -> Result<Deployed, NotYet> {
        let machines = compiler(inner)?;
        let store = &inner.aws.store;
        // Two runs that begin at once deploy once.
        let _turn = machines.turn().await;
        let key = of_version(execution, machines);
        let machine = store.position(&of_flow(execution)).await.map_err(unread)?;
        let machine = machine.filter(|it| !it.is_empty());
        let is_ours = machine.is_some();
        let version = store.position(&key).await.map_err(unread)?;
        if let (Some(machine), Some(version)) = (machine, version)
            && !version.is_empty()
        {
            return Ok(Deployed { machine, version });
        }
        let made = machines.deploy(&self.flow, &self.file, is_ours).await;
        let made = made.map_err(refused)?;
        let api = Api::UpdateStateMachine;
        let publish = inner.aws.sfn.publish_state_machine_version();
        let publish = publish
            .state_machine_arn(&made.arn)
            .description(execution.version.to_string())
            .send();
        let version = inner
            .aws
            .guard
            .call(api, publish)
            .await
            .map_err(later(api))?;
        let version = version.state_machine_version_arn().to_owned();
        tracing::info!(
            flow = %execution.flow.name(),
            "flow {} is state machine {}{}",
            execution.flow.name(),
            made.name,
            match made.left_out.as_slice() {
                [] => String::new(),
                left_out => format!("; @{} stays here", left_out.join(", @")),
            }
        );
        let now = inner.aws.now();
        let kept = store
            .put_position(&of_flow(execution), &made.arn, now)
            .await;
        kept.map_err(unread)?;
        let (name, from) = (compiled_from(&version), execution.version.to_string());
        let told = store.put_position(&name, &from, now);
        told.await.map_err(unread)?;
        let kept = store.put_position(&key, &version, now).await;
        kept.map_err(unread)?;
        Ok(Deployed {
            machine: made.arn,
            version,
        })
    }

    /// Somebody deleted the machine, or its version: the next try deploys it again.
    pub(super) async fn forget(inner: &Inner, execution: &Execution) -> Result<(), NotYet> {
        let key = of_version(execution, compiler(inner)?);
        let now = inner.aws.now();
        let gone = inner.aws.store.put_position(&key, "", now).await;
        gone.map_err(unread)
    }

    /// How a later generation goes on: the execution that is redriven, and how often it will have been.
    ///
    /// Such a machine cannot begin in its middle, so there is nothing else.
    pub(super) async fn redriven(
        inner: &Inner,
        execution: &Execution,
        run: RunId,
        created: Timestamp,
    ) -> Result<(String, u32), NotYet> {
        match Self::plan(inner, execution, run, created).await? {
            (ResumePlan::Redrive { .. }, arn, redrives) => Ok((arn, redrives)),
            (ResumePlan::New { because, .. }, ..) => Err(NotYet::Never(format!(
                "this run cannot go on: {because}. A machine that Metaflow compiles begins at its first step or where \
                 its execution failed; start a new run, or resume with --same-version where only the flow is another one"
            ))),
        }
    }

    /// How it would go on; with the ARN of the execution before it (empty: there is none), and how often that will have
    /// been redriven.
    pub(super) async fn plan(
        inner: &Inner,
        execution: &Execution,
        run: RunId,
        created: Timestamp,
    ) -> Result<(ResumePlan, String, u32), NotYet> {
        let aws = &inner.aws;
        // Redrives do not change its name, and there are no others.
        let name = names::execution(&aws.config.installation, run, created, 1);
        let machine = Self::machine(inner, execution).await?.unwrap_or_default();
        let arn = machine::execution_arn(&machine, &name);
        let found = match machine.is_empty() {
            true => None,
            false => machine::describe(aws, &arn).await?,
        };
        let Some(it) = found else {
            return Ok((resume_plan(None, &name, aws.now()), String::new(), 0));
        };
        let redrives = execution.generation - 1;
        let had = u32::try_from(it.redrive_count().unwrap_or(0)).unwrap_or(0);
        if had == redrives {
            // We did it in an earlier life.
            return Ok((ResumePlan::Redrive { execution: name }, arn, redrives));
        }
        let mut history = History::default();
        super::mirror::read_history(aws, &arn, &mut history).await?;
        let version = it.state_machine_version_arn().unwrap_or_default();
        let version = aws.store.position(&compiled_from(version)).await;
        let version = version.map_err(unread)?;
        let flow = &execution.flow;
        let mut last: BTreeMap<TaskId, bool> = BTreeMap::new();
        for asked in &history.asked {
            if let Some(step) = flow.step(&asked.step) {
                last.insert(task(step, &asked.items), asked.has_succeeded);
            }
        }
        let succeeded: BTreeSet<TaskId> =
            last.into_iter().filter(|it| it.1).map(|it| it.0).collect();
        let done: BTreeSet<TaskId> = execution.done.iter().map(|it| it.0.clone()).collect();
        let before = Before {
            name: name.clone(),
            status: it.status().as_str().to_owned(),
            stopped_at: super::mirror::time(it.stop_date()),
            error: it.error().unwrap_or_default().to_owned(),
            redrives: had,
            redrives_expected: redrives.saturating_sub(1),
            events: history.last,
            is_same_definition: version == Some(execution.version.to_string()),
            is_same_input: it.input() == Some(input(&execution.params).as_str()),
            caught: 0,
            is_same_done: succeeded == done,
            // Metaflow's compiler makes none as it is asked here.
            has_distributed: false,
        };
        Ok((resume_plan(Some(&before), &name, aws.now()), arn, redrives))
    }
}

fn compiler(inner: &Inner) -> Result<&Machines, NotYet> {
    inner.machines.as_deref().ok_or_else(|| {
        NotYet::Never("Metaflow flows are deployed by a daemon, and this is none".into())
    })
}

/// The database did not answer: the next try asks again.
fn unread(error: dalsegno_store::Error) -> NotYet {
    let message = format!("what is deployed cannot be read or written: {error}");
    NotYet::Later(
        Api::DescribeStateMachine,
        CallError::Unreachable { message },
    )
}

/// What AWS did not answer while the compiler ran may be answered the next time; all else is said for good.
fn refused(message: String) -> NotYet {
    const PASSING: [&str; 7] = [
        "Throttl",
        "TooManyRequests",
        "EndpointConnectionError",
        "ConnectTimeout",
        "ReadTimeout",
        "ConnectionClosed",
        "ServiceUnavailable",
    ];
    match PASSING.iter().any(|it| message.contains(it)) {
        true => NotYet::Later(Api::UpdateStateMachine, CallError::Unreachable { message }),
        false => NotYet::Never(message),
    }
}

fn of_flow(execution: &Execution) -> String {
    format!("metaflow machine {}", execution.flow.name())
}

/// Of which version of the flow a version of a machine was made.
fn compiled_from(version: &str) -> String {
    format!("metaflow machine version {version}")
}

/// Other queues or roles make another machine.
fn of_version(execution: &Execution, machines: &Machines) -> String {
    let digest = Sha256::digest(format!("{:?}", machines.settings()));
    let hash = digest.iter().take(4).map(|it| format!("{it:02x}"));
    format!(
        "metaflow machine {}@{}-{}",
        execution.flow.name(),
        execution.version,
        hash.collect::<String>()
    )
}

/// As `step-functions trigger` writes it. What is null has no value: the default counts.
fn input(params: &Map<String, Value>) -> String {
    let given: Map<String, Value> = params
        .iter()
        .filter(|it| !it.1.is_null())
        .map(|(name, value)| {
            let value = match value {
                Value::Object(_) | Value::Array(_) => Value::String(value.to_string()),
                plain => plain.clone(),
            };
            (name.clone(), value)
        })
        .collect();
    json!({ "Parameters": Value::Object(given).to_string() }).to_string()
}

fn task(step: &StepSpec, items: &[u32]) -> TaskId {
    TaskId {
        step: step.name.clone(),
        path: items.iter().fold(Path::ROOT, |path, it| path.child(*it)),
        iteration: 0,
    }
}

/// The step whose items follow this step: its Map in the machine is `*x`.
pub(super) fn items_step<'a>(execution: &'a Execution, step: &'a StepSpec) -> Option<&'a str> {
    let Command::Metaflow(own) = &step.run else {
        return None;
    };
    let [next] = own.next.as_slice() else {
        return None;
    };
    let flow = &execution.flow;
    let scopes = &flow.spec().scopes;
    let opens = scopes
        .iter()
        .any(|it| matches!(it.items, Items::Reported) && it.after.contains(&step.name));
    let node = flow.step_node(next.as_str())?;
    (opens && matches!(flow.node(node).kind, NodeKind::Step(_))).then_some(next.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_handed_over_as_metaflow_itself_does() {
        let Value::Object(params) =
            json!({"alpha": 0.5, "rows": [1, 2], "name": "a", "none": null, "flag": true})
        else {
            unreachable!("an object")
        };
        assert_eq!(
            input(&params),
            r#"{"Parameters":"{\"alpha\":0.5,\"flag\":true,\"name\":\"a\",\"rows\":\"[1,2]\"}"}"#
        );
        assert_eq!(input(&Map::new()), r#"{"Parameters":"{}"}"#);
    }
}
