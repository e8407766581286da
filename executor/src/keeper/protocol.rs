//! What daemon and keeper say to each other: frames of a four byte little-endian length and a JSON list.

use dalsegno_scheduler::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The version of this protocol. [`Request::Hello`], [`Request::Exit`], [`Event::Welcome`] and
/// [`Event::Busy`] stay readable for ever, so that a newer daemon can ask an older keeper to go.
pub const PROTOCOL: u32 = 2;

/// Its name in the keeper's directory.
pub const SOCKET: &str = "keeper.sock";

/// The environment variable by which a process is known to belong to an attempt: the keeper's directory, a
/// `#`, and the attempt. A task that wants a process to outlive it removes this variable from the
/// process's environment and starts it in a session of its own.
pub const MARK: &str = "DALSEGNO_KEEPER";

/// An attempt's id as text. The keeper compares it and never looks inside.
pub type Key = Arc<str>;

/// What a daemon asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The first request of every connection. `env` is what every process inherits.
    Hello {
        protocol: u32,
        env: BTreeMap<String, String>,
    },
    /// Run this. An attempt that is known already is not run again: its state is the answer.
    Submit(Arc<Order>),
    /// How does this attempt stand?
    Watch { attempt: Key },
    /// Ask its process group to end, and after the grace kill it.
    Stop { attempt: Key, grace_ms: u64 },
    /// Remember these no longer. One that still runs is forgotten when it ends.
    Forget { attempts: Vec<Key> },
    /// Exit now if nothing runs; else say so, and exit when nothing runs and nobody is connected.
    Exit,
}

/// One process to be run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    pub attempt: Key,
    /// Program and arguments; never empty.
    pub argv: Vec<String>,
    pub cwd: String,
    /// On top of what [`Request::Hello`] named.
    pub env: BTreeMap<String, String>,
    /// Appended to; the folders are made.
    pub stdout: String,
    pub stderr: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Outputs that it must write. Nothing to the keeper, which gives them back in [`Event::Ended`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// Where there is a process that has all loaded already, a copy of it may do instead: the same, sooner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm: Option<Warm>,
}

/// A server that runs orders in copies of itself. Orders whose servers are equal have one together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warm {
    /// Program and arguments; the name of its socket is added, relative to its working directory.
    pub argv: Vec<String>,
    /// On top of what [`Request::Hello`] named.
    pub env: BTreeMap<String, String>,
    /// Tells servers apart that look alike: what they loaded has changed since.
    pub stamp: String,
}

/// What a keeper answers and tells, to everyone connected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The answer to [`Request::Hello`], with all attempts it runs or remembers.
    Welcome {
        protocol: u32,
        pid: i32,
        attempts: Vec<Key>,
    },
    Started {
        attempt: Key,
        pid: i32,
        at: Timestamp,
    },
    /// It is dead, and so is its whole process group. [`Event::Started`] may not have come before.
    Ended {
        attempt: Key,
        #[serde(default)]
        started_at: Option<Timestamp>,
        at: Timestamp,
        end: End,
        /// Those of its [`Order`], where it ended with exit status 0: a daemon that asks for the end may know
        /// no more of the attempt than its name.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        outputs: Vec<String>,
    },
    /// The answer to [`Request::Watch`] and [`Request::Stop`] for an attempt that is not known.
    Missing { attempt: Key },
    /// The answer to [`Request::Exit`] while attempts run.
    Busy { running: usize },
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    Exit(i32),
    Signal(i32),
    /// After [`Request::Stop`], whatever its exit status was.
    Stopped,
    OutOfMemory,
    /// There never was a process; why.
    NotStarted(String),
    /// The keeper that ran it died; what is left of it was killed.
    Lost(String),
}
