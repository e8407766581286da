//! Flow files: YAML text to checked flows, with findings that name the place and the cure.
//!
//! [`parse`] reads one text, [`read`] one file, [`read_dir`] a folder. The format is described in
//! `docs/flow-files.md`, and for editors by [`json_schema`].

mod alerts;
mod batch;
mod blackouts;
mod calendars;
mod diagnostic;
mod expression;
mod file;
mod folder;
mod graph;
mod lint;
mod loops;
pub mod metaflow;
mod names;
mod neighbours;
mod outline;
mod params;
mod policy;
mod preflight;
mod reader;
mod remote;
mod scalar;
mod schedules;
mod schema;
mod sla;
mod source;
mod steps;
mod sub_flow;
mod triggers;
mod units;
mod yaml;

pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use file::{FILE_BYTES_MAX, FlowFile, parse, parse_in};
pub use folder::{read, read_dir, read_dir_with, read_with};
pub use lint::lint;
pub use preflight::preflight;
pub use schema::json_schema;
