//! Running other programs, so that a person sees what happens and how long it takes.

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// `cargo`, the one that runs us.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
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
    let spinner = ProgressBar::new_spinner().with_message(what.to_owned());
    spinner.set_style(
        ProgressStyle::with_template("   {spinner} {msg} ({elapsed})")
            .expect("the template is well formed"),
    );
    spinner.enable_steady_tick(Duration::from_millis(120));
    let start = Instant::now();
    let output = command.stdin(Stdio::null()).output();
    spinner.finish_and_clear();
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
    eprintln!("   {what}: {:.1} s", start.elapsed().as_secs_f64());
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
