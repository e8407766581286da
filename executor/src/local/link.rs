//! The connection to the keeper: found or started, and made again when it breaks.

use super::config::{LocalConfig, StartError};
use super::layout::Layout;
use super::order;
use crate::keeper::protocol::{Event, Key, PROTOCOL, Request};
use crate::keeper::{FRAME_GOAL_BYTES, decode, encode, open_dir, socket_path};
use crate::private;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tracing::{info, warn};

/// How long a keeper may take to begin. It kills what an earlier keeper left before it says `ready`.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How often one keeper goes just when we come.
const TRIES_MAX: usize = 5;

/// The writing end of a connection.
pub(crate) struct Sender {
    stream: OwnedWriteHalf,
    buffer: Vec<u8>,
}

/// The reading end.
pub(crate) struct Receiver {
    stream: OwnedReadHalf,
    buffer: Vec<u8>,
}

/// A connection on which hello was said and heard.
pub(crate) struct Link {
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    pub(crate) keeper_pid: i32,
    /// What the keeper runs or remembers.
    pub(crate) known: Vec<Key>,
}

/// Connects to the keeper of the data directory; starts one if there is none.
pub(crate) async fn connect(config: &LocalConfig, layout: &Layout) -> Result<Link, StartError> {
    let dir = layout.keeper_dir();
    let failed = |source| StartError::Directory {
        dir: dir.clone(),
        source,
    };
    for folder in layout.folders() {
        private::make_dir(&folder).map_err(|source| StartError::Directory {
            dir: folder,
            source,
        })?;
    }
    for _ in 0..TRIES_MAX {
        let open = open_dir(&dir).map_err(failed)?;
        let Ok(stream) = UnixStream::connect(socket_path(&open)).await else {
            start(config, layout).await?;
            continue;
        };
        match tokio::time::timeout(READY_WITHIN, greet(stream)).await {
            Ok(Ok(Greeting::Welcome(link))) => return Ok(*link),
            Ok(Ok(Greeting::OtherVersion { running })) => {
                return Err(StartError::OtherVersion { running });
            }
            // It went while we came.
            Ok(Ok(Greeting::Gone) | Err(_)) => {}
            Err(_) => break,
        }
    }
    Err(StartError::Keeper {
        message: "it does not answer".into(),
        log: layout.keeper_log_path(),
    })
}

enum Greeting {
    Welcome(Box<Link>),
    OtherVersion { running: usize },
    Gone,
}

async fn greet(stream: UnixStream) -> io::Result<Greeting> {
    let (reader, writer) = stream.into_split();
    let mut sender = Sender {
        stream: writer,
        buffer: Vec::new(),
    };
    let mut receiver = Receiver {
        stream: reader,
        buffer: Vec::new(),
    };
    let hello = Request::Hello {
        protocol: PROTOCOL,
        env: order::inherited(),
    };
    sender.send(&[hello]).await?;
    while let Some(events) = receiver.receive().await? {
        for event in events {
            match event {
                Event::Welcome {
                    protocol: PROTOCOL,
                    pid,
                    attempts,
                } => {
                    return Ok(Greeting::Welcome(Box::new(Link {
                        sender,
                        receiver,
                        keeper_pid: pid,
                        known: attempts,
                    })));
                }
                Event::Welcome { protocol, .. } => {
                    info!(
                        "the keeper speaks version {protocol}, not {PROTOCOL}: it is asked to go"
                    );
                    sender.send(&[Request::Exit]).await?;
                }
                Event::Busy { running } => return Ok(Greeting::OtherVersion { running }),
                _ => {}
            }
        }
    }
    Ok(Greeting::Gone)
}

/// Starts a keeper and waits until it can be connected to.
async fn start(config: &LocalConfig, layout: &Layout) -> Result<(), StartError> {
    let spawn_failed = |source| StartError::Spawn {
        program: config.program.clone(),
        source,
    };
    let log_path = layout.keeper_log_path();
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(&log_path);
    let log = log.map_err(|source| StartError::Directory {
        dir: layout.keeper_dir(),
        source,
    })?;
    let program = match config.program.parent() {
        Some(parent) if parent != Path::new("") => std::path::absolute(&config.program),
        _ => Ok(config.program.clone()),
    };
    let mut command = tokio::process::Command::new(program.map_err(spawn_failed)?);
    command
        .args(&config.args)
        .arg("--dir")
        .arg(layout.keeper_dir())
        .env_clear()
        .envs(order::inherited())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    let mut child = command.spawn().map_err(spawn_failed)?;
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let line = tokio::time::timeout(READY_WITHIN, lines.next_line()).await;
    match line {
        Ok(Ok(Some(line))) if line == "ready" => {
            // While we are its parent it must be waited for.
            tokio::spawn(async move { child.wait().await });
            Ok(())
        }
        Ok(_) => {
            let status = child
                .wait()
                .await
                .map(|it| it.to_string())
                .unwrap_or_default();
            let log = std::fs::read_to_string(&log_path).unwrap_or_default();
            let last = log.lines().last().unwrap_or("it said nothing");
            Err(StartError::Keeper {
                message: format!("{status}: {last}"),
                log: log_path,
            })
        }
        Err(_) => {
            let _ = child.kill().await;
            Err(StartError::Keeper {
                message: format!("it was not ready within {} s", READY_WITHIN.as_secs()),
                log: log_path,
            })
        }
    }
}

impl Sender {
    /// Sends all requests, in as few frames as sensible.
    pub(crate) async fn send(&mut self, requests: &[Request]) -> io::Result<()> {
        self.buffer.clear();
        let mut rest = requests;
        while !rest.is_empty() {
            rest = &rest[encode(rest, &mut self.buffer)..];
            if self.buffer.len() >= FRAME_GOAL_BYTES || rest.is_empty() {
                self.stream.write_all(&self.buffer).await?;
                self.buffer.clear();
            }
        }
        if self.buffer.capacity() > FRAME_GOAL_BYTES {
            self.buffer = Vec::new();
        }
        Ok(())
    }
}

impl Receiver {
    /// `None`: the keeper is gone.
    pub(crate) async fn receive(&mut self) -> io::Result<Option<Vec<Event>>> {
        decode(&mut self.stream, &mut self.buffer).await
    }
}

/// Connects again, for as long as it takes.
pub(crate) async fn reconnect(config: &LocalConfig, layout: &Layout) -> Link {
    /// A keeper that cannot be started is usually a full disk or a replaced binary: it may be cured.
    const TRY_EVERY: Duration = Duration::from_secs(1);
    loop {
        match connect(config, layout).await {
            Ok(link) => return link,
            Err(error) => warn!("no local task can run: {error}"),
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
}
