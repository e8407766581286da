//! The real parts that tests and benchmarks use: found on this machine, or installed.

mod chromium;
mod install;
mod postgres;
mod python;

pub(crate) use chromium::chromium;
pub(crate) use postgres::{PostgresBinaries, postgres_binaries};
pub(crate) use python::{aws_emulator, metaflow, metaflow_wheels, python};
