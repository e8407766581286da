//! The keeper's process: who speaks to it, when it acts, when it goes.

use super::frame::{decode, encode};
use super::journal::Journal;
use super::procfs;
use super::protocol::{Event, Key, PROTOCOL, Request};
use super::recover;
use super::reserve::Reserved;
use super::state::{Inherited, State};
use super::warm::Pool;
use crate::private;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// A keeper with nothing to keep and nobody to talk to leaves after this.
const IDLE_FOR: Duration = Duration::from_secs(60);

/// Frames that were read and wait to be handled; a daemon that sends faster waits.
const FRAMES_MAX: usize = 16;

/// Why a keeper cannot work.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    #[error("cannot use the keeper's directory {}: {source}", dir.display())]
    Directory {
        dir: PathBuf,
        source: std::io::Error,
    },
    #[error("another keeper works in {}", dir.display())]
    AlreadyRuns { dir: PathBuf },
    #[error("the system refuses what a keeper needs: {0}")]
    System(#[from] std::io::Error),
}

/// Keeps attempts until there are none, in a session of its own. Prints `ready` when it can be connected to.
///
/// Meant to be the only thing its process does: it closes all that is open but standard input and outputs, and becomes the parent of whatever its children leave behind.
///
/// # Errors
/// When the directory cannot be used, or another keeper uses it.
pub fn run(dir: &Path) -> Result<(), KeeperError> {
    private::close_inherited();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(dir))
}

async fn serve(dir: &Path) -> Result<(), KeeperError> {
    let failed = |source| KeeperError::Directory {
        dir: dir.to_owned(),
        source,
    };
    let dir = std::fs::canonicalize(dir).map_err(failed)?;
    let name = dir
        .to_str()
        .ok_or_else(|| failed(std::io::ErrorKind::InvalidFilename.into()))?;
    // Started by a shell it leads a group already, and lives with it.
    let _ = rustix::process::setsid();
    // Any process id switches it on.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(std::io::Error::from)?;
    let reserved = Reserved::take(&dir)?;

    let boot = procfs::boot_id();
    let past = Journal::read(&dir).map_err(failed)?;
    let ends = recover::settle(past, &boot, name).await;
    let (pool, mut warm_news) = Pool::new(&dir, name);
    let state = State::new(dir.clone(), name.to_owned(), boot, ends, pool).map_err(failed)?;

    let mut child_ended = signal(SignalKind::child())?;
    let listener = reserved.listen().map_err(failed)?;
    println!("ready");

    let (frames_in, mut frames) = mpsc::channel(FRAMES_MAX);
    let mut keeper = Keeper {
        state,
        clients: BTreeMap::new(),
        connected: 0,
        frames: frames_in,
        leaving: Leaving::WhenLongIdle,
        idle_since: Instant::now(),
    };
    loop {
        let due = keeper.due();
        tokio::select! {
            biased;
            _ = child_ended.recv() => keeper.state.reap(),
            Some(news) = warm_news.recv() => keeper.state.hear(news),
            Some((client, requests)) = frames.recv() => keeper.handle(client, requests),
            Ok((stream, _)) = listener.accept() => keeper.connect(stream),
            // Between two starts everybody else has a turn.
            () = tokio::task::yield_now(), if keeper.state.has_queue() => {
                keeper.state.start_next();
                keeper.state.reap();
            }
            () = sleep_until(due) => keeper.state.reap(),
        }
        keeper.state.advance();
        keeper.tell();
        if keeper.is_done() {
            keeper.finish_writing().await;
            return Ok(());
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

type ClientId = u64;

struct Client {
    /// `None` until it has said hello.
    inherited: Option<Inherited>,
    /// Bounded by what a keeper can have to say: a few events per attempt.
    outgoing: mpsc::UnboundedSender<Arc<[u8]>>,
    writer: tokio::task::JoinHandle<()>,
}

#[derive(Clone, Copy)]
enum Leaving {
    Now,
    WhenIdle,
    WhenLongIdle,
}

struct Keeper {
    state: State,
    clients: BTreeMap<ClientId, Client>,
    connected: ClientId,
    frames: mpsc::Sender<(ClientId, Option<Vec<Request>>)>,
    leaving: Leaving,
    idle_since: Instant,
}

impl Keeper {
    fn connect(&mut self, stream: UnixStream) {
        let (reader, writer) = stream.into_split();
        let (outgoing, queue) = mpsc::unbounded_channel();
        self.connected += 1;
        let id = self.connected;
        let client = Client {
            inherited: None,
            outgoing,
            writer: tokio::spawn(write(writer, queue)),
        };
        self.clients.insert(id, client);
        tokio::spawn(read(id, reader, self.frames.clone()));
    }

    /// `None`: the client is gone.
    fn handle(&mut self, id: ClientId, requests: Option<Vec<Request>>) {
        let Some(requests) = requests else {
            self.clients.remove(&id);
            self.idle_since = Instant::now();
            return;
        };
        for request in requests {
            self.request(id, request);
        }
    }

    fn request(&mut self, id: ClientId, request: Request) {
        let inherited = self.clients.get(&id).and_then(|it| it.inherited.clone());
        match (request, inherited) {
            (Request::Hello { env, .. }, _) => {
                let welcome = Event::Welcome {
                    protocol: PROTOCOL,
                    pid: rustix::process::getpid().as_raw_nonzero().get(),
                    attempts: self.state.known(),
                };
                self.leaving = Leaving::WhenLongIdle;
                if let Some(client) = self.clients.get_mut(&id) {
                    client.inherited = Some(Arc::new(env));
                    client.send(&[welcome]);
                }
            }
            (Request::Submit(order), Some(inherited)) => self.state.submit(order, inherited),
            (Request::Watch { attempt }, _) => self.state.watch(attempt),
            (Request::Stop { attempt, grace_ms }, _) => {
                self.state.stop(attempt, Duration::from_millis(grace_ms));
            }
            (Request::Forget { attempts }, _) => self.forget(attempts),
            (Request::Exit, _) => {
                let running = self.state.running();
                self.leaving = if running == 0 {
                    Leaving::Now
                } else {
                    Leaving::WhenIdle
                };
                if running > 0
                    && let Some(client) = self.clients.get(&id)
                {
                    client.send(&[Event::Busy { running }]);
                }
            }
            // Nobody of ours submits before hello.
            (Request::Submit(_), None) => {
                self.clients.remove(&id);
            }
        }
    }

    fn forget(&mut self, attempts: Vec<Key>) {
        self.state.forget(attempts);
        self.idle_since = Instant::now();
    }

    fn tell(&mut self) {
        if self.state.events.is_empty() {
            return;
        }
        let events = std::mem::take(&mut self.state.events);
        self.idle_since = Instant::now();
        for client in self.clients.values().filter(|it| it.inherited.is_some()) {
            client.send(&events);
        }
    }

    fn due(&self) -> Option<Instant> {
        let idle = self.is_idle().then(|| self.idle_since + IDLE_FOR);
        self.state.due().into_iter().chain(idle).min()
    }

    fn is_idle(&self) -> bool {
        self.clients.is_empty() && self.state.running() == 0
    }

    fn is_done(&self) -> bool {
        match self.leaving {
            Leaving::Now => true,
            Leaving::WhenIdle => self.is_idle(),
            Leaving::WhenLongIdle => self.is_idle() && self.idle_since.elapsed() >= IDLE_FOR,
        }
    }

    /// Lets the last words out.
    async fn finish_writing(self) {
        let writers: Vec<_> = self.clients.into_values().map(|it| it.writer).collect();
        for writer in writers {
            let _ = tokio::time::timeout(Duration::from_secs(1), writer).await;
        }
    }
}

impl Client {
    fn send(&self, events: &[Event]) {
        let mut bytes = Vec::with_capacity(128);
        let mut rest = events;
        while !rest.is_empty() {
            rest = &rest[encode(rest, &mut bytes)..];
        }
        let _ = self.outgoing.send(bytes.into());
    }
}

async fn read(
    id: ClientId,
    mut stream: OwnedReadHalf,
    frames: mpsc::Sender<(ClientId, Option<Vec<Request>>)>,
) {
    let mut buffer = Vec::new();
    loop {
        let requests = match decode(&mut stream, &mut buffer).await {
            Ok(requests) => requests,
            Err(error) => {
                eprintln!("keeper: drops a connection: {error}");
                None
            }
        };
        let ended = requests.is_none();
        if frames.send((id, requests)).await.is_err() || ended {
            return;
        }
    }
}

async fn write(mut stream: OwnedWriteHalf, mut queue: mpsc::UnboundedReceiver<Arc<[u8]>>) {
    while let Some(bytes) = queue.recv().await {
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
