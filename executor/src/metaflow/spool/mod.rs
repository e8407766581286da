//! What tasks have to tell Metaflow's metadata service and could not: it waits on disk, in order for each run, and is sent
//! when the service is back.
//!
//! Tasks write (`spool.py` of our Python), without help of the daemon, which may be away longer than they can wait; the
//! [`Drain`] of the daemon sends. The decision record on the metadata spool says why.

mod drain;
mod file;
mod send;

#[cfg(test)]
mod tests;

pub use drain::{Drain, Waiting};
pub use send::{Answer, Asked, MetadataService, Method, NotNow};

use super::variables;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How much may wait, and when it begins to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolLimits {
    /// Of all runs together; 0: nothing waits, tasks fail as under Metaflow alone.
    pub bytes: u64,
    /// Of one run.
    pub entries: u64,
    /// A service that does not answer a task for so long is down.
    pub answer_seconds: u32,
}

impl Default for SpoolLimits {
    fn default() -> Self {
        Self {
            bytes: 256 << 20,
            entries: 100_000,
            answer_seconds: 10,
        }
    }
}

/// Where updates wait, and for whom.
#[derive(Clone, Debug)]
pub struct MetadataSpool {
    folder: PathBuf,
    url: String,
    headers: BTreeMap<String, String>,
    limits: SpoolLimits,
}

impl MetadataSpool {
    /// The service as Metaflow itself finds it: `METAFLOW_SERVICE_URL` of the environment, else of Metaflow's configuration
    /// file. `None`: there is none, or nothing is to wait.
    pub fn configured(data: &Path, limits: SpoolLimits) -> Option<Self> {
        Self::of(&variables::configured(), data, limits)
    }

    fn of(variables: &BTreeMap<String, String>, data: &Path, limits: SpoolLimits) -> Option<Self> {
        let url = variables.get("METAFLOW_SERVICE_URL")?.trim_end_matches('/');
        if url.is_empty() || limits.bytes == 0 {
            return None;
        }
        let headers = variables.get("METAFLOW_SERVICE_HEADERS");
        let headers = headers.and_then(|it| serde_json::from_str(it).ok());
        let mut headers: BTreeMap<String, String> = headers.unwrap_or_default();
        if let Some(key) = variables.get("METAFLOW_SERVICE_AUTH_KEY") {
            headers.insert("x-api-key".into(), key.clone());
        }
        Some(Self {
            folder: data.join("metaflow/spool"),
            url: url.to_owned(),
            headers,
            limits,
        })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Without `/` at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What the service wants with each request. A key may be among them.
    pub const fn headers(&self) -> &BTreeMap<String, String> {
        &self.headers
    }

    /// How tasks are told of it: `DALSEGNO_METADATA_SPOOL`.
    pub(super) fn variable(&self) -> String {
        let told: Value = json!({
            "folder": self.folder, "url": self.url, "bytes": self.limits.bytes,
            "entries": self.limits.entries, "seconds": self.limits.answer_seconds,
        });
        told.to_string()
    }
}
