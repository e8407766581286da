//! A folder that stands for a bucket: files that arrive in it are objects that arrive.

mod file;
mod run;
mod scan;
mod watch;

pub use run::{DirectoryConfig, run};
