//! The keeper: one small single-threaded process per data directory that starts, watches and reaps all local
//! attempts, and keeps how they ended on disk until it is told to forget. It decides nothing.
//!
//! It lives in a session of its own, so that a daemon that is killed, stopped or replaced leaves the running
//! attempts alone; the next daemon connects and asks how they stand. If the keeper itself dies, its attempts are
//! lost: the next keeper kills what is left of them before it says so.

mod attempt;
mod escaped;
mod frame;
mod journal;
mod limit;
mod procfs;
pub mod protocol;
mod queue;
mod recover;
mod reserve;
mod serve;
mod spawn;
mod state;
mod warm;

pub(crate) use escaped::kill_marked;
pub(crate) use frame::{FRAME_GOAL_BYTES, decode, encode};
pub(crate) use protocol::MARK;
pub(crate) use reserve::{open_dir, socket_path};
pub use serve::{KeeperError, run};
