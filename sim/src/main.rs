//! `dalsegno-sim --seeds N --from S`: plays so many seeded worlds and names those that break.

use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let (mut seeds, mut from) = (1_000_u64, 0_u64);
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().and_then(|it| it.parse().ok());
        match (name.as_str(), value) {
            ("--seeds", Some(value)) => seeds = value,
            ("--from", Some(value)) => from = value,
            _ => {
                eprintln!("usage: dalsegno-sim [--seeds N] [--from SEED], both whole numbers");
                return ExitCode::from(2);
            }
        }
    }
    let begun = Instant::now();
    let (mut broken, mut decisions, mut runs) = (Vec::new(), 0, 0);
    for seed in from..from + seeds {
        // A broken world ends in a panic that tells what broke.
        match std::panic::catch_unwind(|| dalsegno_sim::simulate(seed)) {
            Ok(outcome) => {
                decisions += outcome.decisions;
                runs += outcome.runs;
            }
            Err(_) => broken.push(seed),
        }
    }
    println!(
        "{seeds} worlds from seed {from}: {decisions} decisions, {runs} runs, {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    if broken.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("broken: {broken:?}");
    ExitCode::FAILURE
}
