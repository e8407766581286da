//! `@batch` steps of Metaflow flows: the container of their jobs.
//!
//! A container fetches a package of code with boto3, which brings what runs there around Metaflow's own commands
//! (`python/runtime/job.py`), and leaves one answer in S3. The image needs Python; Metaflow and boto3 are installed
//! where it has none, as Metaflow's own jobs do.

use dalsegno_executor::metaflow::MetaflowJobs;
pub use dalsegno_executor::metaflow::outcome;
use dalsegno_scheduler::Submission;
use std::collections::BTreeMap;

/// Finds a Python and runs the bootstrap with it.
const SHELL: &str = "for p in python python3; do command -v $p >/dev/null 2>&1 && exec $p -u -c \"$1\"; done; \
                     echo \"dalsegno: the image has no python\" >&2; exit 212";

const BOOTSTRAP: &str = include_str!("bootstrap.py");

/// A larger order goes through S3: all that a submission overrides may have 8 KiB.
const ORDER_BYTES_MAX: usize = 5 << 10;

/// Where the objects of an attempt lie in S3.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    pub bucket: &'a str,
    /// The key of a package, by the SHA-256 of its content: `{prefix}/{inst}/code/{sha256}.tgz`.
    pub code: &'a dyn Fn(&str) -> String,
    /// Belongs to the attempt alone: the order, where it is too large for the environment.
    pub order: &'a str,
    /// Belongs to the attempt alone: what the job leaves, for [`outcome`].
    pub answer: &'a str,
    /// Belongs to the run: exists when tasks of an earlier run were cloned into it.
    pub cloned: &'a str,
}

/// What the job of a Metaflow step runs.
#[derive(Debug)]
pub struct MetaflowContainer {
    /// The same for all of them.
    pub command: Vec<String>,
    pub environment: BTreeMap<String, String>,
    /// Key and content of what must lie in S3 before the job is submitted. The first is the package of code: the same
    /// content has the same key, so it is enough to put it once.
    pub objects: Vec<(String, Vec<u8>)>,
}

/// The container of one attempt. Nothing is put anywhere.
///
/// # Errors
/// Why the step cannot run as a job, and the cure: the attempt fails as `Configuration`.
pub fn container(
    jobs: &MetaflowJobs,
    submission: &Submission,
    keys: Keys<'_>,
) -> Result<MetaflowContainer, String> {
    let job = jobs.job(submission)?;
    let url = |key: &str| format!("s3://{}/{key}", keys.bucket);
    let code = (keys.code)(&job.package.sha256);
    let mut environment = job.env;
    environment.extend([
        ("DALSEGNO_CODE".to_owned(), url(&code)),
        (
            "DALSEGNO_CODE_SHA256".to_owned(),
            job.package.sha256.clone(),
        ),
        ("DALSEGNO_ANSWER".to_owned(), url(keys.answer)),
        ("DALSEGNO_CLONED".to_owned(), url(keys.cloned)),
    ]);
    let mut objects = vec![(code, job.package.content.clone())];
    if job.order.len() <= ORDER_BYTES_MAX {
        environment.insert("DALSEGNO_ORDER".into(), job.order);
    } else {
        environment.insert("DALSEGNO_ORDER_AT".into(), url(keys.order));
        objects.push((keys.order.to_owned(), job.order.into_bytes()));
    }
    let command = ["/bin/sh", "-c", SHELL, "dalsegno", BOOTSTRAP];
    Ok(MetaflowContainer {
        command: command.map(str::to_owned).to_vec(),
        environment,
        objects,
    })
}
