//! Real Metaflow under a real keeper.

mod flow;
mod interpreters;
mod probe;
mod steps;
mod warm;
mod world;
