//! A seeded world around the real core and the model of the store: random flows, people who press
//! everything, executors that forget, a disk that fails, a clock that jumps. See [`simulate`].

mod checks;
mod executor;
mod flows;
mod inputs;
mod ledger;
mod people;
mod rng;
mod shapes;
mod world;

pub use world::{Outcome, simulate};
