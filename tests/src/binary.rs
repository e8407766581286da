//! The binary under test.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output};

/// What a finished command said.
#[derive(Debug)]
pub struct Said {
    /// The exit code; 128 and the signal's number when a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// Standard output as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {self}"))
    }

    /// Both outputs, in that order.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// # Panics
    /// When the command failed.
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, 0, "expected success: {self}");
        self
    }

    /// Checks that it ended as an error a user can act on: with this exit code, not by a panic.
    ///
    /// # Panics
    /// When it did not, or when one of `words` is not in what it said.
    #[track_caller]
    pub fn failed(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, code, "{self}");
        assert!(
            !self.all().contains("panicked"),
            "a panic is no error message: {self}"
        );
        for word in words {
            assert!(
                self.all().contains(word),
                "expected it to say `{word}`: {self}"
            );
        }
        self
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "exit code {}\n-- stdout\n{}\n-- stderr\n{}",
            self.code, self.stdout, self.stderr
        )
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let signal = || output.status.signal().map_or(-1, |it| 128 + it);
        Self {
            code: output.status.code().unwrap_or_else(signal),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Where the binary is: `DALSEGNO_TEST_BINARY`, which `cargo xtask test` sets, else beside this test.
///
/// # Panics
/// When there is none.
pub(crate) fn path() -> PathBuf {
    let given = std::env::var_os("DALSEGNO_TEST_BINARY").map(PathBuf::from);
    let beside = || {
        Some(
            std::env::current_exe()
                .ok()?
                .parent()?
                .parent()?
                .join("dalsegno"),
        )
    };
    let path = given.or_else(beside).expect("a test has a path of its own");
    assert!(
        path.is_file(),
        "there is no binary at {}; run `cargo xtask test`, or `cargo build -p dalsegno-daemon` first",
        path.display()
    );
    path
}

/// A command of the binary, with nothing of this process's environment that could change what it does.
pub(crate) fn command<I: IntoIterator<Item: AsRef<OsStr>>>(arguments: I) -> Command {
    let mut command = Command::new(path());
    clean(&mut command);
    command.args(arguments);
    command
}

/// Runs the binary to its end; `timeout` of coreutils ends it when it hangs, with exit code 124.
pub(crate) fn run(command: &Command) -> Said {
    let mut bounded = Command::new("timeout");
    clean(&mut bounded);
    bounded
        .args(["--kill-after=5", "90"])
        .arg(command.get_program())
        .args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => bounded.env(key, value),
            None => bounded.env_remove(key),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        bounded.current_dir(folder);
    }
    bounded
        .output()
        .expect("`timeout` of coreutils is installed")
        .into()
}

pub(crate) fn clean(command: &mut Command) {
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        if ["DALSEGNO_", "METAFLOW_"]
            .iter()
            .any(|it| name.starts_with(it))
        {
            command.env_remove(&key);
        }
    }
    command.env("NO_COLOR", "1").env_remove("RUST_LOG");
}
