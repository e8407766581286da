//! State machines and executions at AWS. Everything here may be asked for twice: names make it one.

use super::start::Prepared;
use crate::cx::Aws;
use crate::guard::{Api, CallError};
use crate::names;
use aws_sdk_sfn::operation::describe_execution::DescribeExecutionOutput;
use aws_sdk_sfn::types::Tag;
use dalsegno_scheduler::FlowName;

/// Why something is not done yet.
#[derive(Debug)]
pub(super) enum NotYet {
    /// Once more, later: the same call is safe.
    Later(Api, CallError),
    /// It can never be done as it is.
    Never(String),
}

pub(super) fn later(api: Api) -> impl Fn(CallError) -> NotYet {
    move |error| match error {
        CallError::Invalid { code, message } => NotYet::Never(format!("{api}: {code}: {message}")),
        error => NotYet::Later(api, error),
    }
}

/// The ARN of a flow's machine, if there is one.
pub(super) async fn find(aws: &Aws, flow: &FlowName) -> Result<Option<String>, NotYet> {
    let name = names::state_machine(&aws.config.installation, flow);
    let api = Api::DescribeStateMachine;
    let mut token = None;
    loop {
        let list = aws.sfn.list_state_machines().max_results(1000);
        let list = list.set_next_token(token).send();
        let page = aws.guard.call(api, list).await.map_err(later(api))?;
        let found = page.state_machines().iter().find(|it| it.name() == name);
        if let Some(found) = found {
            return Ok(Some(found.state_machine_arn().to_owned()));
        }
        token = page.next_token().map(str::to_owned);
        if token.is_none() {
            return Ok(None);
        }
    }
}

/// The machine's ARN, and that of its version with this definition, which is made where it is not the newest.
pub(super) async fn ensure(
    aws: &Aws,
    flow: &FlowName,
    prepared: &Prepared,
) -> Result<(String, String), NotYet> {
    let Some(role) = &aws.config.state_machine_role else {
        return Err(NotYet::Never(
            "no role is configured for state machines; set `state_machine_role` in [aws] of dalsegno.toml".into(),
        ));
    };
    let definition = prepared.machine.text();
    if let Some(arn) = find(aws, flow).await? {
        let api = Api::UpdateStateMachine;
        let update = aws.sfn.update_state_machine().state_machine_arn(&arn);
        let update = update.definition(&definition).role_arn(role);
        let update = update
            .publish(true)
            .version_description(&prepared.machine.hash)
            .send();
        let done = aws.guard.call(api, update).await.map_err(later(api))?;
        let version = done.state_machine_version_arn().unwrap_or(&arn).to_owned();
        return Ok((arn, version));
    }
    let api = Api::CreateStateMachine;
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
    let create = aws
        .sfn
        .create_state_machine()
        .name(names::state_machine(&aws.config.installation, flow))
        .definition(&definition)
        .role_arn(role)
        .publish(true)
        .version_description(&prepared.machine.hash)
        .tags(tag(crate::tags::INSTALLATION, &aws.config.installation))
        .tags(tag(crate::tags::FLOW, &crate::tags::value(flow.as_str())))
        .send();
    match aws.guard.call(api, create).await {
        Ok(made) => {
            let arn = made.state_machine_arn().to_owned();
            let version = made.state_machine_version_arn().unwrap_or(&arn).to_owned();
            Ok((arn, version))
        }
        // Somebody was faster, or a lost answer was ours: the next try finds it.
        Err(CallError::Invalid { code, message })
            if code.contains("AlreadyExists") || code.contains("Conflict") =>
        {
            Err(NotYet::Later(api, CallError::Unreachable { message }))
        }
        Err(error) => Err(later(api)(error)),
    }
}

/// The ARN that an execution of this machine has.
pub(super) fn execution_arn(machine: &str, name: &str) -> String {
    format!(
        "{}:{name}",
        machine.replacen(":stateMachine:", ":execution:", 1)
    )
}

/// `None`: there is no such execution.
pub(super) async fn describe(
    aws: &Aws,
    arn: &str,
) -> Result<Option<DescribeExecutionOutput>, NotYet> {
    let api = Api::DescribeExecution;
    let describe = aws.sfn.describe_execution().execution_arn(arn).send();
    match aws.guard.call(api, describe).await {
        Ok(it) => Ok(Some(it)),
        Err(CallError::Invalid { code, .. })
            if code == "ExecutionDoesNotExist" || code == "StateMachineDoesNotExist" =>
        {
            Ok(None)
        }
        Err(error) => Err(later(api)(error)),
    }
}
