//! Telling what is known of the attempts that are asked for.

use super::super::compiled::items_step;
use super::super::jobs;
use super::super::machine::{NotYet, later};
use super::look::Try;
use super::{Mirror, Wanted};
use crate::guard::Api;
use crate::job::{Job, JobState};
use dalsegno_scheduler::spec::StepSpec;
use dalsegno_scheduler::{
    AttemptId, News, NodeKind, Outcome, Reason, Report, Success, TaskId, Timestamp,
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What an attempt was told of already.
#[derive(Default)]
pub(super) struct Told {
    asked: u64,
    external_id: Option<Arc<str>>,
    waiting: Option<Reason>,
    log: Option<Arc<str>>,
    pub(super) is_started: bool,
    is_ended: bool,
}

impl Told {
    /// Whether this wait is another one than was told last.
    pub(super) fn is_news(&mut self, waiting: &Reason) -> bool {
        let is_same = match (&self.waiting, waiting) {
            (
                Some(Reason::SubmissionWaits {
                    api: a, cause: x, ..
                }),
                Reason::SubmissionWaits {
                    api: b, cause: y, ..
                },
            ) => a == b && x == y,
            (Some(before), now) => before == now,
            (None, _) => false,
        };
        self.waiting = Some(waiting.clone());
        !is_same
    }
}

impl Mirror {
    /// Tells all attempts what is new; whether anything was.
    pub(super) async fn tell(
        &mut self,
        arn: &str,
        wanted: &BTreeMap<AttemptId, Wanted>,
    ) -> Result<bool, NotYet> {
        self.told.retain(|attempt, _| wanted.contains_key(attempt));
        let mut has_told = false;
        for (attempt, wanted) in wanted {
            let told = self.told.entry(attempt.clone()).or_default();
            if told.asked != wanted.asked {
                *told = Told {
                    asked: wanted.asked,
                    ..Told::default()
                };
            }
            if !told.is_ended {
                has_told |= self.tell_one(arn, attempt, wanted).await?;
            }
        }
        Ok(has_told)
    }

    async fn tell_one(
        &mut self,
        arn: &str,
        attempt: &AttemptId,
        wanted: &Wanted,
    ) -> Result<bool, NotYet> {
        let before = wanted
            .submission
            .remote
            .as_ref()
            .map_or(0, |it| it.attempts_before);
        let number = usize::try_from(attempt.number.saturating_sub(before).max(1)).unwrap_or(1);
        let step = self.step(&attempt.task);
        let tries = self.tries(&attempt.task);
        // What was not accepted and was asked for again is no attempt.
        let last = tries.len().saturating_sub(1);
        let counted: Vec<&Try> = tries
            .iter()
            .enumerate()
            .filter(|(at, it)| it.job.is_some() || (*at == last && self.is_final(it)))
            .map(|it| it.1)
            .collect();
        let Some(step) = step else {
            let message = format!(
                "flow {} has no step {}",
                self.execution.flow.name(),
                attempt.task.step
            );
            return self
                .end(
                    attempt,
                    Outcome::Failed(Reason::Configuration { message }),
                    None,
                    None,
                )
                .await;
        };
        match counted.get(number - 1) {
            Some(Try { job: Some(id), .. }) => {
                let Some(job) = self.view.jobs.get(id).cloned() else {
                    return self.without_job(arn, attempt, wanted, &step, None).await;
                };
                self.of_job(arn, attempt, wanted, &step, number, &job).await
            }
            Some(Try { asked, .. }) => {
                let failed = asked.as_ref().and_then(|it| it.failed.clone());
                self.without_job(arn, attempt, wanted, &step, failed).await
            }
            None if number > 1 && self.is_given_up(&tries) => {
                let last = counted.last().and_then(|it| it.job.as_ref());
                let last = last.and_then(|it| self.view.jobs.get(it));
                let config = &self.inner.aws.config;
                let why =
                    last.and_then(|it| jobs::failure(&self.execution.flow, &step, config, it));
                let message = match why {
                    Some(Outcome::Failed(reason)) => {
                        format!("{reason}; Step Functions does not repeat this task any more")
                    }
                    Some(Outcome::Lost(said)) => {
                        format!("{said}; Step Functions does not repeat this task any more")
                    }
                    _ => "Step Functions does not repeat this task any more".to_owned(),
                };
                self.end(
                    attempt,
                    Outcome::Failed(Reason::Configuration { message }),
                    None,
                    None,
                )
                .await
            }
            None => self.without_job(arn, attempt, wanted, &step, None).await,
        }
    }

    /// A try that was not accepted and is not repeated.
    fn is_final(&self, it: &Try) -> bool {
        let asked = it.asked.as_ref();
        asked.is_some_and(|it| it.failed.is_some() && (it.is_last || self.view.is_over()))
    }

    /// Its last try is over for good, and there will be no other.
    fn is_given_up(&self, tries: &[Try]) -> bool {
        let last = tries.last();
        self.view.is_over() || last.is_some_and(|it| it.asked.as_ref().is_some_and(|it| it.is_last))
    }

    async fn of_job(
        &mut self,
        arn: &str,
        attempt: &AttemptId,
        wanted: &Wanted,
        step: &StepSpec,
        number: usize,
        job: &Job,
    ) -> Result<bool, NotYet> {
        let external_id: Arc<str> = format!("{arn}#{}", job.id).into();
        if job.state.is_end() {
            self.name(attempt, &external_id, job).await;
            let outcome = match job.state {
                JobState::Succeeded if self.compiled.is_some() => {
                    match self.success_compiled(attempt, step) {
                        Some(outcome) => outcome,
                        // How many items follow is told a moment later.
                        None => return Ok(false),
                    }
                }
                JobState::Succeeded => self.success(attempt, step).await?,
                _ if wanted.is_stopping && (job.is_terminated || self.has_stopped) => {
                    Outcome::Stopped
                }
                _ => self.failure(step, number, job),
            };
            return self
                .end(attempt, outcome, job.started_at, job.stopped_at)
                .await;
        }
        let has_named = self.name(attempt, &external_id, job).await;
        let is_running = job.state == JobState::Running;
        let told = self.told.entry(attempt.clone()).or_default();
        if is_running && !told.is_started {
            told.is_started = true;
            let at = job.started_at.unwrap_or_else(|| self.inner.aws.now());
            let report = Report::Started { external_id, at };
            self.inner.reporter.report(attempt.clone(), report).await;
            return Ok(true);
        }
        if !is_running && !told.is_started {
            let waiting = Reason::JobWaits {
                queue: job.queue.clone(),
                state: job.state.as_str().to_owned(),
                since: job.created_at.unwrap_or_default(),
                message: job.status_reason.clone(),
            };
            let after = self.inner.aws.config.timings.waiting_after;
            let waited = self.inner.aws.now().0 - job.created_at.unwrap_or_default().0;
            let is_long = waited > i64::try_from(after.as_micros()).unwrap_or(i64::MAX);
            if is_long && told.is_news(&waiting) {
                let news = News {
                    waiting: Some(waiting),
                    ..News::default()
                };
                self.inner
                    .reporter
                    .report(attempt.clone(), Report::News(news))
                    .await;
                return Ok(true);
            }
        }
        Ok(has_named)
    }

    /// Tells what the attempt is called, and where its log is.
    async fn name(&mut self, attempt: &AttemptId, external_id: &Arc<str>, job: &Job) -> bool {
        let told = self.told.entry(attempt.clone()).or_default();
        let mut news = News::default();
        if told.external_id.as_ref() != Some(external_id) {
            told.external_id = Some(external_id.clone());
            news.external_id = Some(external_id.clone());
        }
        let log: Option<Arc<str>> = job.log.as_deref().map(Into::into);
        if log.is_some() && told.log != log {
            told.log.clone_from(&log);
            news.log = log;
        }
        let is_news = news != News::default();
        if is_news {
            self.inner
                .reporter
                .report(attempt.clone(), Report::News(news))
                .await;
        }
        is_news
    }

    /// There is no job, or not yet.
    async fn without_job(
        &mut self,
        arn: &str,
        attempt: &AttemptId,
        wanted: &Wanted,
        step: &StepSpec,
        failed: Option<(String, String)>,
    ) -> Result<bool, NotYet> {
        if let Some((error, cause)) = failed {
            let reason = match error.as_str() {
                "Batch.ClientException" | "States.Permissions" | "States.Runtime" => {
                    Reason::Configuration {
                        message: format!("{error}: {cause}"),
                    }
                }
                _ => Reason::Execution { error, cause },
            };
            return self.end(attempt, Outcome::Failed(reason), None, None).await;
        }
        if self.view.is_over() {
            let living = wanted.is_stopping && self.view.has_living_jobs();
            if living || (self.has_stopped && !wanted.is_stopping) {
                return Ok(false);
            }
            let outcome = match wanted.is_stopping {
                true => Outcome::Stopped,
                false => Outcome::Failed(self.end_of_execution(step)),
            };
            return self.end(attempt, outcome, None, self.view.stopped_at).await;
        }
        let told = self.told.entry(attempt.clone()).or_default();
        if told.external_id.is_some() {
            return Ok(false);
        }
        let external_id: Arc<str> = arn.into();
        told.external_id = Some(external_id.clone());
        let news = News {
            external_id: Some(external_id),
            ..News::default()
        };
        self.inner
            .reporter
            .report(attempt.clone(), Report::News(news))
            .await;
        Ok(true)
    }

    fn end_of_execution(&self, step: &StepSpec) -> Reason {
        if self.view.is_gone {
            return Reason::Execution {
                error: "ExecutionDoesNotExist".into(),
                cause: "the execution is gone: somebody deleted it, or it is older than 90 days"
                    .into(),
            };
        }
        match (
            self.view.status.as_str(),
            self.execution.flow.spec().run.timeout,
        ) {
            ("TIMED_OUT", Some(timeout)) => Reason::AttemptTimeout { timeout },
            (status @ ("SUCCEEDED" | "FAILED" | "ABORTED" | "TIMED_OUT"), _) => {
                let error = match self.view.error.as_str() {
                    "" => status.to_owned(),
                    error => error.to_owned(),
                };
                let cause = match self.view.cause.as_str() {
                    "" => format!("the execution ended without coming to step {}", step.name),
                    cause => cause.chars().take(2_000).collect(),
                };
                Reason::Execution { error, cause }
            }
            (status, _) => Reason::Execution {
                error: status.to_owned(),
                cause: format!(
                    "the execution is `{status}`, a word that this version does not know"
                ),
            },
        }
    }

    /// A try that the machine repeats is paid for by the step's retries, whatever it died of: so it is counted as that
    /// here too.
    fn failure(&self, step: &StepSpec, number: usize, job: &Job) -> Outcome {
        let (flow, config) = (&self.execution.flow, &self.inner.aws.config);
        let outcome = jobs::failure(flow, step, config, job).unwrap_or_else(|| {
            Outcome::Failed(Reason::Job {
                message: "the job failed, and AWS does not say why".into(),
                exit: job.exit,
            })
        });
        let is_repeated =
            u32::try_from(number).is_ok_and(|it| it <= step.retry.times) && !self.has_stopped;
        let as_own = |message: String| {
            Outcome::Failed(Reason::Job {
                message,
                exit: job.exit,
            })
        };
        match outcome {
            outcome if !is_repeated => outcome,
            Outcome::Lost(message) => as_own(message),
            Outcome::Failed(
                reason @ (Reason::Exit { .. }
                | Reason::Signal { .. }
                | Reason::Job { .. }
                | Reason::AttemptTimeout { .. }
                | Reason::BadOutput { .. }),
            ) => Outcome::Failed(reason),
            Outcome::Failed(other) => as_own(other.to_string()),
            outcome => outcome,
        }
    }

    /// Of a step that Metaflow itself wraps: its outputs are in Metaflow's datastore. `None`: not known yet.
    fn success_compiled(&self, attempt: &AttemptId, step: &StepSpec) -> Option<Outcome> {
        let Some(next) = items_step(&self.execution, step) else {
            return Some(Outcome::Succeeded(Success::default()));
        };
        let map = (format!("*{next}"), attempt.task.path.as_slice().to_vec());
        match self.view.history.maps.get(&map) {
            Some(splits) => Some(Outcome::Succeeded(Success {
                splits: Some(*splits),
                ..Success::default()
            })),
            None if self.view.is_over() => Some(Outcome::Failed(self.end_of_execution(step))),
            None => None,
        }
    }

    async fn success(&self, attempt: &AttemptId, step: &StepSpec) -> Result<Outcome, NotYet> {
        if step.outputs.is_empty() {
            return Ok(Outcome::Succeeded(Success::default()));
        }
        let Some(storage) = &self.inner.storage else {
            return Ok(Outcome::Succeeded(Success::default()));
        };
        let node = self
            .execution
            .flow
            .step_node(step.name.as_str())
            .expect("a step has a node");
        let path = match attempt.task.path.is_root() {
            true => String::new(),
            false => format!("-{}", attempt.task.path.to_string().replace('.', "-")),
        };
        let keys = storage.of_run(self.key.0, self.created);
        let key = format!("{keys}sfn/n{}{path}/output", node.0);
        let body = storage
            .get(&self.inner.aws, &key)
            .await
            .map_err(later(Api::S3Get))?;
        let bad = |message: String| Ok(Outcome::Failed(Reason::BadOutput { message }));
        let Some(body) = body else {
            return bad(format!("s3://{}/{key} is not there", storage.bucket()));
        };
        let outputs: Map<String, Value> = match serde_json::from_slice(&body) {
            Ok(outputs) => outputs,
            Err(error) => {
                return bad(format!(
                    "the outputs are not JSON: {error}; write lines NAME=JSON"
                ));
            }
        };
        Ok(Outcome::Succeeded(Success {
            outputs,
            ..Success::default()
        }))
    }

    async fn end(
        &mut self,
        attempt: &AttemptId,
        outcome: Outcome,
        started_at: Option<Timestamp>,
        at: Option<Timestamp>,
    ) -> Result<bool, NotYet> {
        self.told.entry(attempt.clone()).or_default().is_ended = true;
        self.inner
            .ended(attempt.clone(), outcome, started_at, at)
            .await;
        Ok(true)
    }

    fn step(&self, task: &TaskId) -> Option<StepSpec> {
        let flow = &self.execution.flow;
        let node = flow.step_node(task.step.as_str())?;
        match flow.node(node).kind {
            NodeKind::Step(index) => Some(flow.spec().steps[index].clone()),
            NodeKind::Open(_) | NodeKind::Close(_) => None,
        }
    }
}
