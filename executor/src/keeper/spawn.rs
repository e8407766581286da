//! Starts one process, by `posix_spawn`: no copy of the keeper is ever made.

use super::protocol::{MARK, Order};
use crate::private;
use rustix::process::Pid;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where programs are looked for when no `PATH` is set, as shells do.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// Joins a control group and becomes the command; so no process of the attempt is ever outside of it.
const JOIN: &str = r#"echo 0 > "$0" && exec "$@""#;

/// Starts the order as the leader of a new process group, with its output appended to its files.
///
/// # Errors
/// Why there is no process, as a sentence for the person who wrote the flow.
pub(crate) fn spawn(
    order: &Order,
    inherited: &BTreeMap<String, String>,
    mark: &str,
    control_group: Option<&Path>,
) -> Result<Pid, String> {
    let [name, arguments @ ..] = order.argv.as_slice() else {
        return Err("the command is empty".into());
    };
    let search = order.env.get("PATH").or_else(|| inherited.get("PATH"));
    let cwd = Path::new(&order.cwd);
    let program = find(name, cwd, search.map_or(PATH_DEFAULT, String::as_str))?;
    let log = |path: &str| append(path).map_err(|it| format!("cannot write the log {path}: {it}"));

    let mut command = match control_group {
        None => {
            let mut command = Command::new(&program);
            command.arg0(name);
            command
        }
        Some(group) => {
            let mut command = Command::new("/bin/sh");
            command
                .args(["-c", JOIN])
                .arg(group.join("cgroup.procs"))
                .arg(&program);
            command
        }
    };
    command
        .args(arguments)
        .env_clear()
        .envs(inherited)
        .envs(&order.env)
        .env(MARK, mark)
        .current_dir(cwd)
        .stdin(Stdio::null())
        .stdout(log(&order.stdout)?)
        .stderr(log(&order.stderr)?)
        .process_group(0);
    // The keeper reaps all its children in one place, whoever started them.
    let child = command
        .spawn()
        .map_err(|error| explain(&error, &program, cwd))?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    Ok(pid.expect("process ids are positive"))
}

/// The file that is meant by a program's name. A name with a slash is relative to the working directory.
fn find(name: &str, cwd: &Path, search: &str) -> Result<PathBuf, String> {
    if name.contains('/') {
        let path = cwd.join(name);
        return match std::fs::metadata(&path) {
            Ok(found) if found.is_dir() => {
                Err(format!("{} is a folder, not a program", path.display()))
            }
            Ok(_) => Ok(path),
            Err(_) if !cwd.is_dir() => Err(no_folder(cwd)),
            Err(error) => Err(format!("cannot run {}: {error}", path.display())),
        };
    }
    let runs = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    };
    let places = search.split(':').map(|folder| cwd.join(folder).join(name));
    places.into_iter().find(runs).ok_or_else(|| {
        format!("there is no program `{name}` in PATH ({search}); install it or give its path")
    })
}

/// Adds a line to an attempt's log. The attempt does not fail if that cannot be.
pub(crate) fn note(log: &str, line: &str) {
    let written = append(log).and_then(|mut file| writeln!(file, "{line}"));
    if let Err(error) = written {
        eprintln!("keeper: cannot write the log {log}: {error}");
    }
}

/// Opens a log, for a process or for us. The folders above it are made.
pub(crate) fn append(path: &str) -> io::Result<File> {
    let open = || OpenOptions::new().append(true).create(true).open(path);
    match open() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if let Some(folder) = Path::new(path).parent() {
                private::make_dir(folder)?;
            }
            open()
        }
        other => other,
    }
}

fn explain(error: &io::Error, program: &Path, cwd: &Path) -> String {
    let program = program.display();
    match error.kind() {
        ErrorKind::NotFound if !cwd.is_dir() => no_folder(cwd),
        ErrorKind::NotFound => {
            format!("cannot run {program}: the interpreter its first line names does not exist")
        }
        ErrorKind::PermissionDenied => {
            format!(
                "cannot run {program} in {}: {error}; is it executable? (chmod +x)",
                cwd.display()
            )
        }
        ErrorKind::ArgumentListTooLong => format!(
            "cannot run {program}: its arguments and environment are larger than the system allows; \
             hand large values over in files"
        ),
        // A script without `#!` and a program for another machine look alike to the kernel.
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => format!(
            "cannot run {program}: it is neither a program for this machine nor a script whose first line \
             begins with #!"
        ),
        ErrorKind::InvalidInput => {
            format!("cannot run {program}: an argument or variable contains a zero byte")
        }
        _ => format!("cannot run {program}: {error}"),
    }
}

fn no_folder(cwd: &Path) -> String {
    format!("the working directory {} does not exist", cwd.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_for_as_a_shell_does() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("tool"), "#!/bin/sh\n").expect("written");
        let error = find("tool", dir.path(), ".").expect_err("not executable");
        assert_eq!(
            error,
            "there is no program `tool` in PATH (.); install it or give its path"
        );
        let all = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path().join("tool"), all).expect("made executable");
        assert_eq!(
            find("tool", dir.path(), "/none:.").expect("found"),
            dir.path().join("./tool")
        );
        assert_eq!(
            find("./tool", dir.path(), "").expect("found"),
            dir.path().join("./tool")
        );
        assert_eq!(
            find("/bin/sh", dir.path(), "").expect("found"),
            Path::new("/bin/sh")
        );
        let error = find("./tool", Path::new("/nowhere"), "").expect_err("no folder");
        assert_eq!(error, "the working directory /nowhere does not exist");
    }
}
