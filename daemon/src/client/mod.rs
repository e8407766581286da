//! Talking to a daemon over its API.

mod beside;
mod failure;
mod http;
mod live;
mod model;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use beside::settings;
pub(crate) use failure::{Exit, Failure, Result};
pub(crate) use http::{Client, Listing, path, typed};
pub(crate) use live::Live;
pub(crate) use model::*;
