//! What stands in the way of steps that run elsewhere, told when a file is checked or deployed.

use dalsegno_executor_aws::AwsConfig;
use dalsegno_executor_aws::sfn::{self, asl::Severity};
use dalsegno_scheduler::spec::Items;
use dalsegno_scheduler::{ExecutorKind, Flow, StepName};
use serde_json::Value;
use std::collections::BTreeMap;

/// Something that a person should know before the flow runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// The flow cannot run like this.
    pub(crate) is_error: bool,
    pub(crate) message: String,
    pub(crate) help: String,
}

/// Looks at a flow with the configuration of AWS; `None`: there is none.
pub(crate) fn told(flow: &Flow, aws: Option<&AwsConfig>) -> Vec<Told> {
    let steps = flow.spec().steps.iter();
    let kinds = steps.filter_map(|it| it.remote.as_ref().map(|it| it.executor));
    let Some(kind) = kinds.max() else {
        return Vec::new();
    };
    let name = flow.name();
    let Some(aws) = aws else {
        return vec![Told {
            is_error: false,
            message: format!(
                "flow {name} has `executor: {}`, and the daemon of this folder is not configured for AWS",
                kind.as_str()
            ),
            help: "add [aws] to dalsegno.toml (docs/aws.md) and restart".into(),
        }];
    };
    // Metaflow's own compiler judges its flows.
    if kind != ExecutorKind::StepFunctions || flow.spec().metaflow.is_some() {
        return Vec::new();
    }
    let found = sfn::preflight(flow, aws, &items(flow));
    let told = found.into_iter().map(|it| Told {
        is_error: it.severity == Severity::Error,
        message: format!("flow {name}: {}", it.message),
        help: it.cure,
    });
    told.collect()
}

/// How many items each foreach has whose list stands in the file.
fn items(flow: &Flow) -> BTreeMap<StepName, usize> {
    let scopes = flow.spec().scopes.iter();
    let known = scopes.filter_map(|scope| match &scope.items {
        Items::Template(list) if list.exprs().next().is_none() => {
            match list.eval(&dalsegno_scheduler::expr::Scope::new()) {
                Ok(Value::Array(items)) => Some((scope.name.clone(), items.len())),
                _ => None,
            }
        }
        _ => None,
    });
    known.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(text: &str) -> std::sync::Arc<Flow> {
        dalsegno_flowfile::parse("a.yaml", text)
            .expect("a valid flow")
            .flow
    }

    #[test]
    fn a_flow_that_needs_aws_is_told_where_there_is_none() {
        let here = flow("flow: a\nsteps: { go: { run: 'true' } }\n");
        assert_eq!(told(&here, None), []);
        let there = flow("flow: a\nexecutor: batch\nsteps: { go: { run: 'true' } }\n");
        let [it] = &told(&there, None)[..] else {
            panic!("one thing is told")
        };
        assert!(
            !it.is_error && it.message.contains("not configured for AWS"),
            "{it:?}"
        );
    }

    #[test]
    fn what_cannot_be_a_state_machine_is_an_error_that_names_the_cure() {
        let text = "flow: a\nexecutor: step_functions\nsteps: { go: { run: 'true' } }\n";
        let aws = AwsConfig {
            image: Some("busybox".into()),
            queues: vec!["cpu".into()],
            ..AwsConfig::default()
        };
        let told = told(&flow(text), Some(&aws));
        assert!(
            told.iter()
                .any(|it| it.is_error && it.help.contains("state_machine_role")
                    || it.message.contains("state_machine_role")),
            "{told:?}"
        );
    }
}
