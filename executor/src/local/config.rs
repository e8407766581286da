//! How a local executor is set up.

use crate::metaflow::MetaflowConfig;
use std::ffi::OsString;
use std::path::PathBuf;

/// What a [`LocalExecutor`](crate::LocalExecutor) needs to know.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// Where logs, outputs, checkpoints and the keeper's files lie. Created if missing.
    pub data_dir: PathBuf,
    /// The program that becomes the keeper: it is given `args`, `--dir` and the keeper's directory, and must call
    /// [`keeper::run`](crate::keeper::run). Usually the daemon's own binary.
    pub program: PathBuf,
    /// Usually `["keeper"]`.
    pub args: Vec<OsString>,
    /// `$DALSEGNO_API_URL` of tasks.
    pub api_url: Option<String>,
    /// For flows of Metaflow.
    pub metaflow: MetaflowConfig,
}

/// Why local tasks cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot use the data directory {}: {source}", dir.display())]
    Directory {
        dir: PathBuf,
        source: std::io::Error,
    },
    #[error("the path of the data directory {} is not UTF-8; use another one", .0.display())]
    NotUtf8(PathBuf),
    #[error("cannot start the keeper {}: {source}", program.display())]
    Spawn {
        program: PathBuf,
        source: std::io::Error,
    },
    #[error("the keeper did not start: {message}; its log is {}", log.display())]
    Keeper { message: String, log: PathBuf },
    #[error(
        "a keeper of another version still runs {running} attempts; start the version that started it, or wait \
         until they end"
    )]
    OtherVersion { running: usize },
}
