//! What lies in S3, and under which keys.

use crate::config::{AwsConfig, S3Place};
use crate::cx::Aws;
use crate::guard::{Api, CallError};
use crate::names;
use aws_sdk_s3::primitives::ByteStream;
use dalsegno_scheduler::{AttemptId, RunId, TaskId, Timestamp};

/// The largest object that is read: outputs are for deciding what happens next.
pub const READ_BYTES_MAX: usize = 1 << 20;

/// The bucket and the beginning of all keys of this installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    bucket: String,
    /// With `/` at its end.
    prefix: String,
}

impl Storage {
    /// `None`: the configuration names no place.
    pub fn new(config: &AwsConfig) -> Option<Self> {
        let S3Place { bucket, prefix } = config.s3.clone()?;
        let prefix = match prefix.trim_matches('/') {
            "" => format!("{}/", config.installation),
            prefix => format!("{prefix}/{}/", config.installation),
        };
        Some(Self { bucket, prefix })
    }

    /// A package of code, named after its content.
    pub fn code(&self, sha256: &str) -> String {
        format!("{}code/{sha256}.tgz", self.prefix)
    }

    /// Where an attempt's `$DALSEGNO_OUTPUT` is brought.
    pub fn output(&self, attempt: &AttemptId, created: Timestamp) -> String {
        self.of_attempt(attempt, created, "output")
    }

    /// An attempt's environment, where it is too large for the request.
    pub fn environment(&self, attempt: &AttemptId, created: Timestamp) -> String {
        self.of_attempt(attempt, created, "environment")
    }

    /// `$DALSEGNO_CHECKPOINT_URI` ends here: with `/`, the same for all attempts of a task, also after a resume.
    pub fn checkpoint(&self, run: RunId, task: &TaskId, created: Timestamp) -> String {
        format!("{}checkpoint/", self.of_task(run, task, created))
    }

    /// What the items of an array job are.
    pub fn array(&self, run: RunId, created: Timestamp, name: &str) -> String {
        format!("{}arrays/{name}", self.of_run(run, created))
    }

    /// With `/` at its end: `runs/{run}-{created}/`.
    pub fn of_run(&self, run: RunId, created: Timestamp) -> String {
        format!("{}runs/{run}-{}/", self.prefix, names::base36(created))
    }

    /// With `/` at its end.
    pub fn of_task(&self, run: RunId, task: &TaskId, created: Timestamp) -> String {
        format!("{}{}/", self.of_run(run, created), names::task_hash(task))
    }

    pub fn of_attempt(&self, attempt: &AttemptId, created: Timestamp, what: &str) -> String {
        let task = self.of_task(attempt.run, &attempt.task, created);
        format!("{task}{}/{what}", attempt.number)
    }

    pub fn uri(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }

    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Writes an object. Doing it twice is harmless.
    ///
    /// # Errors
    /// Why it is unknown whether it is there.
    pub async fn put(&self, aws: &Aws, key: &str, body: Vec<u8>) -> Result<(), CallError> {
        let put = aws.s3.put_object().bucket(&self.bucket).key(key);
        let put = put.body(ByteStream::from(body)).send();
        aws.guard.call(Api::S3Put, put).await.map(|_| ())
    }

    /// Reads an object: its first [`READ_BYTES_MAX`] bytes and one more. `None`: there is none.
    ///
    /// # Errors
    /// Why it is unknown what it is.
    pub async fn get(&self, aws: &Aws, key: &str) -> Result<Option<Vec<u8>>, CallError> {
        self.read(aws, key, Some(READ_BYTES_MAX)).await
    }

    /// Reads an object of our own making.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_all(&self, aws: &Aws, key: &str) -> Result<Option<Vec<u8>>, CallError> {
        self.read(aws, key, None).await
    }

    async fn read(
        &self,
        aws: &Aws,
        key: &str,
        most: Option<usize>,
    ) -> Result<Option<Vec<u8>>, CallError> {
        let get = aws.s3.get_object().bucket(&self.bucket).key(key);
        let get = get.set_range(most.map(|it| format!("bytes=0-{it}")));
        let found = match aws.guard.call(Api::S3Get, get.send()).await {
            Ok(found) => found,
            Err(CallError::Invalid { code, .. }) if code == "NoSuchKey" => return Ok(None),
            // There is no first byte: it is empty.
            Err(CallError::Invalid { code, .. }) if code == "InvalidRange" => {
                return Ok(Some(Vec::new()));
            }
            Err(error) => return Err(error),
        };
        let body = found.body.collect().await;
        let body = body.map_err(|error| CallError::Unreachable {
            message: format!(
                "s3://{}/{key} could not be read to its end: {error}",
                self.bucket
            ),
        })?;
        Ok(Some(body.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_task_stay_the_same_over_its_attempts() {
        let storage = |prefix: &str| {
            Storage::new(&AwsConfig {
                installation: "abcd1234".into(),
                s3: Some(S3Place {
                    bucket: "jobs".into(),
                    prefix: prefix.into(),
                }),
                ..AwsConfig::default()
            })
            .expect("a place")
        };
        let attempt: AttemptId = "12/train[3]/2".parse().expect("an attempt");
        let created = Timestamp(1_795_000_000_000_000);
        let here = storage("team/a");
        let output = here.output(&attempt, created);
        assert_eq!(
            here.uri(&output),
            "s3://jobs/team/a/abcd1234/runs/12-ho9vm6h1j4/6ab140e0e61fb2dd/2/output"
        );
        assert_eq!(
            storage("").checkpoint(attempt.run, &attempt.task, created),
            "abcd1234/runs/12-ho9vm6h1j4/6ab140e0e61fb2dd/checkpoint/"
        );
        assert_eq!(storage("").code("00ff"), "abcd1234/code/00ff.tgz");
    }
}
