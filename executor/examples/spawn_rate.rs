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
const CHUNK: usize = 100;

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
        metaflow: Default::default(),
    };
    let local = LocalExecutor::start(config, reporter)
        .await
        .expect("an executor");
    local.reconcile(BTreeSet::new());
    let pid = std::fs::read_to_string(dir.join("data/keeper/lock")).expect("a lock");
    println!("keeper of {} KiB at start", memory_kib(pid.trim()));

    // Turn and turn about, because the machine has moods.
    let mut times: [Vec<Duration>; 2] = Default::default();
    for run in 0..attempts {
        times[0].push(bare(1, 1));
        times[1].push(kept(&local, &mut reports, dir, run, 1, 1).await);
    }
    let round_trip = compare("round trip, one by one", &mut times, 1);

    let mut times: [Vec<Duration>; 2] = Default::default();
    for run in 0..attempts.div_ceil(CHUNK) {
        times[0].push(bare(CHUNK, WIDTH));
        times[1].push(kept(&local, &mut reports, dir, attempts + run, CHUNK, WIDTH).await);
    }
    let throughput = compare("each, ten in flight", &mut times, CHUNK);
    println!(
        "round trip {round_trip:.2}x of bare, throughput {:.0} % of bare",
        100.0 / throughput
    );
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
    run: usize,
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

fn submission(dir: &Path, run: usize, number: usize) -> Submission {
    let path = dalsegno_scheduler::Path::ROOT.child(u32::try_from(number).expect("few"));
    Submission {
        metaflow: None,
        remote: None,
        attempt: AttemptId {
            run: RunId(run as u64),
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

/// Prints quartiles; how many times longer the second median is than the first.
fn compare(what: &str, times: &mut [Vec<Duration>; 2], attempts: usize) -> f64 {
    let medians = ["bare", "kept"].into_iter().zip(times).map(|(who, times)| {
        times.sort();
        let at = |part: usize| times[times.len() * part / 4].as_secs_f64() * 1e3 / attempts as f64;
        println!(
            "{what}: {who} {:.3} ms ({:.3} to {:.3})",
            at(2),
            at(1),
            at(3)
        );
        at(2)
    });
    let medians: Vec<_> = medians.collect();
    medians[1] / medians[0]
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
