//! The run of all figures, each in a process of its own.

use crate::args::Args;
use crate::figure::Figure;
use crate::figures::{self, ALL, Effort, is_meant};
use crate::{calm, emulator, peers, place, table};
use anyhow::{Context as _, Result, bail};
use dalsegno_engine::clock;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Longer than any figure takes on a slow machine; then it is ended.
const PATIENCE: Duration = Duration::from_secs(400);

/// Measures what was asked for and prints it. False when a figure could not be measured.
pub(crate) fn run(args: &Args) -> Result<bool> {
    if let Some(id) = &args.alone {
        return alone(id, args);
    }
    if let Some(unknown) = args
        .only
        .iter()
        .find(|it| !ALL.iter().any(|(id, _)| is_meant(id, it)))
    {
        bail!("there is no figure `{unknown}`; there are a to u");
    }
    peers::check(&args.peers)?;
    let home = place::folder()?;
    let wanted = |id: &str| args.only.is_empty() || args.only.iter().any(|it| is_meant(id, it));
    let (mut measured, mut failed) = (Vec::new(), Vec::new());
    for (id, about) in ALL.into_iter().filter(|(id, _)| wanted(id)) {
        eprintln!("   ({id}) {about}");
        calm::wait(Duration::from_secs(args.calm));
        match in_own_process(id, args.quick, home.path()) {
            Ok(figures) => {
                eprint!("{}", table::details(&figures));
                measured.extend(figures);
            }
            Err(error) => {
                eprintln!("warning: ({id}) could not be measured: {error:#}");
                failed.push(format!("({id}) {error:#}"));
            }
        }
    }
    println!(
        "\n{}\n{}",
        table::render(&measured),
        table::details(&measured)
    );
    for reason in &failed {
        println!("not measured: {reason}");
    }
    let beside = peers::measure(&args.peers)?;
    if let Some(file) = &args.json {
        let all = json!({
            "at": clock::now().to_string(),
            "machine": machine(),
            "quick": args.quick,
            "figures": measured,
            "not_measured": failed,
            "peers": beside,
        });
        write(file, &all)?;
    }
    Ok(failed.is_empty())
}

fn alone(id: &str, args: &Args) -> Result<bool> {
    let effort = Effort { quick: args.quick };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let figures = runtime.block_on(figures::measure(id, effort))?;
    match &args.json {
        Some(file) => write(file, &serde_json::to_value(&figures)?)?,
        None => println!("{}\n{}", table::render(&figures), table::details(&figures)),
    }
    Ok(true)
}

fn in_own_process(id: &str, quick: bool, home: &Path) -> Result<Vec<Figure>> {
    let file = home.join(format!("{id}.json"));
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--alone", id, "--json"]).arg(&file);
    command.env(place::HOME, home);
    command.envs(emulator::VARIABLES);
    if quick {
        command.arg("--quick");
    }
    let mut child = command.spawn()?;
    if !ended_well(&mut child)? {
        bail!("its process ended badly");
    }
    let text = std::fs::read_to_string(&file)?;
    Ok(serde_json::from_str(&text)?)
}

fn ended_well(child: &mut Child) -> Result<bool> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if begun.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            bail!("it did not end within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn write(file: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    std::fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
}

fn machine() -> Value {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let value = |text: &str, name: &str| {
        let line = text.lines().find(|it| it.starts_with(name));
        line.and_then(|it| it.split_once(':'))
            .map(|(_, it)| it.trim().to_owned())
    };
    json!({
        "processor": value(&cpu, "model name"),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memory": value(&memory, "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
    })
}
