//! Looking at an execution and its jobs.

use super::super::history::{Asked, History};
use super::super::jobs::task_of;
use super::super::machine::{self, NotYet, later};
use super::super::resume::{Before, ResumePlan, resume_plan};
use super::super::start::{Prepared, prepare};
use super::Mirror;
use crate::cx::Aws;
use crate::guard::Api;
use crate::job::Job;
use crate::names;
use aws_sdk_batch::types::KeyValuesPair;
use aws_sdk_sfn::operation::describe_execution::DescribeExecutionOutput;
use dalsegno_scheduler::{Execution, RunId, TaskId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// DescribeJobs takes so many at once.
const JOBS_AT_ONCE: usize = 100;

/// What was seen of an execution.
#[derive(Default)]
pub(super) struct View {
    pub(super) status: String,
    pub(super) error: String,
    pub(super) cause: String,
    pub(super) stopped_at: Option<Timestamp>,
    pub(super) history: History,
    /// By id.
    pub(super) jobs: BTreeMap<String, Job>,
    /// By id: of Distributed Maps, whose names are in no history of ours, and of executions that are gone.
    pub(super) listed: BTreeMap<String, String>,
    expected: BTreeSet<String>,
    /// What was just started may not be known everywhere yet: it is looked for again before it counts as gone.
    missing_since: Option<Instant>,
    /// The execution was there and is not any more, or never was.
    pub(super) is_gone: bool,
}

impl View {
    pub(super) fn is_over(&self) -> bool {
        self.is_gone || !matches!(self.status.as_str(), "" | "RUNNING" | "PENDING_REDRIVE")
    }

    pub(super) fn expect(&mut self, job: &str) {
        self.expected.insert(job.to_owned());
    }

    /// Whether a job that was seen is not over.
    pub(super) fn has_living_jobs(&self) -> bool {
        self.jobs.values().any(|it| !it.state.is_end())
    }
}

impl Mirror {
    /// Looks once; whether anything is new.
    pub(super) async fn look(&mut self, arn: &str) -> Result<bool, NotYet> {
        let aws = self.inner.aws.clone();
        let Some(found) = machine::describe(&aws, arn).await? else {
            let since = self.view.missing_since.get_or_insert_with(Instant::now);
            let is_new = !self.view.is_gone;
            self.view.is_gone |= since.elapsed() >= aws.config.timings.look_again;
            // Its jobs may still be there.
            return Ok(self.look_at_jobs(arn).await? || is_new);
        };
        self.view.missing_since = None;
        self.view.is_gone = false;
        let mut has_changed = self.view.status != found.status().as_str();
        found.status().as_str().clone_into(&mut self.view.status);
        self.view.error = found.error().unwrap_or_default().to_owned();
        self.view.cause = found.cause().unwrap_or_default().to_owned();
        self.view.stopped_at = time(found.stop_date());
        let before = self.view.history.last;
        read_history(&aws, arn, &mut self.view.history).await?;
        has_changed |= self.view.history.last != before;
        has_changed |= self.look_at_jobs(arn).await?;
        Ok(has_changed)
    }

    /// The jobs that its history names, and those of which no history tells us: their names do.
    async fn look_at_jobs(&mut self, arn: &str) -> Result<bool, NotYet> {
        let aws = self.inner.aws.clone();
        let mut has_changed = false;
        let prepared = self
            .prepared
            .as_ref()
            .expect("it was prepared before it was looked at");
        if self.view.is_gone || !prepared.machine.distributed.is_empty() {
            let prefix = prefix_of(arn, prepared);
            let queues = self.queues();
            for (id, name) in list_names(&aws, &queues, &prefix).await? {
                has_changed |= self.view.listed.insert(id, name).is_none();
            }
        }
        let mut ids: BTreeSet<String> = self.view.expected.clone();
        ids.extend(
            self.view
                .history
                .asked
                .iter()
                .filter_map(|it| it.job.clone()),
        );
        ids.extend(self.view.listed.keys().cloned());
        ids.retain(|it| self.view.jobs.get(it).is_none_or(|job| !job.state.is_end()));
        for job in describe_jobs(&aws, ids.into_iter().collect()).await? {
            has_changed |= self
                .view
                .jobs
                .get(&job.id)
                .is_none_or(|it| it.state != job.state);
            self.view.jobs.insert(job.id.clone(), job);
        }
        Ok(has_changed)
    }

    /// The jobs of a task in this generation, in the order of their tries.
    pub(super) fn tries(&self, task: &TaskId) -> Vec<Try> {
        let prepared = self
            .prepared
            .as_ref()
            .expect("it was prepared before it was looked at");
        let arn = self.arn.as_deref().unwrap_or_default();
        let execution = prefix_of(arn, prepared);
        let execution = execution.strip_suffix('-').unwrap_or(&execution);
        let flow = &self.execution.flow;
        if self.compiled.is_some() {
            let asked = self.view.history.asked.iter();
            let is_of = |it: &&Asked| {
                it.redrives >= self.since
                    && it.step == task.step.as_str()
                    && it.items == task.path.as_slice()
            };
            return asked
                .filter(is_of)
                .map(|it| Try {
                    job: it.job.clone(),
                    asked: Some(it.clone()),
                })
                .collect();
        }
        let is_of = |name: &str| task_of(flow, execution, name).filter(|it| it.0 == *task);
        let mut tries: Vec<Try> = Vec::new();
        for asked in &self.view.history.asked {
            if asked.redrives < self.since || is_of(&asked.name).is_none() {
                continue;
            }
            tries.push(Try {
                job: asked.job.clone(),
                asked: Some(asked.clone()),
            });
        }
        let mut listed: Vec<(u32, &String)> = self
            .view
            .listed
            .iter()
            .filter_map(|(id, name)| Some((is_of(name)?.1, id)))
            .filter(|(_, id)| !tries.iter().any(|it| it.job.as_ref() == Some(*id)))
            .collect();
        listed.sort_unstable();
        tries.extend(listed.into_iter().map(|(_, id)| Try {
            job: Some(id.clone()),
            asked: None,
        }));
        tries
    }

    /// How a later generation goes on: the plan, the execution to be redriven, and how often it will have been.
    pub(super) async fn plan(&self) -> Result<(ResumePlan, Option<String>, u32), NotYet> {
        let prepared = self.prepared.as_ref().expect("it is prepared first");
        plan(
            &self.inner.aws,
            self.key.0,
            self.created,
            &self.execution,
            &prepared.name,
        )
        .await
    }
}

/// One try of a task.
#[derive(Clone, Debug)]
pub(super) struct Try {
    /// `None`: it was never accepted.
    pub(super) job: Option<String>,
    pub(super) asked: Option<Asked>,
}

/// See [`Mirror::plan`]. For showing it before anything is done, too.
pub(super) async fn plan(
    aws: &Aws,
    run: RunId,
    created: Timestamp,
    execution: &Execution,
    name: &str,
) -> Result<(ResumePlan, Option<String>, u32), NotYet> {
    let now = aws.now();
    let none = |plan| Ok((plan, None, 0));
    let Some(machine) = machine::find(aws, execution.flow.name()).await? else {
        return none(resume_plan(None, name, now));
    };
    // The newest execution before: a generation that was a redrive has none of its own.
    let mut found = None;
    for generation in (1..execution.generation).rev() {
        let name = names::execution(&aws.config.installation, run, created, generation);
        let arn = machine::execution_arn(&machine, &name);
        if let Some(it) = machine::describe(aws, &arn).await? {
            found = Some((generation, name, arn, it));
            break;
        }
    }
    let Some((generation, old, arn, it)) = found else {
        return none(resume_plan(None, name, now));
    };
    let mut history = History::default();
    read_history(aws, &arn, &mut history).await?;
    let redrives = execution.generation - generation;
    let before = before(
        aws, run, created, execution, generation, &old, &arn, &it, &history,
    )
    .await?;
    let has_been = before.redrives == redrives;
    let plan = match has_been {
        // We did it in an earlier life.
        true => ResumePlan::Redrive { execution: old },
        false => resume_plan(Some(&before), name, now),
    };
    Ok((plan, Some(arn), redrives))
}

#[allow(clippy::too_many_arguments)]
async fn before(
    aws: &Aws,
    run: RunId,
    created: Timestamp,
    execution: &Execution,
    generation: u32,
    name: &str,
    arn: &str,
    found: &DescribeExecutionOutput,
    history: &History,
) -> Result<Before, NotYet> {
    // What it was started with. A generation that was a new execution had things done before, which are not known now.
    let first = Execution {
        generation,
        done: Vec::new(),
        ..execution.clone()
    };
    let started = (generation == 1)
        .then(|| prepare(&aws.config, &first, run, created).ok())
        .flatten();
    let api = Api::DescribeStateMachine;
    let describe = aws
        .sfn
        .describe_state_machine_for_execution()
        .execution_arn(arn)
        .send();
    let had = aws.guard.call(api, describe).await.map_err(later(api))?;
    let had: serde_json::Value = serde_json::from_str(had.definition()).unwrap_or_default();
    let flow = &execution.flow;
    let jobs = history
        .asked
        .iter()
        .filter_map(|it| Some((task_of(flow, name, &it.name)?.0, it)));
    let mut last: BTreeMap<TaskId, &Asked> = BTreeMap::new();
    for (task, asked) in jobs {
        last.insert(task, asked);
    }
    let is_uncaught = |it: &Asked| it.failed.is_some() && it.is_last;
    let failed: Vec<_> = last.values().filter(|it| is_uncaught(it)).collect();
    let succeeded: BTreeSet<TaskId> = last
        .iter()
        .filter(|(_, it)| it.has_succeeded)
        .map(|it| it.0.clone())
        .collect();
    let done: BTreeSet<TaskId> = execution.done.iter().map(|it| it.0.clone()).collect();
    let is_alone = failed.len() <= 1 && found.error() != Some(super::super::STEPS_FAILED);
    Ok(Before {
        name: name.to_owned(),
        status: found.status().as_str().to_owned(),
        stopped_at: time(found.stop_date()),
        error: found.error().unwrap_or_default().to_owned(),
        redrives: u32::try_from(found.redrive_count().unwrap_or(0)).unwrap_or(0),
        redrives_expected: execution.generation - generation - 1,
        events: history.last,
        is_same_definition: started
            .as_ref()
            .is_some_and(|it| it.machine.definition == had),
        is_same_input: started
            .as_ref()
            .is_some_and(|it| found.input() == Some(it.input.as_str())),
        caught: if is_alone {
            0
        } else {
            u32::try_from(failed.len()).unwrap_or(u32::MAX)
        },
        is_same_done: succeeded == done,
        has_distributed: (started.as_ref()).is_some_and(|it| !it.machine.distributed.is_empty()),
    })
}

/// Names of jobs begin with the name of their execution.
pub(super) fn prefix_of(arn: &str, prepared: &Prepared) -> String {
    match arn.rsplit(':').next().filter(|it| !it.is_empty()) {
        Some(name) => format!("{name}-"),
        None => format!("{}-", prepared.name),
    }
}

/// Reads what is new.
pub(in super::super) async fn read_history(
    aws: &Aws,
    arn: &str,
    history: &mut History,
) -> Result<(), NotYet> {
    let api = Api::GetExecutionHistory;
    let (mut token, mut new) = (None, Vec::new());
    loop {
        // The newest first: what is known already is not read again.
        let get = aws
            .sfn
            .get_execution_history()
            .execution_arn(arn)
            .max_results(1000);
        let get = get.reverse_order(true).include_execution_data(true);
        let page = aws.guard.call(api, get.set_next_token(token).send()).await;
        let page = page.map_err(later(api))?;
        let is_known = page.events().iter().any(|it| it.id() <= history.last);
        new.extend(
            page.events()
                .iter()
                .filter(|it| it.id() > history.last)
                .cloned(),
        );
        token = page.next_token().map(str::to_owned);
        if token.is_none() || is_known {
            break;
        }
    }
    new.sort_by_key(aws_sdk_sfn::types::HistoryEvent::id);
    history.read(&new);
    Ok(())
}

async fn describe_jobs(aws: &Aws, ids: Vec<String>) -> Result<Vec<Job>, NotYet> {
    let api = Api::DescribeJobs;
    let mut all = Vec::new();
    for chunk in ids.chunks(JOBS_AT_ONCE) {
        let describe = aws
            .batch
            .describe_jobs()
            .set_jobs(Some(chunk.to_vec()))
            .send();
        let found = aws.guard.call(api, describe).await.map_err(later(api))?;
        for detail in found.jobs() {
            match Job::of_detail(detail) {
                Ok(job) => all.push(job),
                Err(what) => tracing::warn!("Batch says what is not understood: {what}"),
            }
        }
    }
    Ok(all)
}

/// Jobs whose names begin so: id and status.
pub(super) async fn list(
    aws: &Aws,
    queues: &BTreeSet<String>,
    prefix: &str,
) -> Result<Vec<(String, String)>, NotYet> {
    let found = list_all(aws, queues, prefix).await?;
    Ok(found.into_iter().map(|it| (it.0, it.2)).collect())
}

async fn list_names(
    aws: &Aws,
    queues: &BTreeSet<String>,
    prefix: &str,
) -> Result<Vec<(String, String)>, NotYet> {
    let found = list_all(aws, queues, prefix).await?;
    Ok(found.into_iter().map(|it| (it.0, it.1)).collect())
}

async fn list_all(
    aws: &Aws,
    queues: &BTreeSet<String>,
    prefix: &str,
) -> Result<Vec<(String, String, String)>, NotYet> {
    let api = Api::ListJobs;
    let filter = KeyValuesPair::builder()
        .name("JOB_NAME")
        .values(format!("{prefix}*"))
        .build();
    let mut all = Vec::new();
    for queue in queues {
        let mut token = None;
        loop {
            let list = aws
                .batch
                .list_jobs()
                .job_queue(queue)
                .filters(filter.clone());
            let page = aws.guard.call(api, list.set_next_token(token).send()).await;
            let page = page.map_err(later(api))?;
            for job in page.job_summary_list() {
                let text = |it: Option<&str>| it.unwrap_or_default().to_owned();
                let status = text(job.status().map(|it| it.as_str()));
                all.push((text(job.job_id()), text(job.job_name()), status));
            }
            token = page.next_token().map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
    }
    Ok(all)
}

/// Stops an execution of which only the ARN is known; whether it and its jobs are dead.
pub(super) async fn end(aws: &Aws, arn: &str) -> Result<bool, NotYet> {
    // Of one that is gone there may still be jobs.
    let found = machine::describe(aws, arn).await?;
    if found.is_some_and(|it| it.status().as_str() == "RUNNING") {
        let api = Api::StopExecution;
        let stop = aws.sfn.stop_execution().execution_arn(arn);
        let stop = stop
            .error("Dalsegno.Cancelled")
            .cause("the run is stopped")
            .send();
        aws.guard.call(api, stop).await.map_err(later(api))?;
        return Ok(false);
    }
    let name = arn.rsplit(':').next().unwrap_or_default();
    let queues = aws
        .config
        .queues
        .iter()
        .chain(&aws.config.gpu_queues)
        .cloned()
        .collect();
    let mut is_dead = true;
    for (id, status) in list(aws, &queues, &format!("{name}-")).await? {
        if matches!(status.as_str(), "SUCCEEDED" | "FAILED") {
            continue;
        }
        is_dead = false;
        let api = Api::TerminateJob;
        let terminate = aws.batch.terminate_job().job_id(&id);
        let terminate = terminate.reason("Dalsegno: the run is stopped").send();
        aws.guard.call(api, terminate).await.map_err(later(api))?;
    }
    Ok(is_dead)
}

/// Stops whatever executions a run has: of its attempt not even a name is known. Reads the names of all that run.
/// `has_others`: also of machines that Metaflow compiled and named.
pub(super) async fn end_of_run(aws: &Aws, run: RunId, has_others: bool) -> Result<bool, NotYet> {
    let prefix = format!("{}{run}-", names::prefix(&aws.config.installation));
    let ours = names::prefix(&aws.config.installation);
    let api = Api::DescribeStateMachine;
    let (mut token, mut machines) = (None, Vec::new());
    loop {
        let list = aws.sfn.list_state_machines().set_next_token(token).send();
        let page = aws.guard.call(api, list).await.map_err(later(api))?;
        let all = page
            .state_machines()
            .iter()
            .filter(|it| has_others || it.name().starts_with(&ours));
        machines.extend(all.map(|it| it.state_machine_arn().to_owned()));
        token = page.next_token().map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    let mut is_dead = true;
    for machine in machines {
        let mut token = None;
        loop {
            let list = aws.sfn.list_executions().state_machine_arn(&machine);
            let list = list.status_filter(aws_sdk_sfn::types::ExecutionStatus::Running);
            let page = aws
                .guard
                .call(Api::DescribeExecution, list.set_next_token(token).send())
                .await;
            let page = page.map_err(later(Api::DescribeExecution))?;
            for it in page
                .executions()
                .iter()
                .filter(|it| it.name().starts_with(&prefix))
            {
                is_dead &= end(aws, it.execution_arn()).await?;
            }
            token = page.next_token().map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
    }
    Ok(is_dead)
}

pub(in super::super) fn time(at: Option<&aws_sdk_sfn::primitives::DateTime>) -> Option<Timestamp> {
    let micros = at?.as_nanos() / 1_000;
    i64::try_from(micros).ok().map(Timestamp)
}
