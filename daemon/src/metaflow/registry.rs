//! Who knows all Metaflow flows of this daemon.

use super::beside::{self, Beside};
use super::notes::Notes;
use super::version::{Versioned, versioned};
use super::{deployment, probe};
use crate::config::{Metaflow as Settings, Probe};
use crate::elsewhere;
use crate::untold::{self, Places};
use dalsegno_engine::{AskError, Code as ProblemCode, EngineHandle, Problem};
use dalsegno_executor::{Interpreter, Interpreters, LocalExecutor, MetaflowConfig, Snapshots};
use dalsegno_executor_aws::AwsConfig;
use dalsegno_flowfile::FlowFile;
use dalsegno_flowfile::metaflow::Options;
use dalsegno_scheduler::metaflow::MetaflowFlow;
use dalsegno_scheduler::row::FlowRow;
use dalsegno_scheduler::{Answer, ExecutorKind, Flow, FlowName, Input};
use dalsegno_web::{About, Deployed, Deployment, Later, MetaflowFlows};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::{info, warn};

/// Registers Metaflow flows, has them probed, and remembers what is in no row. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Registry(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) engine: EngineHandle,
    pub(super) executor: Arc<LocalExecutor>,
    pub(super) settings: Settings,
    pub(super) config: MetaflowConfig,
    /// Where steps run elsewhere.
    aws: Option<AwsConfig>,
    /// Where alerts can go.
    places: Places,
    /// What names of executions begin with.
    pub(super) executions: Option<String>,
    pub(super) snapshots: Snapshots,
    pub(super) notes: Notes,
    /// Files that are being probed or were probed in vain, and as which version: they are not probed again.
    pub(super) probed: Mutex<BTreeMap<PathBuf, probe::Tried>>,
    /// Answers of probes that were used or made since the start.
    pub(super) kept: Mutex<BTreeSet<PathBuf>>,
    pub(super) beside: Beside,
    /// What was said of interpreters since something was saved: many flows share one, and its fault is told once.
    said: Mutex<BTreeSet<String>>,
}

/// Whether a flow came over HTTP: its file is then named `HOST:PATH`, where flows of the folder have a path.
pub(crate) fn is_deployed(row: &FlowRow) -> bool {
    // What a deployment says of its host is no beginning of a path, see `checked`.
    !row.file.starts_with('/')
}

impl Registry {
    pub(crate) fn new(
        engine: EngineHandle,
        executor: Arc<LocalExecutor>,
        settings: Settings,
        config: MetaflowConfig,
        aws: Option<AwsConfig>,
        places: Places,
        executions: Option<String>,
    ) -> Self {
        let snapshots = Snapshots::new(executor.layout().code_dir());
        Self(Arc::new(Inner {
            engine,
            executor,
            settings,
            config,
            aws,
            places,
            executions,
            snapshots,
            notes: Notes::default(),
            probed: Mutex::default(),
            kept: Mutex::default(),
            beside: Beside::default(),
            said: Mutex::default(),
        }))
    }

    /// Why a flow cannot be as it asks for with this configuration; what is only worth a look goes to the log.
    pub(crate) fn obstacle(&self, flow: &Flow) -> Option<String> {
        let told = elsewhere::told(flow, self.0.aws.as_ref()).into_iter();
        let told = told.chain(untold::told(flow, &self.0.places));
        let (errors, warnings): (Vec<_>, Vec<_>) = told.partition(|it| it.is_error);
        for it in warnings {
            warn!("{}; {}", it.message, it.help);
        }
        let lines = errors
            .iter()
            .map(|it| format!("{}; {}", it.message, it.help));
        let lines: Vec<String> = lines.collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    /// How flow files of the folder are read before it is known which flow is in them.
    pub(crate) fn options(&self) -> Options {
        options(&self.0.settings, &self.0.config)
    }

    /// The same file, read again where the configuration says something of its flow.
    pub(crate) fn own(&self, path: &Path, file: FlowFile) -> FlowFile {
        own(&self.0.settings, &self.0.config, path, file)
    }

    /// Pins a file of the folder to its code and gives it to the engine; what takes time goes on in the background.
    ///
    /// # Errors
    /// What stands in its way, for people.
    pub(crate) async fn register(
        &self,
        path: &Path,
        file: FlowFile,
    ) -> Result<(FlowName, bool), String> {
        let probed = self.0.settings.probe == Probe::Auto;
        let needs_probe = probed && file.metaflow.as_ref().is_some_and(|it| it.needs_probe);
        self.0.beside.add(path, beside::named_in(path, &file));
        let known = match needs_probe {
            true => probe::known(&self.0, path, &file),
            false => None,
        };
        let (file, dump_known) = match known {
            Some(merged) => (merged, true),
            None => (file, false),
        };
        let flow = file.flow.name().clone();
        self.0.refuse_deployed(&flow, path)?;
        self.0.lead_somewhere(&file.flow)?;
        let failed = match needs_probe && !dump_known {
            true => probe::failed(&self.0, path, &file),
            false => None,
        };
        let probes = needs_probe && !dump_known && failed.as_ref().is_none_or(|(_, again)| *again);
        let failed = failed.map(|(reason, _)| reason);
        if probes && failed.is_none() {
            self.0
                .notes
                .change(&flow, |it| it.doing = Some(probe::DOING.into()));
        }
        let versioned = self.0.pinned(path, &file, failed.as_deref()).await?;
        let created = self
            .0
            .deploy(&versioned, path.display().to_string())
            .await?;
        let warnings = probe::told(&file);
        self.0.notes.change(&flow, |it| it.warnings = warnings);
        self.look_for_interpreter(&flow, path, &file);
        if probes {
            probe::begin(self, path, file);
        }
        Ok((flow, created))
    }

    /// After something was saved: environments that could not be made are tried again at once.
    pub(crate) fn try_again(&self) {
        self.0.interpreters().try_again();
        self.0.said().clear();
    }

    /// Whether a change of this file, which is no flow file, may change a flow.
    pub(crate) fn concerns(&self, path: &Path) -> bool {
        self.0.beside.concerns(path)
    }

    /// Folders of such files; some may lie elsewhere than in the flows folder.
    pub(crate) fn folders_beside(&self) -> BTreeSet<PathBuf> {
        self.0.beside.folders()
    }

    /// Until there are more such files than before.
    pub(crate) async fn more_beside(&self) {
        self.0.beside.grown().await;
    }

    /// After the folder was read once: what was kept of flow files as they are no more is removed.
    pub(crate) async fn forget_the_past(&self) {
        let inner = self.0.clone();
        // It disturbs nobody if that fails.
        let _ = tokio::task::spawn_blocking(move || probe::forget(&inner)).await;
    }

    /// So that an environment is made before the first run wants it.
    fn look_for_interpreter(&self, flow: &FlowName, path: &Path, file: &FlowFile) {
        let named = file
            .flow
            .spec()
            .metaflow
            .as_ref()
            .and_then(|it| it.python.clone());
        let (inner, flow, path) = (self.0.clone(), flow.clone(), path.to_owned());
        tokio::spawn(async move {
            // What comes of it is noted.
            let _ = inner.interpreter(&flow, &path, named.as_deref()).await;
        });
    }
}

impl Inner {
    pub(super) fn interpreters(&self) -> &Interpreters {
        self.executor.interpreters()
    }

    /// The interpreter of a flow; what came of the search is noted.
    pub(super) async fn interpreter(
        &self,
        flow: &FlowName,
        file: &Path,
        named: Option<&str>,
    ) -> Result<Interpreter, String> {
        let mut lines = self.interpreters().progress();
        let search = self.interpreters().resolve(file, named);
        tokio::pin!(search);
        let found = loop {
            tokio::select! {
                found = &mut search => break found,
                Ok(line) = lines.recv() => {
                    self.notes.change(flow, |it| it.no_interpreter = Some(format!("An environment is being made: {line}")));
                }
            }
        };
        match found {
            Ok(found) => {
                let told = format!(
                    "{} (Python {}, Metaflow {})",
                    found.python.display(),
                    found.python_version,
                    found.metaflow_version
                );
                if let Some(warning) = &found.warning {
                    self.say_once(flow, warning);
                }
                self.notes.change(flow, |it| {
                    it.python = Some(found.python.clone());
                    it.instead.clone_from(&found.warning);
                    it.interpreter = Some(told);
                    it.no_interpreter = None;
                });
                Ok(found)
            }
            Err(message) => {
                self.say_once(flow, &message);
                self.notes.change(flow, |it| {
                    it.python = None;
                    it.instead = None;
                    it.interpreter = None;
                    it.no_interpreter = Some(message.clone());
                });
                Err(message)
            }
        }
    }

    fn say_once(&self, flow: &FlowName, message: &str) {
        if self.said().insert(message.to_owned()) {
            warn!("the interpreter of flow {flow}, and of all flows that share it: {message}");
        }
    }

    fn said(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A snapshot of the code of a file, and the flow with it.
    pub(super) async fn pinned(
        &self,
        path: &Path,
        file: &FlowFile,
        failed: Option<&str>,
    ) -> Result<Versioned, String> {
        let (snapshots, place) = (self.snapshots.clone(), path.to_owned());
        let closure = file.metaflow.as_ref().map(|it| it.closure.clone());
        let code = tokio::task::spawn_blocking(move || {
            snapshots.snapshot(&place, &closure.unwrap_or_default())
        });
        let code = code.await.map_err(|error| error.to_string())?;
        let code =
            code.map_err(|error| format!("{}: its code cannot be kept: {error}", path.display()))?;
        versioned(file, code, failed, self.executions.as_deref())
    }

    /// Gives a flow to the engine.
    pub(super) async fn deploy(&self, versioned: &Versioned, file: String) -> Result<bool, String> {
        self.ask_deploy(versioned, file)
            .await
            .map_err(|error| error.to_string())
    }

    pub(super) async fn ask_deploy(
        &self,
        versioned: &Versioned,
        file: String,
    ) -> Result<bool, AskError> {
        let input = Input::Deploy {
            flow: versioned.flow.clone(),
            version: versioned.version.clone(),
            source: versioned.source.clone(),
            file,
        };
        match self.engine.ask(input).await? {
            Answer::Deployed { created, .. } => Ok(created),
            _ => Ok(false),
        }
    }

    /// Rules of a flow that lead nowhere are refused, or told where nothing is configured at all.
    pub(super) fn lead_somewhere(&self, flow: &Flow) -> Result<(), String> {
        let told = untold::told(flow, &self.places);
        let lines: Vec<String> = told
            .iter()
            .map(|it| format!("{}; {}", it.message, it.help))
            .collect();
        match told.iter().any(|it| it.is_error) {
            true => Err(lines.join("\n")),
            false => {
                lines.iter().for_each(|it| warn!("{it}"));
                Ok(())
            }
        }
    }

    /// A flow that came over HTTP is not pushed aside by a file.
    fn refuse_deployed(&self, flow: &FlowName, path: &Path) -> Result<(), String> {
        let view = self.engine.view();
        match view.flow(flow.as_str()).map(|it| &it.row) {
            Some(row) if !row.removed && is_deployed(row) => Err(format!(
                "{}: a flow `{flow}` was deployed over HTTP, from {}; remove that (DELETE /api/v1/flows/{flow}, or \
                 `python {} dalsegno delete`), or take this file out of the folder",
                path.display(),
                row.file,
                path.file_name().unwrap_or_default().to_string_lossy()
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn kept(&self) -> std::sync::MutexGuard<'_, BTreeSet<PathBuf>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tried(&self) -> std::sync::MutexGuard<'_, BTreeMap<PathBuf, probe::Tried>> {
        self.probed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An environment's folder stands for its interpreter.
pub(super) fn interpreter_in(python: &Path) -> String {
    let python = match python.is_dir() {
        true => python.join("bin/python"),
        false => python.to_owned(),
    };
    python.display().to_string()
}

/// What the configuration says of all flow files.
pub(crate) fn options(settings: &Settings, config: &MetaflowConfig) -> Options {
    let of_environment = Options::of_environment();
    Options {
        branch: settings.branch.clone(),
        production: settings.production,
        owner: std::env::var("METAFLOW_OWNER")
            .ok()
            .filter(|it| !it.is_empty())
            .or_else(|| Some(config.user())),
        user: settings.user.clone(),
        with: settings.with.clone(),
        strategy: settings.strategy,
        executor: match settings.executor {
            Some(executor) => executor,
            None if settings.has_queues && config.storage().datastore == "s3" => {
                ExecutorKind::Batch
            }
            None => ExecutorKind::Local,
        },
        ..of_environment
    }
}

/// The same for one flow.
pub(crate) fn options_of(settings: &Settings, config: &MetaflowConfig, file: &FlowFile) -> Options {
    let mut options = options(settings, config);
    if let Some(metaflow) = &file.flow.spec().metaflow {
        let own = settings.of(file.flow.name().as_str(), &metaflow.class);
        options.strategy = own.strategy.or(options.strategy);
        options.python = own.python.as_deref().map(interpreter_in);
        options.with.extend(own.with);
    }
    options
}

/// A file read again where the configuration says something of its flow.
pub(crate) fn own(
    settings: &Settings,
    config: &MetaflowConfig,
    path: &Path,
    file: FlowFile,
) -> FlowFile {
    let own = options_of(settings, config, &file);
    if own == options(settings, config) || file.metaflow.is_none() {
        return file;
    }
    // It could be read a moment ago; should it have changed since, the next change tells.
    dalsegno_flowfile::read_with(path, &own).unwrap_or(file)
}

/// Why a flow cannot be started at all. `is_probed`: Metaflow is being asked.
fn held(flow: &MetaflowFlow, is_probed: bool, probe: Probe) -> Option<String> {
    let about = |what: &str| flow.dynamic.iter().find(|it| it.what.starts_with(what));
    let until = match (is_probed, probe) {
        (true, _) => "Metaflow is being asked; try again in a moment",
        (false, Probe::Auto) => {
            "Metaflow has to be asked, and that has failed; the flow's page says why"
        }
        (false, Probe::Never) => {
            "Metaflow has to be asked, and `probe = \"never\"` in [metaflow] of dalsegno.toml forbids that"
        }
    };
    match (about("the steps"), about("Config ")) {
        (Some(it), _) => Some(format!("its steps are not known ({}); {until}", it.reason)),
        (None, Some(_)) if is_probed => {
            Some(format!("it has configs that are not known yet; {until}"))
        }
        _ => None,
    }
}

impl MetaflowFlows for Registry {
    fn deploy(&self, deployment: Deployment) -> Later<Deployed> {
        let registry = self.clone();
        Box::pin(async move { deployment::deploy(&registry, deployment).await })
    }

    fn remove(&self, flow: FlowName) -> Later<()> {
        let engine = self.0.engine.clone();
        Box::pin(async move {
            let row = engine.view().flow(flow.as_str()).map(|it| it.row.clone());
            if let Some(row) = row.filter(|it| !it.removed && !is_deployed(it)) {
                let detail = format!("flow {flow} lies in the flows folder, in {}", row.file);
                return Err(Problem::new(ProblemCode::FlowInFolder, detail).with("file", row.file));
            }
            engine.ask(Input::Remove { flow: flow.clone() }).await?;
            info!("flow {flow} is off: its deployment was removed");
            Ok(())
        })
    }

    fn read(&self, file: &str, text: &str) -> Result<Arc<Flow>, Problem> {
        // Whatever folder it has on the machine that asks: here it would lie in this one.
        let name = Path::new(file).file_name().unwrap_or_default();
        let path = self.0.config.flows_dir.join(name);
        let is_python = path.extension().is_some_and(|it| it == "py");
        let read = match is_python {
            true => dalsegno_flowfile::metaflow::read_text(&path, text, &self.options()),
            false => {
                let name = name.to_string_lossy();
                dalsegno_flowfile::parse_in(&self.0.config.flows_dir, &name, text)
            }
        };
        let machines = &dalsegno_scheduler::instances::INSTANCES;
        read.and_then(|mut it| {
            dalsegno_flowfile::preflight(&name.to_string_lossy(), &mut it, machines)?;
            Ok(it.flow)
        })
        .map_err(|found| deployment::refused(&found))
    }

    fn about(&self, row: &FlowRow, flow: &MetaflowFlow) -> About {
        let note = self.0.notes.of(&row.name);
        let gone = note.python.as_deref().filter(|it| !it.exists()).map(|it| {
            format!(
                "Its interpreter {} is gone; put it back, or save the flow file to have another one looked for.",
                it.display()
            )
        });
        // A task may have found another one since.
        let known = self
            .0
            .interpreters()
            .known(Path::new(&row.file), flow.python.as_deref());
        let instead = known.map_or(note.instead, |it| it.warning);
        About {
            python: note.interpreter.or_else(|| flow.python.clone()),
            storage: Some(
                flow.storage
                    .clone()
                    .unwrap_or_else(|| self.0.config.storage()),
            ),
            held: held(flow, note.doing.is_some(), self.0.settings.probe),
            progress: note.doing.or(note.no_interpreter).or(gone),
            warnings: instead.into_iter().chain(note.warnings).collect(),
            deployed_from: is_deployed(row).then(|| row.file.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn flow(what: &str) -> MetaflowFlow {
        serde_json::from_value(json!({
            "class": "Train", "start": "start", "end": "end",
            "dynamic": [{"what": what, "reason": "it is read when the flow is deployed", "line": 3}],
        }))
        .expect("a flow")
    }

    #[test]
    fn only_what_every_run_needs_holds_a_flow_back() {
        let told = |what: &str, is_probed, probe| held(&flow(what), is_probed, probe);
        assert_eq!(told("@schedule(cron=…)", true, Probe::Auto), None);
        let config = told("Config `cfg`", true, Probe::Auto).expect("held");
        assert!(config.contains("try again in a moment"), "{config}");
        assert_eq!(
            told("Config `cfg`", false, Probe::Auto),
            None,
            "its own defaults count"
        );
        let steps = told("the steps", false, Probe::Auto).expect("held");
        assert!(steps.contains("that has failed"), "{steps}");
        let never = told("the steps", false, Probe::Never).expect("held");
        assert!(never.contains("forbids that"), "{never}");
    }

    #[test]
    fn what_is_said_of_one_flow_is_added_to_what_is_said_of_all() {
        let text = "from metaflow import FlowSpec, step\n\n\nclass Train(FlowSpec):\n    @step\n    def start(self):\n        \
                    self.next(self.end)\n\n    @step\n    def end(self):\n        pass\n\n\nif __name__ == \"__main__\":\n    Train()\n";
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("train.py");
        std::fs::write(&path, text).expect("the folder can be written to");
        let mut settings = Settings {
            with: vec!["retry:times=1".into()],
            ..Settings::default()
        };
        let config = MetaflowConfig::default();
        let read = |settings: &Settings| {
            let file = dalsegno_flowfile::read_with(&path, &options(settings, &config));
            let file = own(settings, &config, &path, file.expect("a valid flow"));
            let spec = file.flow.spec().clone();
            (
                spec.metaflow.expect("a Metaflow flow"),
                spec.run.strategy,
                file,
            )
        };
        let (metaflow, ..) = read(&settings);
        assert_eq!(
            (metaflow.with.as_slice(), metaflow.python),
            (&["retry:times=1".to_owned()][..], None)
        );
        let of_flow = crate::config::OfFlow {
            python: Some("/opt/bin/python".into()),
            strategy: Some(dalsegno_scheduler::spec::Strategy::LastOnly),
            with: vec!["timeout:minutes=5".into()],
        };
        settings.flows.insert("Train".into(), of_flow);
        let (metaflow, strategy, file) = read(&settings);
        assert_eq!(metaflow.with, ["retry:times=1", "timeout:minutes=5"]);
        assert_eq!(metaflow.python.as_deref(), Some("/opt/bin/python"));
        assert_eq!(strategy, dalsegno_scheduler::spec::Strategy::LastOnly);
        assert_eq!(
            options_of(&settings, &config, &file).with,
            metaflow.with,
            "a probe is asked the same"
        );
    }
}
