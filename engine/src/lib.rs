//! The one task that owns the core: gather, decide, commit, install, dispatch.

pub mod clock;
mod handle;
mod port;
mod problem;

pub use handle::{AskError, Counters, EngineHandle, NOTICES_MAX, REQUESTS_MAX, Role, Topic};
pub use port::{Executor, REPORTS_MAX, Reporter};
pub use problem::{Code, Problem};
