//! Job definitions: registered once per content, under a name that is their content.

use super::Inner;
use crate::guard::{Api, CallError};
use crate::names;
use dalsegno_scheduler::spec::Remote;
use dalsegno_scheduler::{Reason, Submission};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};

/// What a definition has to say although every job says it anew: another size is no other definition.
const NOMINAL_MEMORY_MIB: &str = "2048";

/// The group that Batch uses by itself.
const USUAL_LOG_GROUP: &str = "/aws/batch/job";

/// What is registered for a submission with this command (`None`: each job brings its own).
///
/// # Errors
/// What is missing.
pub(crate) fn content(
    inner: &Inner,
    submission: &Submission,
    remote: &Remote,
    command: Option<&[String]>,
) -> Result<Value, Reason> {
    let config = &inner.aws.config;
    let Some(image) = remote.image.as_ref().or(config.image.as_ref()) else {
        return Err(Reason::Configuration {
            message: format!(
                "step {} names no image; set `image` in the step, or in [aws] of dalsegno.toml",
                submission.attempt.task.step
            ),
        });
    };
    let mut container: Map<String, Value> = Map::from_iter(remote.container.clone());
    container.insert("image".into(), json!(image));
    container.insert("command".into(), json!(command.unwrap_or_default()));
    container.insert(
        "resourceRequirements".into(),
        json!([{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": NOMINAL_MEMORY_MIB}]),
    );
    let roles = [
        ("jobRoleArn", &remote.job_role, &config.job_role),
        (
            "executionRoleArn",
            &remote.execution_role,
            &config.execution_role,
        ),
    ];
    for (name, own, common) in roles {
        if let Some(role) = own.as_ref().or(common.as_ref()) {
            container.insert(name.into(), json!(role));
        }
    }
    if let Some(mib) = remote.shared_memory_mib {
        let linux = container
            .entry("linuxParameters")
            .or_insert_with(|| json!({}));
        linux["sharedMemorySize"] = json!(mib);
    }
    if !config.log_group.is_empty() && config.log_group != USUAL_LOG_GROUP {
        let logs = json!({"logDriver": "awslogs", "options": {"awslogs-group": config.log_group}});
        container.entry("logConfiguration").or_insert(logs);
    }
    let is_fargate = ["fargatePlatformConfiguration", "networkConfiguration"]
        .iter()
        .any(|it| container.contains_key(*it));
    let mut content = json!({
        "type": "container",
        "containerProperties": container,
        "propagateTags": true,
        "tags": {"dalsegno:installation": config.installation},
    });
    if is_fargate {
        content["platformCapabilities"] = json!(["FARGATE"]);
    }
    Ok(content)
}

impl Inner {
    /// The ARN of a definition with that content. Two daemons that register it at the same time make two revisions,
    /// which say the same.
    pub(crate) async fn definition(
        &self,
        content: &Value,
    ) -> Result<(String, String), (Api, CallError)> {
        let canonical = content.to_string();
        let name = names::definition(&self.aws.config.installation, &canonical);
        // Held over the calls, so that many that begin together register it once; others do not wait for it.
        let own = self
            .known_definitions()
            .entry(name.clone())
            .or_default()
            .clone();
        let mut known = own.lock().await;
        if let Some(arn) = known.as_ref() {
            return Ok((name, arn.clone()));
        }
        let api = Api::DescribeJobDefinitions;
        let find = self.aws.batch.describe_job_definitions();
        let find = find.job_definition_name(&name).status("ACTIVE").send();
        let found = self
            .aws
            .guard
            .call(api, find)
            .await
            .map_err(|it| (api, it))?;
        let newest = found
            .job_definitions()
            .iter()
            .max_by_key(|it| it.revision());
        let arn = match newest.and_then(|it| it.job_definition_arn()) {
            Some(arn) => arn.to_owned(),
            None => self.register(&name, content).await?,
        };
        *known = Some(arn.clone());
        Ok((name, arn))
    }

    /// It turned out to be there no more.
    pub(crate) fn forget_definition(&self, name: &str) {
        self.known_definitions().remove(name);
    }

    fn known_definitions(
        &self,
    ) -> MutexGuard<'_, BTreeMap<String, Arc<tokio::sync::Mutex<Option<String>>>>> {
        self.definitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn register(&self, name: &str, content: &Value) -> Result<String, (Api, CallError)> {
        let mut body = content.clone();
        body["jobDefinitionName"] = json!(name);
        let body = body.to_string();
        let api = Api::RegisterJobDefinition;
        let register = self.aws.batch.register_job_definition();
        let register = register
            .job_definition_name(name)
            .r#type(aws_sdk_batch::types::JobDefinitionType::Container)
            .customize()
            // What is registered is the text by which it is named; its container may have properties that this version
            // has no types for.
            .mutate_request(move |request| {
                let length = body.len().to_string();
                request.headers_mut().insert("content-length", length);
                *request.body_mut() = body.clone().into();
            })
            .send();
        let made = self
            .aws
            .guard
            .call(api, register)
            .await
            .map_err(|it| (api, it))?;
        match made.job_definition_arn() {
            Some(arn) => Ok(arn.to_owned()),
            None => Err((
                api,
                CallError::Unreachable {
                    message: "the answer names no job definition".into(),
                },
            )),
        }
    }
}
