//! How fast attempts of `true` are, from `submit` to the report of their end, beside bare spawning from this
//! process. `cargo run --release -p dalsegno-executor --example spawn_rate [ATTEMPTS]`

use dalsegno_engine::{Executor, Reporter};
use dalsegno_executor::{LocalConfig, LocalExecutor, keeper};
use dalsegno_scheduler::spec::Command;
use dalsegno_scheduler::{AttemptId, Report, RunId, Span, Submission, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const WIDTH: usize = 10;
const ROUNDS: usize = 5;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [mode, _, dir] = arguments.as_slice()
        && mode == "keeper"
    {
        keeper::run(Path::new(dir)).expect("a keeper");
        return;
    }
    let attempts = arguments
        .first()
        .map_or(1_000, |it| it.parse().expect("a number"));
    let dir = std::env::temp_dir().join(format!("dalsegno-spawn-rate-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::write(dir.join("flow.yaml"), "").expect("a file");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure(&dir, attempts));
    std::fs::remove_dir_all(&dir).expect("removed");
}

async fn measure(dir: &Path, attempts: usize) {
    let (reporter, mut reports) = Reporter::channel();
    let config = LocalConfig {
        data_dir: dir.join("data"),
        program: std::env::current_exe().expect("a program"),
        args: vec!["keeper".into()],
        api_url: None,
    };
    let local = LocalExecutor::start(config, reporter)
        .await
        .expect("an executor");
    local.reconcile(BTreeSet::new());
    let pid = std::fs::read_to_string(dir.join("data/keeper/lock")).expect("a lock");
    println!("keeper of {} KiB at start", memory_kib(pid.trim()));

    let mut run = 0;
    let mut table: [Vec<f64>; 4] = Default::default();
    for _ in 0..ROUNDS {
        // Turn and turn about, because the machine has moods.
        table[0].push(per_second(attempts, bare(attempts, 1)));
        run += 1;
        table[1].push(per_second(
            attempts,
            kept(&local, &mut reports, dir, run, attempts, 1).await,
        ));
        table[2].push(per_second(attempts, bare(attempts, WIDTH)));
        run += 1;
        table[3].push(per_second(
            attempts,
            kept(&local, &mut reports, dir, run, attempts, WIDTH).await,
        ));
    }
    let names = [
        "bare, one by one",
        "kept, one by one",
        "bare, ten in flight",
        "kept, ten in flight",
    ];
    for (name, values) in names.iter().zip(&mut table) {
        values.sort_by(f64::total_cmp);
        let median = values[values.len() / 2];
        println!(
            "{name:22} {median:8.0} /s   {:7.3} ms   {values:.0?}",
            1e3 / median
        );
    }
    let of = |row: usize| table[row][ROUNDS / 2];
    println!("round trip over bare   {:.2}x", of(0) / of(1));
    println!("throughput over bare   {:.0} %", 100.0 * of(3) / of(2));
    println!("keeper of {} KiB at the end", memory_kib(pid.trim()));
    local.leave().await;
}

fn bare(attempts: usize, width: usize) -> Duration {
    let start = Instant::now();
    let mut alive = std::collections::VecDeque::new();
    for _ in 0..attempts {
        if alive.len() == width {
            let mut oldest: std::process::Child = alive.pop_front().expect("not empty");
            oldest.wait().expect("waited");
        }
        let mut command = std::process::Command::new("/bin/true");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        alive.push_back(command.spawn().expect("spawned"));
    }
    for mut child in alive {
        child.wait().expect("waited");
    }
    start.elapsed()
}

async fn kept(
    local: &Arc<LocalExecutor>,
    reports: &mut mpsc::Receiver<(AttemptId, Report)>,
    dir: &Path,
    run: u64,
    attempts: usize,
    width: usize,
) -> Duration {
    let start = Instant::now();
    let mut submitted = 0;
    let mut ended = 0;
    while ended < attempts {
        while submitted < attempts && submitted - ended < width {
            local.submit(vec![submission(dir, run, submitted)]);
            submitted += 1;
        }
        let (attempt, report) = reports.recv().await.expect("a report");
        if let Report::Ended { .. } = report {
            ended += 1;
            local.forget(vec![attempt]);
        }
    }
    start.elapsed()
}

fn submission(dir: &Path, run: u64, number: usize) -> Submission {
    let path = dalsegno_scheduler::Path::ROOT.child(u32::try_from(number).expect("few"));
    Submission {
        attempt: AttemptId {
            run: RunId(run),
            task: TaskId {
                step: "step".into(),
                path,
                iteration: 0,
            },
            number: 1,
        },
        flow: "flow".into(),
        command: Command::Argv(vec!["/bin/true".into()]),
        file: dir.join("flow.yaml").display().to_string(),
        env: BTreeMap::new(),
        outputs: Vec::new(),
        memory_bytes: None,
        grace: Span::ZERO,
        event: None,
    }
}

fn per_second(attempts: usize, took: Duration) -> f64 {
    attempts as f64 / took.as_secs_f64()
}

/// Resident memory, and the part of it that is not shared with other users of the same file.
fn memory_kib(pid: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let of = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_default();
        line.trim().trim_end_matches(" kB").to_owned()
    };
    format!("{} (of it anonymous {})", of("VmRSS:"), of("RssAnon:"))
}
