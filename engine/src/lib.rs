//! The one task that owns the core: gather, decide, commit, install, dispatch.

mod backfill;
pub mod clock;
mod engine;
mod handle;
mod port;
mod problem;
mod turn;

pub use engine::{EngineConfig, start};
pub use handle::{AskError, Counters, EngineHandle, NOTICES_MAX, REQUESTS_MAX, Role, Topic};
pub use port::{Executor, REPORTS_MAX, Reporter};
pub use problem::{Code, Problem};
