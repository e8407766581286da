//! What jobs print, from CloudWatch Logs: brought into the file in which the log of a local attempt would be, so that
//! whoever shows one shows the other.

use crate::cx::Aws;
use crate::guard::{Api, CallError};
use dalsegno_executor::{Layout, Stream};
use dalsegno_scheduler::AttemptId;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tracing::warn;

/// So many pages of 1 MiB at most are brought at a time; the next time goes on from there.
const PAGES_MAX: usize = 64;

/// How often a job that runs is asked for more.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);

/// Of a stream, from some place on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPage {
    pub lines: Vec<String>,
    /// Where the next page begins. The same as before at the end of what there is.
    pub next: Option<String>,
}

/// Logs of jobs.
pub struct Logs {
    aws: Aws,
    layout: Layout,
    /// One at a time for each attempt.
    busy: Mutex<BTreeMap<AttemptId, Weak<tokio::sync::Mutex<()>>>>,
}

impl Logs {
    pub fn new(aws: Aws) -> Arc<Self> {
        Arc::new(Self {
            layout: Layout::new(aws.config.data_dir.clone()),
            aws,
            busy: Mutex::default(),
        })
    }

    /// One page of a stream, from its beginning or from where another page ended.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn read(&self, stream: &str, from: Option<&str>) -> Result<LogPage, CallError> {
        let group = match self.aws.config.log_group.as_str() {
            "" => "/aws/batch/job",
            group => group,
        };
        let get = self.aws.logs.get_log_events().log_group_name(group);
        let get = get.log_stream_name(stream).start_from_head(true);
        let get = get.set_next_token(from.map(str::to_owned));
        let got = match self.aws.guard.call(Api::Logs, get.send()).await {
            Ok(got) => got,
            // Nothing was printed yet, or it was printed too long ago.
            Err(CallError::Invalid { code, .. }) if code == "ResourceNotFoundException" => {
                return Ok(LogPage {
                    lines: Vec::new(),
                    next: from.map(str::to_owned),
                });
            }
            Err(error) => return Err(error),
        };
        let lines = got.events().iter();
        Ok(LogPage {
            lines: lines
                .map(|it| it.message().unwrap_or_default().to_owned())
                .collect(),
            next: got.next_forward_token().map(str::to_owned),
        })
    }

    /// Brings what is new of an attempt's log into the file where logs of attempts lie, and gives its path. What was
    /// brought before stays there when the stream is gone.
    ///
    /// # Errors
    /// Why nothing could be brought.
    pub async fn ensure(&self, attempt: &AttemptId, stream: &str) -> Result<PathBuf, CallError> {
        let busy = self.busy(attempt);
        let _alone = busy.lock().await;
        let path = self.layout.log_path(attempt, Stream::Out);
        let local = |error: io::Error| CallError::Unreachable {
            message: format!("{}: {error}", path.display()),
        };
        let mut at = Place::read(&path, stream);
        for _ in 0..PAGES_MAX {
            let page = match self.read(stream, at.token.as_deref()).await {
                // Where somebody had read to is forgotten after 24 hours.
                Err(CallError::Invalid { code, .. })
                    if code == "InvalidParameterException" && at.token.is_some() =>
                {
                    at = Place::default();
                    self.read(stream, None).await?
                }
                page => page?,
            };
            if !page.lines.is_empty() {
                at.append(&path, &page.lines).map_err(local)?;
            }
            let is_end = page.next.is_none() || page.next == at.token;
            if page.next.is_some() && !is_end {
                at.token = page.next;
                at.write(&path, stream).map_err(local)?;
            }
            if is_end {
                break;
            }
        }
        Ok(path)
    }

    /// Keeps the file up to date while `is_alive` says so, and once more after that.
    pub async fn follow(
        &self,
        attempt: AttemptId,
        stream: &str,
        is_alive: impl Fn() -> bool + Send,
    ) {
        loop {
            let more_may_come = is_alive();
            if let Err(error) = self.ensure(&attempt, stream).await {
                warn!("the log of {attempt} could not be brought: {error}");
            }
            if !more_may_come {
                return;
            }
            tokio::time::sleep(FOLLOW_EVERY).await;
        }
    }

    fn busy(&self, attempt: &AttemptId) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, it| it.strong_count() > 0);
        if let Some(busy) = all.get(attempt).and_then(Weak::upgrade) {
            return busy;
        }
        let busy = Arc::new(tokio::sync::Mutex::default());
        all.insert(attempt.clone(), Arc::downgrade(&busy));
        busy
    }
}

/// How far a file was filled, and where the stream goes on: in a file beside it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Place {
    bytes: u64,
    token: Option<String>,
}

impl Place {
    fn beside(path: &Path) -> PathBuf {
        path.with_added_extension("from")
    }

    /// From the beginning when there is nothing usable, or when it was another stream.
    fn read(path: &Path, stream: &str) -> Self {
        let text = fs::read_to_string(Self::beside(path)).unwrap_or_default();
        let mut lines = text.lines();
        let same_stream = lines.next() == Some(stream);
        let bytes = lines.next().and_then(|it| it.parse().ok());
        match (same_stream, bytes) {
            (true, Some(bytes)) if fs::metadata(path).is_ok_and(|it| it.len() >= bytes) => Self {
                bytes,
                token: lines.next().map(str::to_owned),
            },
            _ => Self::default(),
        }
    }

    /// What was appended before, but for which no place was written, is written over.
    fn append(&mut self, path: &Path, lines: &[String]) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(path)?;
        file.set_len(self.bytes)?;
        let mut text = lines.join("\n");
        text.push('\n');
        io::Seek::seek(&mut file, io::SeekFrom::Start(self.bytes))?;
        file.write_all(text.as_bytes())?;
        self.bytes += text.len() as u64;
        Ok(())
    }

    fn write(&self, path: &Path, stream: &str) -> io::Result<()> {
        let token = self.token.as_deref().unwrap_or_default();
        let beside = Self::beside(path);
        let new = beside.with_added_extension("new");
        fs::write(&new, format!("{stream}\n{}\n{token}\n", self.bytes))?;
        fs::rename(new, beside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_brought_but_not_noted_is_brought_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("7").join("a.1.out");
        let lines = |text: &str| vec![text.to_owned()];
        let mut place = Place::read(&path, "s");
        place.append(&path, &lines("one")).expect("written");
        place.token = Some("f/1".into());
        place.write(&path, "s").expect("written");
        let mut lost = Place::read(&path, "s");
        lost.append(&path, &lines("two, and the daemon dies"))
            .expect("written");
        let mut place = Place::read(&path, "s");
        assert_eq!(place.token.as_deref(), Some("f/1"));
        place.append(&path, &lines("two")).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("text"), "one\ntwo\n");
        assert_eq!(Place::read(&path, "another"), Place::default());
    }
}
