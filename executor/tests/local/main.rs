//! Real processes under a real keeper.

mod adoption;
mod lifecycle;
mod memory;
mod outputs;
mod stopping;
mod world;
