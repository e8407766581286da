//! Durable state: one trait, and three stores that behave alike: SQLite, PostgreSQL, memory.
//!
//! The scheduler decides, a store makes durable. [`Store::commit`] is the only writer of rows: one
//! transaction for all that one batch of decisions changes, fenced by the lease. The rows are what
//! recovery reads ([`Store::load`]); the journal is what people read.

mod backend;
mod children;
#[doc(hidden)]
pub mod conformance;
mod decode;
mod deliveries;
mod encode;
mod error;
mod lease;
mod memory;
mod migrations;
mod page;
mod path;
mod postgres;
mod queries;
mod select;
mod sqlite;
mod store;
mod table;

pub use deliveries::{
    AttemptLog, ChannelStop, Deliveries, DeliveryCount, DeliveryFilter, DeliveryOutcome,
    DeliveryRow, DeliveryState, Recovered,
};
pub use error::{CommitError, Error, Full};
pub use lease::Lease;
pub use memory::{Fault, MemoryStore};
pub use migrations::SCHEMA_VERSION;
pub use page::{
    AlertFilter, Attainment, BackfillCount, BackfillFilter, Cursor, EventFilter, JournalFilter,
    MatchFilter, OccurrenceCount, OccurrenceFilter, Outage, OutageReason, Page, RunFilter,
    SlaFilter, StepTime, TaskCount, TaskFilter,
};
pub use postgres::PostgresStore;
pub use sqlite::{Durability, SqliteStore};
pub use store::Store;
