//! What runs tasks: local processes under a keeper that outlives the daemon.
//!
//! [`LocalExecutor`] is the daemon's side. It speaks to the [`keeper`], a small process of its own per data
//! directory, which starts, watches and reaps the processes and remembers how they ended until the daemon
//! has made that durable. [`InstantExecutor`] runs nothing, for tests and benchmarks.
//!
//! Linux only: it finds and kills what a task left behind through `/proc` and child subreapers.

mod code;
mod instant;
mod interpreters;
pub mod keeper;
mod local;
pub mod metaflow;
mod private;
mod probe;
mod router;

pub use code::{CodeError, Snapshots};
pub use instant::InstantExecutor;
pub use interpreters::{Interpreter, Interpreters, Missing, Origin};
pub use local::{
    Layout, LocalConfig, LocalExecutor, OUTPUT_BYTES_MAX, StartError, Stream, parse_output,
};
pub use metaflow::MetaflowConfig;
pub use probe::{Held, ProbeError, ProbeOptions, Probed, Prober, sandbox};
pub use router::Router;
