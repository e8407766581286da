//! What stands before every call to a service: breaker, bulkhead, limits of calls, and what an error means.

mod api;
mod backoff;
mod breaker;
mod breakers;
mod bucket;
mod bulkhead;
mod calls;
mod clock;
mod error;
mod limits;
mod line;
mod window;

#[cfg(test)]
mod tests;

pub use api::{Api, Pool, Rate};
pub use backoff::Backoff;
pub use breaker::{Manual, State};
pub use breakers::BreakerState;
pub use calls::{Guard, UnknownName};
pub use error::CallError;
pub(crate) use line::Place;
