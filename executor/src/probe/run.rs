//! One probe, from an empty folder to a process that is gone with all it left.

use super::judge::{ProbeError, judge};
use super::sandbox::{HELD, HIDDEN, OWN_MOUNTS, Taken};
use crate::interpreters::{Interpreter, on_path};
use crate::keeper::{MARK, kill_marked};
use crate::local::Layout;
use crate::metaflow::{Files, IGNORED_DECORATORS};
use crate::private;
use rustix::process::{Pid, Signal};
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::sync::OnceCell;

/// How much of what it prints is kept: the end, where errors stand.
const OUTPUT_BYTES_MAX: usize = 64 << 10;

/// The largest dump: a flow of a thousand steps has about a megabyte.
const DUMP_BYTES_MAX: u64 = 32 << 20;

/// Variables of the daemon that a flow file sees; whatever else there is may be a secret.
const PASSED_ON: [&str; 9] = [
    "PATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "SSL_CERT_FILE",
    "SYSTEMROOT",
];

/// By what a deployment differs from the file alone.
#[derive(Clone, Debug)]
pub struct ProbeOptions {
    /// `--branch`.
    pub branch: Option<String>,
    /// `--production`.
    pub production: bool,
    /// `--with`.
    pub with: Vec<String>,
    /// `METAFLOW_USER`: the branch of `@project` without another word.
    pub user: String,
    /// Configs that are known already.
    pub configs: Map<String, Value>,
    pub time_limit: Duration,
}

impl Default for ProbeOptions {
    fn default() -> Self {
        Self {
            branch: None,
            production: false,
            with: Vec::new(),
            user: "dalsegno".into(),
            configs: Map::new(),
            time_limit: Duration::from_secs(30),
        }
    }
}

/// What a probe told.
#[derive(Clone, Debug)]
pub struct Probed {
    /// What the flow declares, as our extension of Metaflow writes it.
    pub dump: Value,
    pub held: Held,
}

/// Which fences stood; best effort, as the machine allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// It could reach no network.
    pub network: bool,
    /// It could write nowhere but in a folder that is gone now.
    pub files: bool,
    /// Its processes were ended by the kernel together.
    pub processes: bool,
}

/// Runs probes.
#[derive(Debug)]
pub struct Prober {
    folder: PathBuf,
    files: Files,
    /// The program and its arguments that become [`sandbox::run`](super::sandbox::run); empty: there is none.
    sandbox: Vec<OsString>,
    /// The data folder: what is private in it is not seen.
    data: Option<PathBuf>,
    /// Whether namespaces can be made here.
    namespaces: OnceCell<bool>,
}

/// What the folders of probes are called, and so their marks.
const PREFIX: &str = "probe-";

/// A folder that goes with its probe, whatever becomes of that.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Prober {
    /// A prober without an executor, for whoever only looks. `folder` is where it works; `sandbox` as in
    /// [`MetaflowConfig::sandbox`](crate::MetaflowConfig), with the program before it.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn alone(folder: &Path, sandbox: Vec<OsString>) -> std::io::Result<Self> {
        Ok(Self::new(folder.to_owned(), Files::write(folder)?, sandbox))
    }

    /// What lies in this data folder for the daemon alone is hidden from whom it asks.
    #[must_use]
    pub fn hiding(mut self, data: &Path) -> Self {
        self.data = std::path::absolute(data).ok();
        self
    }

    pub(crate) const fn new(folder: PathBuf, files: Files, sandbox: Vec<OsString>) -> Self {
        Self {
            folder,
            files,
            sandbox,
            data: None,
            namespaces: OnceCell::const_new(),
        }
    }

    /// Ends what a daemon left that was killed while it asked.
    pub(crate) async fn tidy(&self) {
        let mark = self.folder.join(PREFIX).display().to_string();
        kill_marked(&mark).await;
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten();
        let left = entries
            .flatten()
            .filter(|it| it.file_name().to_string_lossy().starts_with(PREFIX));
        for folder in left {
            let _ = std::fs::remove_dir_all(folder.path());
        }
    }

    /// Runs the flow file up to the point at which Metaflow knows all of it, and no step. The file's own code at top
    /// level does run: without secrets, for a limited time, in a folder of its own.
    ///
    /// # Errors
    /// Why nothing was told, and the cure.
    pub async fn probe(
        &self,
        file: &Path,
        interpreter: &Interpreter,
        options: &ProbeOptions,
    ) -> Result<Probed, ProbeError> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let python = interpreter.python.display().to_string();
        let not_started = |message: String| ProbeError::NotStarted {
            python: python.clone(),
            message,
        };
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        // The last sign keeps marks from being the beginning of one another.
        let name = format!("{PREFIX}{}-{number}-", std::process::id());
        let scratch = Scratch(self.folder.join(&name));
        let folder = &scratch.0;
        private::make_dir(folder).map_err(|it| not_started(it.to_string()))?;
        let file = std::path::absolute(file).map_err(|it| not_started(it.to_string()))?;
        let mark = folder.display().to_string();
        let has_namespaces = *self.namespaces.get_or_init(can_unshare).await;

        let hidden = self.hidden();
        let hidden = serde_json::to_vec(&hidden).expect("texts");
        std::fs::write(folder.join(HIDDEN), hidden).map_err(|it| not_started(it.to_string()))?;
        let dump = folder.join("dump.json");
        let mut words = self.fences(folder, has_namespaces);
        words.push(interpreter.python.clone().into());
        words.extend(["-u".into(), file.clone().into()]);
        words.extend(arguments(folder, &dump, options));
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .current_dir(file.parent().unwrap_or(folder))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        self.environment(&mut command, folder, &interpreter.python, options);
        command.env(MARK, &mark);
        if has_namespaces && !self.sandbox.is_empty() {
            command.env(OWN_MOUNTS, "1");
        }
        let mut child = command.spawn().map_err(|it| not_started(it.to_string()))?;

        let group = child.id().and_then(|it| Pid::from_raw(it.cast_signed()));
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let out = tokio::spawn(tail(out));
        let err = tokio::spawn(tail(err));
        let ended = tokio::time::timeout(options.time_limit, child.wait()).await;
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        let _ = child.wait().await;
        kill_marked(&mark).await;
        // Nobody is left who could write.
        let _ = out.await;
        let errors = err.await.unwrap_or_default();
        let status: ExitStatus = match ended {
            Err(_) => {
                return Err(ProbeError::TimedOut {
                    after: options.time_limit,
                });
            }
            Ok(Err(error)) => return Err(not_started(error.to_string())),
            Ok(Ok(status)) => status,
        };
        match read(&dump) {
            Some(dump) => Ok(Probed {
                dump,
                held: held(folder, has_namespaces),
            }),
            None => Err(judge(
                &status.to_string(),
                status.success(),
                &errors,
                &python,
            )),
        }
    }

    /// What may not be seen, or may not be spoken to: a mount that is read-only does not keep from that.
    fn hidden(&self) -> Vec<String> {
        let layout = self.data.as_ref().map(Layout::new);
        let private = layout.iter().flat_map(Layout::private);
        let sockets = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
        let sockets = sockets.lines().filter_map(socket);
        let all = private.chain(sockets);
        all.filter_map(|it| it.to_str().map(str::to_owned))
            .collect()
    }

    fn fences(&self, folder: &Path, has_namespaces: bool) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        if has_namespaces {
            words.extend(UNSHARE.map(Into::into));
            words.push("--".into());
        }
        if !self.sandbox.is_empty() {
            words.extend(self.sandbox.iter().cloned());
            words.push(folder.into());
        }
        words
    }

    fn environment(
        &self,
        command: &mut Command,
        folder: &Path,
        python: &Path,
        options: &ProbeOptions,
    ) {
        command.env_clear();
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let first = |folder: &Path, name: &str| {
            let mut all = folder.as_os_str().to_owned();
            if let Some(rest) = std::env::var_os(name).filter(|it| !it.is_empty()) {
                all.push(":");
                all.push(rest);
            }
            all
        };
        command
            .env("PYTHONPATH", first(self.files.path(), "PYTHONPATH"))
            .env("PATH", first(python.parent().unwrap_or(folder), "PATH"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            // Without it libraries set memory aside for each processor, and a probe has little.
            .env("OPENBLAS_NUM_THREADS", "1")
            .env("HOME", folder)
            .env("TMPDIR", folder)
            .env("METAFLOW_HOME", folder.join("metaflow-home"))
            .env("METAFLOW_USER", &options.user)
            .env("METAFLOW_DEFAULT_METADATA", "local")
            .env("METAFLOW_DATASTORE_SYSROOT_LOCAL", folder)
            .env(IGNORED_DECORATORS, "batch,kubernetes,conda,pypi");
        if !options.configs.is_empty() {
            let configs = Value::from(options.configs.clone()).to_string();
            command.env("METAFLOW_FLOW_CONFIG_VALUE", configs);
        }
    }
}

/// The place of a socket: `0000: 00000002 00000000 00010000 0001 01 21356 /run/some.sock`.
fn socket(line: &str) -> Option<PathBuf> {
    let path = Path::new(line.get(line.find('/')?..)?);
    let is_socket = |it: std::fs::Metadata| it.file_type().is_socket();
    path.symlink_metadata()
        .is_ok_and(is_socket)
        .then(|| path.to_owned())
}

/// No network, mounts of its own, and processes that end together.
const UNSHARE: [&str; 7] = [
    "unshare",
    "--map-root-user",
    "--mount",
    "--net",
    "--pid",
    "--fork",
    "--kill-child",
];

async fn can_unshare() -> bool {
    if on_path("unshare").is_none() {
        return false;
    }
    let mut command = Command::new(UNSHARE[0]);
    command
        .args(&UNSHARE[1..])
        .args(["--", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().await.is_ok_and(|it| it.success())
}

fn arguments(folder: &Path, dump: &Path, options: &ProbeOptions) -> Vec<OsString> {
    let mut root = OsString::from("--datastore-root=");
    root.push(folder.join(".metaflow"));
    let mut all: Vec<OsString> = [
        "--quiet",
        "--no-pylint",
        "--metadata=local",
        "--environment=local",
        "--datastore=local",
    ]
    .map(Into::into)
    .to_vec();
    all.push(root);
    all.extend(
        [
            "--event-logger=nullSidecarLogger",
            "--monitor=nullSidecarMonitor",
        ]
        .map(Into::into),
    );
    if options.production {
        all.push("--production".into());
    }
    if let Some(branch) = &options.branch {
        all.extend(["--branch".into(), branch.into()]);
    }
    for decorator in &options.with {
        all.extend(["--with".into(), decorator.into()]);
    }
    all.extend(["dalsegno-task", "dump", "--out"].map(Into::into));
    all.push(dump.into());
    all
}

/// The end of what is printed, so that no amount of it fills our memory.
async fn tail(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else {
        return String::new();
    };
    let mut kept = Vec::new();
    let mut part = vec![0; 16 << 10];
    while let Ok(count @ 1..) = stream.read(&mut part).await {
        kept.extend_from_slice(&part[..count]);
        if kept.len() > 2 * OUTPUT_BYTES_MAX {
            kept.drain(..kept.len() - OUTPUT_BYTES_MAX);
        }
    }
    let start = kept.len().saturating_sub(OUTPUT_BYTES_MAX);
    String::from_utf8_lossy(&kept[start..]).into_owned()
}

fn read(dump: &Path) -> Option<Value> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(dump).ok()?;
    file.take(DUMP_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn held(folder: &Path, has_namespaces: bool) -> Held {
    let told = std::fs::read(folder.join(HELD)).unwrap_or_default();
    let taken: Taken = serde_json::from_slice(&told).unwrap_or_default();
    Held {
        network: has_namespaces,
        files: taken.files,
        processes: has_namespaces,
    }
}
