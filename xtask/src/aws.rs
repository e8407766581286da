//! An emulator of AWS of our own: a free loopback port, nothing kept.

use crate::postgres::free_port;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// A running emulator. It ends when this value goes away, and also when this process dies in any way.
pub(crate) struct Aws {
    port: u16,
    guard: Child,
    /// The guard stops the emulator when this pipe closes.
    leash: Option<ChildStdin>,
}

/// Starts the emulator as its child, says `ready` when it listens, and waits for the end of its standard input.
const GUARD: &str = r#"
"$1" "$3" --port "$2" >/dev/null 2>&1 &
server=$!
tries=0
until "$1" -c "import socket; socket.create_connection(('127.0.0.1', $2), 1)" 2>/dev/null; do
    tries=$((tries + 1))
    if ! kill -0 "$server" 2>/dev/null || [ "$tries" -ge 300 ]; then
        echo "failed"
        kill -KILL "$server" 2>/dev/null
        exit 1
    fi
    sleep 0.1
done
echo ready
read -r _
kill -KILL "$server"
wait "$server" 2>/dev/null
"#;

impl Aws {
    /// Starts `emulator`, a program in Python.
    pub(crate) fn start(python: &Path, emulator: &Path) -> Result<Self> {
        let port = free_port()?;
        let mut guard = Command::new("/bin/sh")
            .args(["-c", GUARD, "aws-guard"])
            .arg(python)
            .arg(port.to_string())
            .arg(emulator)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C reaches us, not the guard, which then has its orderly end.
            .process_group(0)
            .spawn()
            .context("the guard of the AWS emulator does not start")?;
        let leash = guard.stdin.take();
        let mut said = String::new();
        BufReader::new(guard.stdout.take().expect("stdout is piped"))
            .read_line(&mut said)
            .context("the guard of the AWS emulator says nothing")?;
        let server = Self { port, guard, leash };
        if said.trim() != "ready" {
            bail!(
                "the AWS emulator does not start; try it: {} {} --port {port}",
                python.display(),
                emulator.display()
            );
        }
        eprintln!("   AWS emulator listens on 127.0.0.1:{port}");
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        drop(self.leash.take());
        if let Err(error) = self.guard.wait() {
            eprintln!(
                "warning: the guard {} of the AWS emulator cannot be waited for: {error}",
                self.guard.id()
            );
        }
    }
}
