//! The smallest program that can be a keeper; the tests run it.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if let [first, rest @ ..] = arguments.as_slice()
        && first == "sandbox"
    {
        eprintln!("{}", dalsegno_executor::sandbox::run(rest.to_vec()));
        return ExitCode::FAILURE;
    }
    let [flag, dir] = arguments.as_slice() else {
        eprintln!("usage: keeper --dir DIRECTORY");
        return ExitCode::from(2);
    };
    if flag != "--dir" {
        eprintln!("expected --dir, found {}", flag.display());
        return ExitCode::from(2);
    }
    match dalsegno_executor::keeper::run(Path::new(dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
