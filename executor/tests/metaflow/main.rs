//! Real Metaflow under a real keeper.

mod flow;
mod steps;
mod warm;
mod world;
