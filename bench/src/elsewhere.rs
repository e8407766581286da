//! An engine in this process whose tasks are jobs of AWS Batch, at an emulator.

use crate::emulator::{Emulator, REGION};
use crate::inside::Inside;
use anyhow::Result;
use dalsegno_executor_aws::{Aws, AwsConfig, Batch, S3Place, status};
use dalsegno_scheduler::spec::{FlowSpec, Remote};
use dalsegno_scheduler::{Config, ExecutorKind};
use dalsegno_store::Store;
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What a figure sets.
pub(crate) struct Wish<'a> {
    /// Eight letters and digits: what all names of its jobs have in them.
    pub(crate) installation: &'a str,
    pub(crate) queue: &'a str,
    pub(crate) submissions_per_minute: u32,
    pub(crate) max_remote_tasks: u32,
    /// Without S3 each task is a job of its own.
    pub(crate) has_storage: bool,
}

pub(crate) struct Elsewhere {
    pub(crate) engine: Inside,
    stop: CancellationToken,
}

/// What the names of all jobs of this installation begin with.
pub(crate) fn prefix(installation: &str) -> String {
    format!("ds-{installation}-")
}

impl Elsewhere {
    pub(crate) async fn start(
        emulator: &Emulator,
        store: Arc<dyn Store>,
        folder: &Path,
        wish: Wish<'_>,
    ) -> Result<Self> {
        let Wish {
            installation,
            queue,
            ..
        } = wish;
        emulator.job_queue(queue)?;
        let status_queue = emulator.status_queue(installation, &prefix(installation))?;
        let bucket = format!("{installation}-jobs");
        emulator.bucket(&bucket)?;
        let s3 = S3Place {
            bucket,
            prefix: String::new(),
        };
        let config = AwsConfig {
            installation: installation.to_owned(),
            instance: "bench".to_owned(),
            region: Some(REGION.to_owned()),
            endpoint: Some(emulator.url().to_owned()),
            s3: wish.has_storage.then_some(s3),
            queues: vec![queue.to_owned()],
            image: Some("busybox".to_owned()),
            status_queue: Some(status_queue),
            submissions_per_minute: wish.submissions_per_minute,
            metadata_calls: 50,
            artifact_calls: 100,
            log_group: "/aws/batch/job".to_owned(),
            data_dir: folder.to_owned(),
            ..AwsConfig::default()
        };
        let aws = Aws::connect(config, store.clone()).await;
        let core = Config {
            max_remote_tasks: wish.max_remote_tasks,
            ..Config::default()
        };
        let stop = CancellationToken::new();
        let engine = Inside::start_with(store, core, |reporter| {
            let batch = Batch::start(aws.clone(), reporter, None, &stop);
            status::start(aws, Some(batch.clone()), None, stop.clone());
            batch
        })
        .await?;
        Ok(Self { engine, stop })
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        self.engine.stop().await
    }
}

/// The same flow with all its steps on Batch; `queue`: not the usual one.
pub(crate) fn on_batch(mut flow: FlowSpec, queue: Option<&str>) -> FlowSpec {
    for step in &mut flow.steps {
        step.remote = Some(Box::new(Remote {
            executor: ExecutorKind::Batch,
            queue: queue.map(str::to_owned),
            ..Remote::default()
        }));
    }
    flow
}
