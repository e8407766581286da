//! Bringing back what tasks of Metaflow's own jobs told its metadata, where these are files.

use super::super::compiled::Compiled;
use super::super::machine::NotYet;
use super::{Mirror, Wanted};
use crate::guard::{Api, CallError};
use dalsegno_scheduler::AttemptId;
use std::collections::{BTreeMap, BTreeSet};

/// After so many failures in a row the tasks' ends are told without.
const FAILURES_MAX: u32 = 3;

/// What was brought back already.
#[derive(Default)]
pub(super) struct Kept {
    jobs: BTreeSet<String>,
    failures: u32,
}

impl Mirror {
    /// Done before anybody hears of the tasks' ends: whoever dies in between does it again.
    pub(super) async fn keep_metadata(
        &mut self,
        compiled: &Compiled,
        wanted: &BTreeMap<AttemptId, Wanted>,
    ) -> Result<(), NotYet> {
        let Some(machines) = &self.inner.machines else {
            return Ok(());
        };
        if !machines.brings_metadata(&compiled.flow) {
            return Ok(());
        }
        let is_wanted = |step: &str, items: &[u32]| {
            let mut tasks = wanted.keys().map(|it| &it.task);
            tasks.any(|it| it.step.as_str() == step && it.path.as_slice() == items)
        };
        let is_over = |job: &String| self.view.jobs.get(job).is_some_and(|it| it.state.is_end());
        let (mut jobs, mut tasks) = (Vec::new(), Vec::new());
        for asked in &self.view.history.asked {
            if let Some(job) = asked.job.as_ref().filter(|it| is_over(it))
                && !self.kept.jobs.contains(job)
                && is_wanted(&asked.step, &asked.items)
            {
                // Metaflow names tasks after their jobs.
                tasks.push(format!("{}/{job}", asked.step));
                jobs.push(job.clone());
            }
        }
        if jobs.is_empty() {
            return Ok(());
        }
        let (installation, run) = (&self.inner.aws.config.installation, self.key.0);
        let run_id = Compiled::run_id(installation, run, self.created);
        let kept = machines.keep_metadata(&compiled.flow, &compiled.file, &run_id, &tasks);
        match kept.await {
            Ok(()) => self.kept.failures = 0,
            Err(message) if self.kept.failures < FAILURES_MAX => {
                self.kept.failures += 1;
                let message = format!("metadata of {run_id} cannot be brought back yet: {message}");
                return Err(NotYet::Later(
                    Api::S3Get,
                    CallError::Unreachable { message },
                ));
            }
            Err(message) => tracing::warn!(
                run.id = %run,
                "metadata of {} tasks of {run_id} are not brought back, so Metaflow's client will not see these: {message}",
                jobs.len()
            ),
        }
        self.kept.jobs.extend(jobs);
        Ok(())
    }
}
