//! A PostgreSQL server of our own: an unprivileged user, a free loopback port, a folder that goes away.

use crate::parts::PostgresBinaries;
use crate::shell;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// Whether commits must survive a power cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// For benchmarks: as in production.
    Durable,
    /// For tests: no fsync.
    Throwaway,
}

/// A running server. It ends when this value goes away, and also when this process dies in any way.
pub(crate) struct Postgres {
    port: u16,
    guard: Child,
    /// The guard stops the server when this pipe closes.
    leash: Option<ChildStdin>,
}

/// Starts the server as its child, says so, and waits for the end of its standard input, which comes with the
/// death of whoever holds the other end: then it stops the server and removes the folder.
const GUARD: &str = r#"
cd /
"$1/postgres" -D "$2/data" -k "$2" -p "$3" $4 >"$2/log" 2>&1 &
server=$!
tries=0
until grep -q "ready to accept connections" "$2/log" 2>/dev/null; do
    tries=$((tries + 1))
    if ! kill -0 "$server" 2>/dev/null || [ "$tries" -ge 600 ]; then
        echo "failed: $(tail -n 5 "$2/log" | tr '\n' ' ')"
        kill -QUIT "$server" 2>/dev/null
        wait "$server"
        rm -rf "$2"
        exit 1
    fi
    sleep 0.1
done
echo ready
read -r _
kill -QUIT "$server"
wait "$server"
rm -rf "$2"
"#;

impl Postgres {
    pub(crate) fn start(binaries: &PostgresBinaries, durability: Durability) -> Result<Self> {
        let user = Unprivileged::find()?;
        let folder = folder_for(user.as_ref())?;
        let data = folder.join("data");
        let prepared = shell::quiet(
            "preparing a PostgreSQL data folder",
            as_user(user.as_ref(), &binaries.folder.join("initdb"))
                .current_dir(&folder)
                .args(["--username=dalsegno", "--auth=trust", "--encoding=UTF8"])
                .args(["--no-locale", "--no-sync", "--no-instructions", "-D"])
                .arg(&data),
        );
        if let Err(error) = prepared {
            std::fs::remove_dir_all(&folder)
                .with_context(|| format!("{} stays behind", folder.display()))?;
            return Err(error);
        }
        let port = free_port()?;
        let mut options = vec!["-c listen_addresses=127.0.0.1", "-c max_connections=200"];
        if durability == Durability::Throwaway {
            options.extend([
                "-c fsync=off",
                "-c full_page_writes=off",
                "-c synchronous_commit=off",
            ]);
        }
        let mut guard = as_user(user.as_ref(), Path::new("/bin/sh"))
            .args(["-c", GUARD, "postgres-guard"])
            .arg(&binaries.folder)
            .arg(&folder)
            .arg(port.to_string())
            .arg(options.join(" "))
            .current_dir(&folder)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C reaches us, not the guard, which then has its orderly end.
            .process_group(0)
            .spawn()
            .context("the PostgreSQL guard does not start")?;
        let leash = guard.stdin.take();
        let mut said = String::new();
        BufReader::new(guard.stdout.take().expect("stdout is piped"))
            .read_line(&mut said)
            .context("the PostgreSQL guard says nothing")?;
        let server = Self { port, guard, leash };
        if said.trim() != "ready" {
            bail!(
                "PostgreSQL in {} does not start: {}",
                folder.display(),
                said.trim()
            );
        }
        eprintln!(
            "   PostgreSQL {} listens on 127.0.0.1:{port}",
            binaries.version
        );
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://dalsegno@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.leash.take());
        if let Err(error) = self.guard.wait() {
            eprintln!(
                "warning: PostgreSQL's guard {} cannot be waited for: {error}",
                self.guard.id()
            );
        }
    }
}

/// Whom the server runs as when we are root, which PostgreSQL refuses to be.
struct Unprivileged {
    user: u32,
    group: u32,
}

impl Unprivileged {
    /// `None` when we are unprivileged ourselves.
    fn find() -> Result<Option<Self>> {
        if !shell::is_root() {
            return Ok(None);
        }
        let number = |option: &str| -> Result<u32> {
            let output = Command::new("id")
                .args([option, "nobody"])
                .output()
                .context("id does not start")?;
            String::from_utf8_lossy(&output.stdout)
                .trim()
                .parse()
                .context("there is no user `nobody` to run PostgreSQL as; add one, or run this as a normal user")
        };
        Ok(Some(Self {
            user: number("-u")?,
            group: number("-g")?,
        }))
    }
}

fn as_user(user: Option<&Unprivileged>, program: &Path) -> Command {
    match user {
        None => Command::new(program),
        Some(user) => {
            let mut command = Command::new("setpriv");
            command
                .arg(format!("--reuid={}", user.user))
                .arg(format!("--regid={}", user.group))
                .arg("--clear-groups")
                .arg(program);
            command
        }
    }
}

/// A new folder below the system's folder for temporary files, which every user can reach.
fn folder_for(user: Option<&Unprivileged>) -> Result<PathBuf> {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let name = format!(
        "dalsegno-pg-{}-{}",
        std::process::id(),
        since.subsec_nanos()
    );
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700))?;
    if let Some(user) = user {
        chown(&folder, Some(user.user), Some(user.group))
            .with_context(|| format!("cannot give {} to user {}", folder.display(), user.user))?;
    }
    Ok(folder)
}

pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("there is no free loopback port")?;
    Ok(listener.local_addr()?.port())
}
