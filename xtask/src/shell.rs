//! Running other programs, so that a person sees what happens and how long it takes.

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// `cargo`, the one that runs us, as if a person ran it.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What it told us about our package. Build scripts of others look at these variables, and are run again with all that
    // is built upon them when they change.
    for (name, _) in std::env::vars_os() {
        let of_a_package = ["CARGO_PKG_", "CARGO_MANIFEST_"];
        let text = name.to_string_lossy();
        if of_a_package.iter().any(|it| text.starts_with(it)) {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// Runs a command whose output belongs on the screen.
pub(crate) fn show(what: &str, command: &mut Command) -> Result<()> {
    eprintln!("\n== {what}: {}", line(command));
    let start = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("{} does not start", line(command)))?;
    if !status.success() {
        bail!("{what} failed: {} ended with {status}", line(command));
    }
    eprintln!("== {what}: done in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Runs a command whose output matters only when it fails, beside a spinner; gives its standard output.
pub(crate) fn quiet(what: &str, command: &mut Command) -> Result<String> {
    let spinner = spinner(what);
    let start = Instant::now();
    let output = output(what, command);
    spinner.finish_and_clear();
    let output = output?;
    eprintln!("   {what}: {:.1} s", start.elapsed().as_secs_f64());
    Ok(output)
}

/// Runs commands whose output matters only when they fail, so many at the same time; the first failure is told when all
/// have ended.
pub(crate) fn quiet_all(what: &str, commands: Vec<Command>, at_once: usize) -> Result<()> {
    let spinner = spinner(what);
    let start = Instant::now();
    let waiting = Mutex::new(commands);
    let next = || waiting.lock().expect("no holder panics").pop();
    let work = || {
        let mut result = Ok(());
        while let Some(mut command) = next() {
            let done = output(what, &mut command).map(drop);
            result = result.and(done);
        }
        result
    };
    let results: Vec<Result<()>> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        all.into_iter()
            .map(|it| it.join().expect("running a command does not panic"))
            .collect()
    });
    spinner.finish_and_clear();
    results.into_iter().collect::<Result<()>>()?;
    eprintln!("   {what}: {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn spinner(what: &str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(what.to_owned());
    spinner.set_style(
        ProgressStyle::with_template("   {spinner} {msg} ({elapsed})")
            .expect("the template is well formed"),
    );
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

fn output(what: &str, command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{} does not start", line(command)))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!(
            "{what} failed: {} ended with {}\n{}",
            line(command),
            output.status,
            last_lines(&String::from_utf8_lossy(&said), 30)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first program of that name on `PATH`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|file| is_program(file))
}

/// Whether the file can be executed by someone.
pub(crate) fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

/// Whether we may do everything on this machine.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self")
        .metadata()
        .is_ok_and(|it| it.uid() == 0)
}

fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_shows_its_line_its_end_and_what_it_said() {
        let error = quiet(
            "trying",
            Command::new("sh").args(["-c", "echo because; exit 3"]),
        )
        .expect_err("the command fails")
        .to_string();
        assert!(error.contains("trying failed: sh -c"), "{error}");
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.contains("because"), "{error}");
    }

    #[test]
    fn of_several_commands_each_is_run_and_a_failure_is_told() {
        let folder = std::env::temp_dir().join(format!("dalsegno-shell-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("a new folder");
        let command = |script: String| {
            let mut command = Command::new("sh");
            command.args(["-c", &script]).current_dir(&folder);
            command
        };
        let commands = (0..5).map(|it| command(format!("echo > {it}"))).collect();
        quiet_all("trying", commands, 2).expect("all succeed");
        assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), 5);
        let commands = vec![
            command("true".into()),
            command("echo because; exit 3".into()),
        ];
        let error = quiet_all("trying", commands, 2).expect_err("one fails");
        assert!(error.to_string().contains("because"), "{error}");
        std::fs::remove_dir_all(folder).expect("ours");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error =
            quiet("trying", &mut Command::new("no-such-program")).expect_err("nothing to run");
        assert!(
            error.to_string().contains("no-such-program does not start"),
            "{error}"
        );
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(on_path("sh").is_some());
        assert_eq!(on_path("no-such-program"), None);
    }
}
