//! Reading the log files of attempts: the end of one, or all of it while it grows.

use crate::read;
use crate::remote::Following;
use crate::state::{App, Stream};
use axum::body::Bytes;
use dalsegno_engine::{Code, Problem};
use dalsegno_scheduler::AttemptId;
use dalsegno_scheduler::row::TaskRow;
use futures_util::stream;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};

/// How much is read at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// How often a growing file is looked at: quick enough to look live, and a file's length is cheap to ask.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The end of a log.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    pub(crate) text: String,
    /// Where the file ended when it was read.
    pub(crate) end: u64,
    /// The beginning was left out.
    pub(crate) cut: bool,
}

/// How long a page waits for a log that is elsewhere.
const FETCH: Duration = Duration::from_secs(5);

/// Brings the file of an attempt that runs elsewhere up to what was printed there. `None`: its log is here.
///
/// # Errors
/// Why it could not be read; what was read before is in the file.
pub(crate) async fn fetch(
    app: &App,
    task: &TaskRow,
    number: u32,
    follow: bool,
) -> Result<Option<Following>, Problem> {
    let Some(remote) = &app.web.remote else {
        return Ok(None);
    };
    let log = match &task.log {
        Some(log) if number == task.attempt => Some(log.clone()),
        _ => {
            let ended = read::attempts(app.engine(), task).await;
            let ended = ended.map_err(|it| it.0)?;
            ended
                .into_iter()
                .find(|it| it.id.number == number)
                .and_then(|it| it.log)
        }
    };
    let Some(log) = log else { return Ok(None) };
    let attempt = AttemptId {
        run: task.run,
        task: task.task.clone(),
        number,
    };
    let fetched = remote.fetch_log(attempt, log.to_string(), follow);
    match tokio::time::timeout(FETCH, fetched).await {
        Ok(following) => following.map(Some),
        Err(_) => {
            let detail = format!("log {log} did not come within {} s", FETCH.as_secs());
            Err(Problem::new(Code::AwsFailed, detail))
        }
    }
}

/// The last `most` bytes, from the start of a line. `None` when there is no such file.
pub(crate) async fn tail(path: &Path, most: u64) -> io::Result<Option<Tail>> {
    let Some(mut file) = open(path).await? else {
        return Ok(None);
    };
    let end = file.metadata().await?.len();
    let start = end.saturating_sub(most);
    file.seek(SeekFrom::Start(start)).await?;
    let mut bytes = Vec::new();
    file.take(end - start).read_to_end(&mut bytes).await?;
    let line = bytes
        .iter()
        .position(|it| *it == b'\n')
        .map_or(0, |it| it + 1);
    let text = &bytes[if start > 0 { line } else { 0 }..];
    Ok(Some(Tail {
        text: String::from_utf8_lossy(text).into_owned(),
        end,
        cut: start > 0,
    }))
}

/// The file from `offset` on, to its end; while `alive` says so, also what is written later.
pub(crate) fn read<A>(
    path: PathBuf,
    offset: u64,
    alive: A,
) -> impl futures_util::Stream<Item = io::Result<Bytes>>
where
    A: Fn() -> bool + Send,
{
    stream::try_unfold(
        (path, None, offset, alive),
        |(path, file, at, alive)| async move {
            let mut file = file;
            let mut at = at;
            loop {
                // Asked before reading, so that what a task wrote last is read after its end is known.
                let more_may_come = alive();
                if file.is_none() {
                    file = open(&path).await?;
                    if let Some(file) = &mut file {
                        file.seek(SeekFrom::Start(at)).await?;
                    }
                }
                if let Some(open) = &mut file {
                    let mut chunk = vec![0; CHUNK_BYTES];
                    let length = open.read(&mut chunk).await?;
                    if length > 0 {
                        chunk.truncate(length);
                        at += length as u64;
                        return Ok(Some((Bytes::from(chunk), (path, file, at, alive))));
                    }
                }
                if !more_may_come {
                    return Ok(None);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        },
    )
}

async fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path).await {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a stream's name.
impl std::str::FromStr for Stream {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|it| it.as_str() == text)
            .ok_or(())
    }
}
