//! Where the files of attempts lie in the data directory.

use dalsegno_scheduler::{AttemptId, RunId, TaskId};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Which of the two logs of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Out,
    Err,
}

/// Paths of everything an attempt reads and writes:
///
/// ```text
/// <data>/logs/<run>/<task>.<attempt>.out       what it printed, while it runs and after; .err beside it
/// <data>/outputs/<run>/<task>.<attempt>        $DALSEGNO_OUTPUT; removed when its content is durable
/// <data>/outputs/<run>/<task>.<attempt>.request.json, .outcome.json, .inputs
///                                              what a Metaflow task is to do, and how it says that it ended
/// <data>/outputs/<run>/<run id>.cloned         exists when a Metaflow run that was made from another has its tasks
/// <data>/metaflow/                             our Python, for Metaflow's tasks
/// <data>/environments/                         interpreters that were made for flows without one
/// <data>/code/<hash>/                          code of Metaflow flows as it was registered
/// <data>/checkpoints/<run>/<task>/             $DALSEGNO_CHECKPOINT_DIR, the same for all attempts of a task
/// <data>/events/<run>.json                     $DALSEGNO_EVENT
/// <data>/keeper/                               socket, lock, journal and log of the keeper
/// ```
///
/// All of it is made for the daemon's user alone.
///
/// A task is written as `train`, `train.3`, `fit.3.0` or `loop@2`. A step's name is at most letters, digits,
/// `-` and `_` when it comes from a flow; from elsewhere (a request for a log) any other byte becomes `%xx`, so
/// no path leads out of the data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    data: PathBuf,
}

impl Layout {
    /// The layout of a data directory. Nothing is created.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data: data_dir.into(),
        }
    }

    /// Exists from the moment the attempt is started.
    pub fn log_path(&self, attempt: &AttemptId, stream: Stream) -> PathBuf {
        let ending = match stream {
            Stream::Out => "out",
            Stream::Err => "err",
        };
        let name = format!("{}.{}.{ending}", task_name(&attempt.task), attempt.number);
        self.of_run("logs", attempt.run).join(name)
    }

    /// Exists when the task has written it.
    pub fn output_path(&self, attempt: &AttemptId) -> PathBuf {
        let name = format!("{}.{}", task_name(&attempt.task), attempt.number);
        self.of_run("outputs", attempt.run).join(name)
    }

    /// What an attempt of a Metaflow task is to do. Exists until its end is durable.
    pub(crate) fn request_path(&self, attempt: &AttemptId) -> PathBuf {
        self.output_path(attempt)
            .with_added_extension("request.json")
    }

    /// How an attempt of a Metaflow task ended, by its own account.
    pub(crate) fn outcome_path(&self, attempt: &AttemptId) -> PathBuf {
        self.output_path(attempt)
            .with_added_extension("outcome.json")
    }

    /// Tasks that a Metaflow task reads from, where they are too many for an argument.
    pub(crate) fn inputs_path(&self, attempt: &AttemptId) -> PathBuf {
        self.output_path(attempt).with_added_extension("inputs")
    }

    /// Exists when a run that was made from another one has taken over its tasks. Numbers of runs begin anew with
    /// another database, Metaflow's run ids do not.
    pub(crate) fn cloned_path(&self, run: RunId, metaflow_run: &str) -> PathBuf {
        let name = format!("{metaflow_run}.cloned");
        self.of_run("outputs", run).join(name)
    }

    /// Our Python, for Metaflow's tasks.
    pub(crate) fn metaflow_dir(&self) -> PathBuf {
        self.data.join("metaflow")
    }

    /// Snapshots of code, each named after its content.
    pub fn code_dir(&self) -> PathBuf {
        self.data.join("code")
    }

    /// Interpreters that were made for flows without one.
    pub fn environments_dir(&self) -> PathBuf {
        self.data.join("environments")
    }

    /// The folder in which a task keeps what its next attempt can go on from, also after a resume.
    pub fn checkpoint_dir(&self, run: RunId, task: &TaskId) -> PathBuf {
        self.of_run("checkpoints", run).join(task_name(task))
    }

    /// The event that started a run, as CloudEvents JSON.
    pub fn event_path(&self, run: RunId) -> PathBuf {
        self.data.join("events").join(format!("{run}.json"))
    }

    /// The keeper's own directory.
    pub fn keeper_dir(&self) -> PathBuf {
        self.data.join("keeper")
    }

    /// What the keeper itself has to say, for those who look after the daemon.
    pub fn keeper_log_path(&self) -> PathBuf {
        self.keeper_dir().join("keeper.log")
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data
    }

    /// All folders in the data directory. Whoever can open the keeper's can run commands as its user.
    pub(crate) fn folders(&self) -> impl Iterator<Item = PathBuf> {
        [
            "logs",
            "outputs",
            "checkpoints",
            "events",
            "keeper",
            "metaflow",
            "code",
        ]
        .into_iter()
        .map(|it| self.data.join(it))
    }

    /// What nobody but the daemon and its tasks need, as far as it is there: above all the keeper's socket and the
    /// database.
    pub(crate) fn private(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.data).into_iter().flatten();
        let is_private = |name: &str| {
            name.starts_with("dalsegno.db")
                || [
                    "logs",
                    "outputs",
                    "checkpoints",
                    "events",
                    "keeper",
                    "probes",
                    "instance",
                    "daemon.lock",
                ]
                .contains(&name)
        };
        entries
            .flatten()
            .filter(|it| it.file_name().to_str().is_some_and(is_private))
            .map(|it| it.path())
            .collect()
    }

    fn of_run(&self, what: &str, run: RunId) -> PathBuf {
        self.data.join(what).join(run.to_string())
    }
}

fn task_name(task: &TaskId) -> String {
    let mut name = String::with_capacity(task.step.as_str().len() + 4);
    for byte in task.step.as_str().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(byte.into()),
            _ => write!(name, "%{byte:02x}").expect("strings take everything"),
        }
    }
    for index in task.path.as_slice() {
        write!(name, ".{index}").expect("strings take everything");
    }
    if task.iteration > 0 {
        write!(name, "@{}", task.iteration).expect("strings take everything");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_plain_and_never_lead_out_of_the_data_directory() {
        let layout = Layout::new("/data");
        let path = |attempt: &str| {
            let attempt: AttemptId = attempt.parse().expect("valid");
            layout.log_path(&attempt, Stream::Out).display().to_string()
        };
        assert_eq!(path("42/train/1"), "/data/logs/42/train.1.out");
        assert_eq!(path("42/fit[3.0]/2"), "/data/logs/42/fit.3.0.2.out");
        assert_eq!(path("42/loop[3]@7/2"), "/data/logs/42/loop.3@7.2.out");
        assert_eq!(
            path("42/../../etc/passwd/1"),
            "/data/logs/42/%2e%2e%2f%2e%2e%2fetc%2fpasswd.1.out"
        );
        let task = TaskId {
            step: "..".into(),
            path: dalsegno_scheduler::Path::ROOT,
            iteration: 0,
        };
        assert_eq!(
            layout.checkpoint_dir(RunId(7), &task),
            Path::new("/data/checkpoints/7/%2e%2e")
        );
    }
}
