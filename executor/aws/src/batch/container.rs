//! The container of what is submitted by one request, and what must be in S3 before.

use super::Inner;
use crate::container::{self, Container, Object};
use crate::guard::{Api, CallError};
use crate::metaflow;
use crate::names;
use dalsegno_scheduler::{ArrayPlace, Reason, Submission};
use std::sync::{Arc, PoisonError};

/// Why there is no container.
pub(crate) enum Unready {
    /// It cannot be run as it is.
    Unusable(Reason),
    /// It may be possible later.
    Later(Api, CallError),
}

impl Inner {
    /// Of an attempt that is a job of its own.
    pub(crate) async fn container(
        &self,
        submission: &Arc<Submission>,
    ) -> Result<Container, Reason> {
        if submission.metaflow.is_none() {
            return container::container(submission, &self.aws);
        }
        let configuration = |message: String| Reason::Configuration { message };
        let (Some(jobs), Some(storage)) = (self.metaflow.clone(), self.storage.clone()) else {
            return Err(configuration(
                "Metaflow steps on Batch need S3, through which code goes there and answers come back; set `s3` in \
                 [aws] of dalsegno.toml"
                    .into(),
            ));
        };
        let submission = submission.clone();
        // Packing code reads files.
        let made = tokio::task::spawn_blocking(move || {
            let created = submission.remote.as_ref().map(|it| it.run_created_at);
            let created = created.unwrap_or_default();
            let attempt = &submission.attempt;
            let order = storage.of_attempt(attempt, created, "order");
            let answer = storage.of_attempt(attempt, created, "answer");
            let cloned = format!("{}cloned", storage.of_run(attempt.run, created));
            let keys = metaflow::Keys {
                bucket: storage.bucket(),
                code: &|sha256| storage.code(sha256),
                order: &order,
                answer: &answer,
                cloned: &cloned,
            };
            let made = metaflow::container(&jobs, &submission, keys)?;
            let objects = made.objects.into_iter();
            Ok(Container {
                command: made.command,
                is_command_own: false,
                environment: made.environment,
                objects: objects.map(|(key, body)| Object { key, body }).collect(),
                output: Some(answer),
            })
        });
        match made.await {
            Ok(made) => made.map_err(configuration),
            Err(error) => Err(configuration(format!(
                "its code could not be packed: {error}"
            ))),
        }
    }

    /// Of an array, and which of its items it will run: what was written first stands.
    pub(crate) async fn array_container(
        &self,
        place: &ArrayPlace,
        items: &[Option<Arc<Submission>>],
        may_be_written: bool,
    ) -> Result<(Container, Vec<bool>), Unready> {
        let Some(any) = items.iter().flatten().next() else {
            return Err(Unready::Unusable(Reason::Configuration {
                message: "the array has no items".into(),
            }));
        };
        let (Some(storage), Some(remote)) = (&self.storage, &any.remote) else {
            return Err(Unready::Unusable(Reason::Configuration {
                message: "an array needs S3".into(),
            }));
        };
        let name = names::array(&self.aws.config.installation, place, remote.run_created_at);
        let key = storage.array(place.first.run, remote.run_created_at, &name);
        let items: Vec<_> = items.iter().map(Option::as_deref).collect();
        let mut made =
            container::array(&items, &self.aws, storage, &key).map_err(Unready::Unusable)?;
        if may_be_written {
            let written = storage.get_all(&self.aws, &key).await;
            let written = written.map_err(|it| Unready::Later(Api::S3Get, it))?;
            if let Some(manifest) = written {
                made.objects.clear();
                return Ok((made, container::wanted(&manifest)));
            }
        }
        let wanted = items.iter().map(Option::is_some).collect();
        Ok((made, wanted))
    }

    /// Puts everything into S3 that the container needs.
    pub(crate) async fn bring(&self, objects: Vec<Object>) -> Result<(), CallError> {
        let Some(storage) = &self.storage else {
            return Ok(());
        };
        for Object { key, body } in objects {
            let is_code = key.contains("/code/") || key.starts_with("code/");
            let brought = || self.brought.lock().unwrap_or_else(PoisonError::into_inner);
            if is_code && brought().contains(&key) {
                continue;
            }
            storage.put(&self.aws, &key, body).await?;
            if is_code {
                brought().insert(key);
            }
        }
        Ok(())
    }
}
