//! An emulator of S3 of our own: a free loopback port, nothing kept.

use crate::postgres::free_port;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// A running emulator. It ends when this value goes away, and also when this process dies in any way.
pub(crate) struct S3 {
    port: u16,
    guard: Child,
    /// The guard stops the emulator when this pipe closes.
    leash: Option<ChildStdin>,
}

/// Starts the emulator as its child, says `ready` when it listens, and waits for the end of its standard input.
const GUARD: &str = r#"
"$1" -m moto.server --host 127.0.0.1 --port "$2" >/dev/null 2>&1 &
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

impl S3 {
    pub(crate) fn start(python: &Path) -> Result<Self> {
        let port = free_port()?;
        let mut guard = Command::new("/bin/sh")
            .args(["-c", GUARD, "s3-guard"])
            .arg(python)
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C reaches us, not the guard, which then has its orderly end.
            .process_group(0)
            .spawn()
            .context("the guard of the S3 emulator does not start")?;
        let leash = guard.stdin.take();
        let mut said = String::new();
        BufReader::new(guard.stdout.take().expect("stdout is piped"))
            .read_line(&mut said)
            .context("the guard of the S3 emulator says nothing")?;
        let server = Self { port, guard, leash };
        if said.trim() != "ready" {
            bail!(
                "the S3 emulator does not start; try it: {} -m moto.server --port {port}",
                python.display()
            );
        }
        eprintln!("   S3 emulator listens on 127.0.0.1:{port}");
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        drop(self.leash.take());
        if let Err(error) = self.guard.wait() {
            eprintln!(
                "warning: the guard {} of the S3 emulator cannot be waited for: {error}",
                self.guard.id()
            );
        }
    }
}
