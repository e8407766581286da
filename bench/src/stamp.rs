//! This binary as a task: it tells the time of its own start.

use dalsegno_engine::clock;
use std::io::Write as _;
use std::process::ExitCode;

/// `dalsegno-bench --stamp PIPE` writes `$N TIME` and ends.
pub(crate) const FLAG: &str = "--stamp";

pub(crate) fn is_asked_for() -> bool {
    std::env::args_os().nth(1).is_some_and(|it| it == FLAG)
}

pub(crate) fn run() -> ExitCode {
    let now = clock::now().0;
    let number = std::env::var("N").unwrap_or_default();
    let pipe = std::env::args_os().nth(2).unwrap_or_default();
    let written = std::fs::OpenOptions::new()
        .append(true)
        .open(&pipe)
        .and_then(|mut it| it.write_all(format!("{number} {now}\n").as_bytes()));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", pipe.display());
            ExitCode::FAILURE
        }
    }
}
