//! What a deployment says beside the file.

use dalsegno_scheduler::ExecutorKind;
use dalsegno_scheduler::metaflow::Storage;
use dalsegno_scheduler::spec::Strategy;
use serde::{Deserialize, Serialize};

/// What is chosen when a flow is registered; all of it is a part of the flow's version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// `--branch`.
    pub branch: Option<String>,
    /// `--production`.
    pub production: bool,
    /// After whom the branch of a flow with `@project` is named when neither a branch nor `production` is
    /// given. Metaflow takes `METAFLOW_OWNER`, else the user; see [`Options::of_environment`].
    pub owner: Option<String>,
    /// `METAFLOW_USER` of its tasks.
    pub user: Option<String>,
    /// `--with`, in Metaflow's spelling: `retry:times=2`.
    pub with: Vec<String>,
    /// How runs of the flow relate to each other. `None`: up to 16 at once, as Metaflow's own schedulers
    /// let runs overlap.
    pub strategy: Option<Strategy>,
    /// `--tag` of every run.
    pub tags: Vec<String>,
    /// `--namespace`.
    pub namespace: Option<String>,
    /// The interpreter of its tasks.
    pub python: Option<String>,
    pub storage: Option<Storage>,
    /// `--environment`: `conda`, `pypi` or `uv`.
    pub environment: Option<String>,
    /// `local`: every step is a process on this machine, and `@batch` has no effect. `batch`: steps with `@batch` are
    /// jobs. `step_functions`: the whole run is an execution, its steps jobs with or without `@batch`.
    #[serde(skip_serializing_if = "is_local")]
    pub executor: ExecutorKind,
}

/// Versions of flows that run here are what they always were.
fn is_local(executor: &ExecutorKind) -> bool {
    *executor == ExecutorKind::Local
}

impl Options {
    /// With the owner that Metaflow would take in this process's environment.
    pub fn of_environment() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|it| !it.is_empty());
        let user = ["METAFLOW_USER", "SUDO_USER", "USERNAME", "USER"];
        let user = || user.iter().filter_map(|it| set(it)).find(|it| it != "root");
        Self {
            owner: set("METAFLOW_OWNER").or_else(user),
            ..Self::default()
        }
    }
}
