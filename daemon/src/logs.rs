//! Logs of the daemon itself, and where those of attempts lie.

use crate::cli::{LogFormat, UpArgs};
use dalsegno_executor::Layout;
use dalsegno_scheduler::AttemptId;
use dalsegno_web::{LogFiles, Stream};
use std::io::IsTerminal;
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;

/// Sends logs to standard error, so that standard output stays for what a person asked for.
pub(crate) fn start(args: &UpArgs) {
    let level = args.log_level.as_deref().unwrap_or("info");
    let filter = EnvFilter::try_new(level).unwrap_or_else(|error| {
        eprintln!("the log level `{level}` is not usable ({error}); info is used");
        EnvFilter::new("info")
    });
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(std::io::stderr);
    match args.log_format.unwrap_or(LogFormat::Text) {
        LogFormat::Text => logs.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => logs.json().init(),
    }
}

/// The executor's layout, as the pages need it.
pub(crate) struct AttemptLogs(pub(crate) Layout);

impl LogFiles for AttemptLogs {
    fn path(&self, attempt: &AttemptId, stream: Stream) -> PathBuf {
        let stream = match stream {
            Stream::Stdout => dalsegno_executor::Stream::Out,
            Stream::Stderr => dalsegno_executor::Stream::Err,
        };
        self.0.log_path(attempt, stream)
    }
}
