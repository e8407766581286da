//! Servers that have loaded what many orders need, and run each in a copy of themselves. See
//! `docs/adr/0011-warm-interpreters.md`.
//!
//! An order is offered to its server, which answers with the id of a process that does nothing yet. That process
//! becomes the keeper's child, is noted like any other, and only then told to go. Until then the order may be
//! offered again, or started the usual way.

use super::escaped;
use super::procfs;
use super::protocol::{Key, MARK, Order, Warm};
use super::queue::Queue;
use super::reserve::open_dir;
use super::state::Inherited;
use crate::private;
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// The folder of sockets and logs, in the keeper's.
const FOLDER: &str = "warm";

/// Orders do not wait longer for a server to start; a new interpreter needs a quarter of a second by itself.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// A server that has not started by then will not.
const START_MAX: Duration = Duration::from_secs(120);

/// A server that nobody has needed for so long ends. One takes about 50 MB.
const IDLE_MAX: Duration = Duration::from_secs(600);

/// Two ends of a server within this, and it is left alone for as long.
const TROUBLE_FOR: Duration = Duration::from_secs(60);

/// A server that does not answer within this hangs.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// Offers a server has to deal with at a time; far fewer than wait at its socket without being refused.
const OFFERS_MAX: usize = 32;

/// Room in a server's mark, so that its copies can put an attempt's in its place.
const MARK_ROOM: usize = 400;

pub(crate) type ServerId = u64;

/// Servers are the same when this is.
type Kind = Arc<str>;

pub(crate) struct Pool {
    dir: PathBuf,
    /// The first part of every mark.
    name: String,
    servers: BTreeMap<ServerId, Server>,
    made: ServerId,
    offers: HashMap<Key, Offer>,
    troubles: HashMap<Kind, Trouble>,
    news: mpsc::UnboundedSender<News>,
}

struct Server {
    kind: Kind,
    pid: Pid,
    /// It ends when this is closed: with us at the latest.
    _stdin: ChildStdin,
    folder: Arc<OwnedFd>,
    started: Instant,
    is_ready: bool,
    used: Instant,
    waiting: Queue<Arc<[u8]>>,
}

struct Offer {
    server: ServerId,
    task: AbortHandle,
}

struct Trouble {
    at: Instant,
    until: Option<Instant>,
}

/// What becomes of servers and offers.
#[derive(Debug)]
pub(crate) enum News {
    Ready(ServerId),
    /// It ended, or said something else, before it was ready.
    NotReady(ServerId, String),
    /// This process waits for one byte. It has done nothing.
    Offered {
        attempt: Key,
        pid: Pid,
        go: UnixStream,
    },
    Refused {
        server: ServerId,
        attempt: Key,
        why: Refusal,
    },
}

#[derive(Debug)]
pub(crate) enum Refusal {
    /// The server is gone.
    Died(String),
    Hangs,
    Said(String),
}

/// What is sent to a server, on one line.
#[derive(Serialize)]
struct Line<'a> {
    argv: &'a [String],
    env: BTreeMap<&'a str, &'a str>,
    cwd: &'a str,
    stdout: &'a str,
    stderr: &'a str,
    cgroup: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Answer {
    pid: Option<i32>,
    error: Option<String>,
}

impl Pool {
    /// Servers of an earlier keeper are dead by now.
    pub(crate) fn new(dir: &Path, name: &str) -> (Self, mpsc::UnboundedReceiver<News>) {
        let dir = dir.join(FOLDER);
        let _ = std::fs::remove_dir_all(&dir);
        let (news, heard) = mpsc::unbounded_channel();
        let pool = Self {
            dir,
            name: name.to_owned(),
            servers: BTreeMap::new(),
            made: 0,
            offers: HashMap::new(),
            troubles: HashMap::new(),
            news,
        };
        (pool, heard)
    }

    /// Has the order offered to its server, which is started if there is none.
    ///
    /// # Errors
    /// Why no server takes it: it has to be started the usual way.
    pub(crate) fn offer(
        &mut self,
        order: &Order,
        warm: &Warm,
        inherited: &Inherited,
        cgroup: Option<PathBuf>,
    ) -> Result<(), String> {
        let mark = escaped::mark(&self.name, &order.attempt);
        let all = inherited.iter().chain(&order.env);
        let mut env: BTreeMap<_, _> = all.map(|(name, it)| (name.as_str(), it.as_str())).collect();
        env.insert(MARK, &mark);
        let line = Line {
            argv: &order.argv,
            env,
            cwd: &order.cwd,
            stdout: &order.stdout,
            stderr: &order.stderr,
            cgroup,
        };
        let mut line = serde_json::to_vec(&line).expect("text keys");
        line.push(b'\n');

        let kind = kind(warm, inherited);
        let now = Instant::now();
        let id = match self.servers.iter().find(|(_, it)| it.kind == kind) {
            Some((id, server)) if server.is_ready || server.started + WAIT_MAX > now => *id,
            Some(_) => return Err("its warm interpreter is slow to start".into()),
            None => self.start(kind, warm, inherited)?,
        };
        let server = self.servers.get_mut(&id).expect("just found");
        server.used = now;
        server.waiting.push(order.attempt.clone(), line.into());
        self.send_waiting(id);
        Ok(())
    }

    /// Nobody wants it started any more. A process that waits for us to say go sees that we are gone.
    pub(crate) fn cancel(&mut self, attempt: &Key) {
        if let Some(offer) = self.offers.remove(attempt) {
            offer.task.abort();
            return self.send_waiting(offer.server);
        }
        for server in self.servers.values_mut() {
            server.waiting.leave(attempt);
        }
    }

    /// The server has answered; its id, `None` when nobody waits for the answer.
    pub(crate) fn answered(&mut self, attempt: &Key) -> Option<ServerId> {
        let offer = self.offers.remove(attempt)?;
        self.send_waiting(offer.server);
        Some(offer.server)
    }

    pub(crate) fn ready(&mut self, id: ServerId) {
        if let Some(server) = self.servers.get_mut(&id) {
            server.is_ready = true;
            server.used = Instant::now();
            self.send_waiting(id);
        }
    }

    /// Ends a server that is of no use; the attempts that wait for it.
    pub(crate) fn give_up(&mut self, id: ServerId, why: &str) -> Vec<Key> {
        let Some(mut server) = self.servers.remove(&id) else {
            return Vec::new();
        };
        eprintln!(
            "keeper: warm interpreter {} is given up: {why}; see {}",
            server.pid,
            self.log().display()
        );
        procfs::signal(server.pid, Signal::KILL);
        // One that never was ready will not be next time.
        let first = !server.is_ready;
        self.trouble(server.kind, first);
        server.waiting.drain()
    }

    /// A process has ended: the attempts that waited for it, if it was a server.
    pub(crate) fn ended(&mut self, pid: Pid) -> Vec<Key> {
        let found = self.servers.iter().find(|(_, it)| it.pid == pid);
        match found.map(|(id, _)| *id) {
            Some(id) => self.give_up(id, "it ended"),
            None => Vec::new(),
        }
    }

    /// Ends servers that nobody needs. Attempts that have waited too long for theirs.
    pub(crate) fn advance(&mut self, now: Instant) -> Vec<Key> {
        let mut late = Vec::new();
        let mut hanging = Vec::new();
        let offers = &self.offers;
        self.servers.retain(|id, server| {
            if server.is_ready {
                let is_needed = offers.values().any(|it| it.server == *id);
                return is_needed || !server.waiting.is_empty() || server.used + IDLE_MAX > now;
            }
            if server.started + WAIT_MAX <= now {
                late.extend(server.waiting.drain());
            }
            if server.started + START_MAX <= now {
                hanging.push(*id);
            }
            true
        });
        for id in hanging {
            late.extend(self.give_up(id, "it does not start"));
        }
        late
    }

    /// When [`Self::advance`] has something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        let servers = self.servers.values().map(|server| match server.is_ready {
            true => server.used + IDLE_MAX,
            false if server.waiting.is_empty() => server.started + START_MAX,
            false => server.started + WAIT_MAX,
        });
        servers.min()
    }

    /// Attempts that are neither running nor started otherwise.
    pub(crate) fn turns(&self) -> usize {
        let waiting = self.servers.values().map(|it| it.waiting.len());
        self.offers.len() + waiting.sum::<usize>()
    }

    pub(crate) fn is_server(&self, pid: Pid) -> bool {
        self.servers.values().any(|it| it.pid == pid)
    }

    /// Whether it is there to be asked again.
    pub(crate) fn lives(&self, id: ServerId) -> bool {
        let pid = self.servers.get(&id).map(|it| it.pid);
        pid.and_then(procfs::stat)
            .is_some_and(|it| !it.is_zombie && !it.is_ending)
    }

    /// Whether a process that carries only its server's mark may be one that was just made for an attempt.
    pub(crate) fn has_offers(&self, id: ServerId) -> bool {
        self.offers.values().any(|it| it.server == id)
    }

    /// What servers have to say.
    fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    fn start(
        &mut self,
        kind: Kind,
        warm: &Warm,
        inherited: &Inherited,
    ) -> Result<ServerId, String> {
        let trouble = self.troubles.get(&kind).and_then(|it| it.until);
        if trouble.is_some_and(|it| it > Instant::now()) {
            return Err("its warm interpreter does not work and is tried again later".into());
        }
        let failed = |error: io::Error| format!("its warm interpreter cannot be started: {error}");
        let result = self.spawn(kind.clone(), warm, inherited).map_err(failed);
        if result.is_err() {
            self.trouble(kind, true);
        }
        result
    }

    fn spawn(&mut self, kind: Kind, warm: &Warm, inherited: &Inherited) -> io::Result<ServerId> {
        let [program, arguments @ ..] = warm.argv.as_slice() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        private::make_dir(&self.dir)?;
        self.made += 1;
        let id = self.made;
        let log = File::options().create(true).append(true).open(self.log())?;
        let socket = socket_name(id);
        let mut child = Command::new(program)
            .args(arguments)
            .arg(&socket)
            .env_clear()
            .envs(&**inherited)
            .envs(&warm.env)
            .env(MARK, escaped::server_mark(&self.name, id, MARK_ROOM))
            .current_dir(&self.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.expect("process ids are positive");
        let stdout = OwnedFd::from(child.stdout.take().expect("piped"));
        let server = Server {
            kind,
            pid,
            _stdin: child.stdin.take().expect("piped"),
            folder: Arc::new(open_dir(&self.dir)?),
            started: Instant::now(),
            is_ready: false,
            used: Instant::now(),
            waiting: Queue::new(),
        };
        rustix::io::ioctl_fionbio(&stdout, true)?;
        let stdout = pipe::Receiver::from_owned_fd(stdout)?;
        self.servers.insert(id, server);
        tokio::spawn(listen(id, stdout, self.news.clone()));
        Ok(id)
    }

    fn send_waiting(&mut self, id: ServerId) {
        let Some(server) = self.servers.get_mut(&id) else {
            return;
        };
        if !server.is_ready {
            return;
        }
        let mut free =
            OFFERS_MAX.saturating_sub(self.offers.values().filter(|it| it.server == id).count());
        while free > 0
            && let Some((attempt, line)) = server.waiting.pop()
        {
            free -= 1;
            let offering = offering(
                id,
                attempt.clone(),
                server.folder.clone(),
                line,
                self.news.clone(),
            );
            let task = tokio::spawn(offering).abort_handle();
            self.offers.insert(attempt, Offer { server: id, task });
        }
    }

    fn trouble(&mut self, kind: Kind, is_hopeless: bool) {
        let now = Instant::now();
        self.troubles
            .retain(|_, it| it.at + TROUBLE_FOR > now || it.until.is_some_and(|it| it > now));
        let again = self.troubles.contains_key(&kind);
        let until = (again || is_hopeless).then(|| now + TROUBLE_FOR);
        self.troubles.insert(kind, Trouble { at: now, until });
    }
}

fn kind(warm: &Warm, inherited: &Inherited) -> Kind {
    let text = serde_json::to_string(&(warm, &**inherited)).expect("text keys");
    text.into()
}

fn socket_name(id: ServerId) -> String {
    format!("{id}.sock")
}

/// Waits for `ready`, then takes whatever else the server says.
async fn listen(id: ServerId, stdout: pipe::Receiver, news: mpsc::UnboundedSender<News>) {
    let mut lines = BufReader::new(stdout).lines();
    let first = lines.next_line().await;
    let _ = news.send(match first {
        Ok(Some(line)) if line == "ready" => News::Ready(id),
        Ok(Some(line)) => News::NotReady(id, format!("it says `{line}`, and not that it is ready")),
        _ => News::NotReady(id, "it ended before it was ready".into()),
    });
    while let Ok(Some(_)) = lines.next_line().await {}
}

async fn offering(
    server: ServerId,
    attempt: Key,
    folder: Arc<OwnedFd>,
    line: Arc<[u8]>,
    news: mpsc::UnboundedSender<News>,
) {
    let asked = tokio::time::timeout(ANSWERS_WITHIN, ask(server, &folder, &line));
    let why = match asked.await {
        Ok(Ok(Ok((pid, go)))) => {
            let _ = news.send(News::Offered { attempt, pid, go });
            return;
        }
        Ok(Ok(Err(error))) => Refusal::Said(error),
        Ok(Err(error)) => Refusal::Died(error.to_string()),
        Err(_) => Refusal::Hangs,
    };
    let _ = news.send(News::Refused {
        server,
        attempt,
        why,
    });
}

async fn ask(
    server: ServerId,
    folder: &OwnedFd,
    line: &[u8],
) -> io::Result<Result<(Pid, UnixStream), String>> {
    // As for the keeper's own: the name of a socket is limited, its folder's is not.
    let path = format!(
        "/proc/self/fd/{}/{}",
        folder.as_raw_fd(),
        socket_name(server)
    );
    let mut stream = UnixStream::connect(path).await?;
    stream.write_all(line).await?;
    let mut answer = String::new();
    BufReader::new(&mut stream).read_line(&mut answer).await?;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let answer: Answer = serde_json::from_str(&answer)?;
    match answer.pid.and_then(Pid::from_raw) {
        Some(pid) => Ok(Ok((pid, stream))),
        None => Ok(Err(answer
            .error
            .unwrap_or_else(|| "it says nothing".into()))),
    }
}
