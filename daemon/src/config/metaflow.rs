//! `[metaflow]` of `dalsegno.toml`: how Metaflow flows are read and run.

use super::DEFAULT_FILE;
use anyhow::{Context, bail};
use dalsegno_executor::metaflow::SpoolLimits;
use dalsegno_scheduler::ExecutorKind;
use dalsegno_scheduler::metaflow::Storage;
use dalsegno_scheduler::spec::Strategy;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A probe starts Python and imports the flow file: seconds where that loads large libraries.
const PROBE_SECONDS: u32 = 60;

/// `[metaflow]` as written. Every key may be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    /// The interpreter of all flows that have no other.
    python: Option<PathBuf>,
    /// Interpreters by folder or file, relative to the flows folder.
    #[serde(default)]
    environments: BTreeMap<PathBuf, PathBuf>,
    /// `local` or `s3`.
    datastore: Option<String>,
    /// The folder that holds Metaflow's data, or an `s3://` URL.
    datastore_root: Option<String>,
    /// `local` or `service`.
    metadata: Option<String>,
    /// Where steps with `@batch` run: `local` or `batch`; or `step_functions`, where all of them do.
    executor: Option<String>,
    /// The DynamoDB table in which Metaflow's state machines keep how many items a foreach has.
    dynamo_table: Option<String>,
    /// `--branch` of flows with `@project`.
    branch: Option<String>,
    /// `--production` of flows with `@project`.
    #[serde(default)]
    production: bool,
    /// `METAFLOW_USER` of tasks.
    user: Option<String>,
    /// `--with` of all flows.
    #[serde(default)]
    with: Vec<String>,
    /// Each task is a process that begins anew.
    #[serde(default)]
    cold: bool,
    /// The run strategy of flows that have no other.
    #[serde(default, deserialize_with = "strategy_or_none")]
    strategy: Option<Strategy>,
    /// `@conda`, `@pypi` and `--environment` are not obeyed.
    #[serde(default)]
    ignore_environments: bool,
    /// What may wait on disk for a metadata service that is down, in MiB of all runs; 0: nothing.
    metadata_spool_mb: Option<u32>,
    /// The same as a count of updates of one run.
    metadata_spool_entries: Option<u32>,
    /// A metadata service that does not answer a task for so long is down.
    metadata_answer_seconds: Option<u32>,
    /// Whether files are run to learn what reading them does not tell.
    #[serde(default)]
    probe: Probe,
    /// How long a probe may take.
    probe_seconds: Option<u32>,
    /// What counts for one flow, by its name or its class.
    #[serde(default)]
    flows: BTreeMap<String, OfFlow>,
}

/// When a flow file is run to learn what reading it does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Probe {
    /// When it says something that only running it can tell.
    #[default]
    Auto,
    Never,
}

/// `[metaflow.flows.NAME]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfFlow {
    pub(crate) python: Option<PathBuf>,
    #[serde(default, deserialize_with = "strategy_or_none")]
    pub(crate) strategy: Option<Strategy>,
    /// In addition to those of all flows.
    #[serde(default)]
    pub(crate) with: Vec<String>,
}

/// The settings of Metaflow flows, checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metaflow {
    pub(crate) python: Option<PathBuf>,
    pub(crate) environments: Vec<(PathBuf, PathBuf)>,
    /// `None`: what Metaflow's own variables in the daemon's environment say.
    pub(crate) storage: Option<Storage>,
    pub(crate) dynamo_table: Option<String>,
    /// Where steps with `@batch` run. `None`: as jobs, if there are queues and the data is in S3.
    pub(crate) executor: Option<ExecutorKind>,
    /// `[aws]` has what jobs need.
    pub(crate) has_queues: bool,
    pub(crate) branch: Option<String>,
    pub(crate) production: bool,
    pub(crate) user: Option<String>,
    pub(crate) with: Vec<String>,
    pub(crate) cold: bool,
    pub(crate) strategy: Option<Strategy>,
    pub(crate) ignore_environments: bool,
    pub(crate) spool: SpoolLimits,
    pub(crate) probe: Probe,
    pub(crate) probe_time: Duration,
    pub(crate) flows: BTreeMap<String, OfFlow>,
}

impl Metaflow {
    /// What is said of one flow, by its name, else by its class.
    pub(crate) fn of(&self, name: &str, class: &str) -> OfFlow {
        let own = self.flows.get(name).or_else(|| self.flows.get(class));
        own.cloned().unwrap_or_default()
    }
}

/// Checks a section; `beside` is the folder of the configuration file, from which its paths are named.
pub(super) fn checked(section: Section, beside: &Path) -> anyhow::Result<Metaflow> {
    let storage = storage(&section, beside)?;
    let executor = match section.executor.as_deref() {
        None => None,
        Some("local") => Some(ExecutorKind::Local),
        Some("batch") => Some(ExecutorKind::Batch),
        Some("step_functions") => Some(ExecutorKind::StepFunctions),
        Some(other) => bail!(
            "`metaflow.executor = \"{other}\"` in {DEFAULT_FILE} must be \"local\", \"batch\" or \"step_functions\""
        ),
    };
    let is_local = storage.as_ref().is_some_and(|it| it.datastore != "s3");
    if executor == Some(ExecutorKind::StepFunctions) && is_local {
        bail!(
            "`metaflow.executor = \"step_functions\"` in {DEFAULT_FILE} needs `datastore = \"s3\"` and \
             `datastore_root = \"s3://bucket/prefix\"` beside it: jobs do not reach this machine's files"
        );
    }
    let full = |path: PathBuf| beside.join(path);
    for (name, what) in [
        (&section.branch, "metaflow.branch"),
        (&section.user, "metaflow.user"),
    ] {
        if let Some(text) = name
            && (text.is_empty()
                || text.contains(|it: char| it.is_whitespace() || "/:,!".contains(it)))
        {
            bail!(
                "`{what} = \"{text}\"` in {DEFAULT_FILE} is not a name Metaflow takes: use letters, digits, `_`, `-` and `.`"
            );
        }
    }
    let lists = section
        .flows
        .iter()
        .map(|(name, it)| (format!("metaflow.flows.{name}.with"), &it.with));
    for (place, with) in lists.chain([("metaflow.with".to_owned(), &section.with)]) {
        if let Some(bad) = with.iter().find(|it| !is_decorator(it)) {
            bail!(
                "`{bad}` of `{place}` in {DEFAULT_FILE} is not a decorator as Metaflow's --with takes it, such as \
                 \"retry\" or \"retry:times=2,minutes_between_retries=0\""
            );
        }
    }
    let seconds = section.probe_seconds.unwrap_or(PROBE_SECONDS);
    if !(1..=3_600).contains(&seconds) {
        bail!("`metaflow.probe_seconds = {seconds}` in {DEFAULT_FILE} must be from 1 to 3600");
    }
    let spool = spool(&section)?;
    let flows = section.flows.into_iter().map(|(name, it)| {
        let python = it.python.map(full);
        (name, OfFlow { python, ..it })
    });
    Ok(Metaflow {
        python: section.python.map(full),
        environments: section
            .environments
            .into_iter()
            .map(|(folder, python)| (folder, full(python)))
            .collect(),
        storage,
        executor,
        dynamo_table: section.dynamo_table,
        has_queues: false,
        branch: section.branch,
        production: section.production,
        user: section.user,
        with: section.with,
        cold: section.cold,
        strategy: section.strategy,
        ignore_environments: section.ignore_environments,
        spool,
        probe: section.probe,
        probe_time: Duration::from_secs(u64::from(seconds)),
        flows: flows.collect(),
    })
}

fn spool(section: &Section) -> anyhow::Result<SpoolLimits> {
    let unset = SpoolLimits::default();
    let within = |name: &str, value: Option<u32>, default: u64, least: u32, most: u32| match value {
        None => Ok(default),
        Some(value) if (least..=most).contains(&value) => Ok(u64::from(value)),
        Some(value) => {
            bail!("`metaflow.{name} = {value}` in {DEFAULT_FILE} must be from {least} to {most}")
        }
    };
    let (mb, entries, seconds) = (
        section.metadata_spool_mb,
        section.metadata_spool_entries,
        section.metadata_answer_seconds,
    );
    let answer = u64::from(unset.answer_seconds);
    let answer = within("metadata_answer_seconds", seconds, answer, 1, 600)?;
    Ok(SpoolLimits {
        bytes: within("metadata_spool_mb", mb, unset.bytes >> 20, 0, 1_000_000)? << 20,
        entries: within(
            "metadata_spool_entries",
            entries,
            unset.entries,
            1,
            10_000_000,
        )?,
        answer_seconds: u32::try_from(answer).expect("at most 600"),
    })
}

/// `retry`, `retry:times=2,…`: a name, and what follows a colon. A comma may belong to a value.
pub(crate) fn is_decorator(text: &str) -> bool {
    let (name, rest) = text
        .split_once(':')
        .map_or((text, None), |(name, rest)| (name, Some(rest)));
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || it == b'_' || it == b'.');
    let has_key = |text: &str| {
        let key = text.split_once('=').map(|(key, _)| key.trim());
        key.is_some_and(|it| {
            !it.is_empty()
                && it
                    .bytes()
                    .all(|it| it.is_ascii_alphanumeric() || it == b'_')
        })
    };
    is_name && rest.is_none_or(has_key)
}

fn storage(section: &Section, beside: &Path) -> anyhow::Result<Option<Storage>> {
    let metadata = section.metadata.as_deref();
    if let Some(other) = metadata.filter(|it| !matches!(*it, "local" | "service")) {
        bail!(
            "`metaflow.metadata = \"{other}\"` in {DEFAULT_FILE} must be \"local\" or \"service\""
        );
    }
    let (datastore, root) = match (
        section.datastore.as_deref(),
        section.datastore_root.as_deref(),
    ) {
        (None, None) if metadata.is_none() => return Ok(None),
        (None, None) => bail!(
            "`metaflow.metadata` in {DEFAULT_FILE} needs `metaflow.datastore` and `metaflow.datastore_root` beside it"
        ),
        (None, Some(root)) if root.starts_with("s3://") => ("s3", root),
        (None | Some("local"), Some(root)) => ("local", root),
        (Some("s3"), Some(root)) => ("s3", root),
        (Some("local"), None) => ("local", ".metaflow"),
        (Some("s3"), None) => bail!(
            "`metaflow.datastore = \"s3\"` in {DEFAULT_FILE} needs `datastore_root = \"s3://bucket/prefix\"` beside it"
        ),
        (Some(other), _) => bail!(
            "`metaflow.datastore = \"{other}\"` in {DEFAULT_FILE} must be \"local\" or \"s3\""
        ),
    };
    let is_url = root.starts_with("s3://");
    let root = match (datastore, is_url) {
        ("s3", true) => root.trim_end_matches('/').to_owned(),
        ("s3", false) => {
            bail!("`metaflow.datastore_root = \"{root}\"` in {DEFAULT_FILE} must begin with s3://")
        }
        (_, true) => bail!(
            "`metaflow.datastore_root = \"{root}\"` in {DEFAULT_FILE} is a URL; set `datastore = \"s3\"` too"
        ),
        (_, false) => {
            let root = std::path::absolute(beside.join(root)).with_context(|| {
                format!("`metaflow.datastore_root = \"{root}\"` in {DEFAULT_FILE}")
            })?;
            // Metaflow itself looks for data in a folder of this name.
            let root = match root.ends_with(".metaflow") {
                true => root,
                false => root.join(".metaflow"),
            };
            root.display().to_string()
        }
    };
    Ok(Some(Storage {
        datastore: datastore.to_owned(),
        root,
        metadata: metadata.unwrap_or("local").to_owned(),
    }))
}

/// A run strategy in words: `sequential`, `parallel(4)`.
///
/// # Errors
/// With the words there are.
pub(crate) fn strategy(text: &str) -> Result<Strategy, String> {
    let text = text.trim();
    let count = text.strip_prefix("parallel").map(|it| {
        let digits = it
            .trim()
            .trim_start_matches([':', '=', '('])
            .trim_end_matches(')');
        digits.trim().parse::<u32>().ok().filter(|it| *it > 0)
    });
    match (text, count) {
        ("sequential", _) => Ok(Strategy::Sequential),
        ("strict_sequential", _) => Ok(Strategy::StrictSequential),
        ("first_only", _) => Ok(Strategy::FirstOnly),
        ("last_only", _) => Ok(Strategy::LastOnly),
        ("serial_latest_only", _) => Ok(Strategy::SerialLatestOnly),
        (_, Some(Some(most))) => Ok(Strategy::Parallel(most)),
        _ => Err(format!(
            "`{text}` is not a run strategy; there are sequential, strict_sequential, first_only, last_only, \
             serial_latest_only and parallel(N)"
        )),
    }
}

fn strategy_or_none<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Strategy>, D::Error> {
    /// As flow files write it, or in words.
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Words(String),
        Table(Parallel),
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Parallel {
        parallel: u32,
    }
    let expected = || {
        serde::de::Error::custom(
            "a run strategy is \"sequential\", \"parallel(4)\" or { parallel = 4 }",
        )
    };
    match Written::deserialize(deserializer).map_err(|_| expected())? {
        Written::Words(text) => strategy(&text).map(Some).map_err(serde::de::Error::custom),
        Written::Table(Parallel { parallel: 0 }) => Err(expected()),
        Written::Table(it) => Ok(Some(Strategy::Parallel(it.parallel))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Metaflow, String> {
        let section = toml::from_str(text).map_err(|it| it.message().to_owned())?;
        checked(section, Path::new("/srv")).map_err(|it| format!("{it:#}"))
    }

    #[test]
    fn every_key_is_taken_and_paths_begin_beside_the_file() {
        let text = r#"
            python = "venv/bin/python"
            environments = { "teams/ml" = "/opt/ml/bin/python" }
            datastore_root = "data"
            branch = "staging"
            user = "ada"
            with = ["retry:times=2,minutes_between_retries=0", "card"]
            cold = true
            strategy = { parallel = 4 }
            probe = "never"
            probe_seconds = 5
            metadata_spool_mb = 2
            metadata_answer_seconds = 3
            flows.Train = { python = "ml/bin/python", strategy = "last_only", with = ["timeout:minutes=5"] }
        "#;
        let settings = read(text).expect("valid");
        assert_eq!(settings.python, Some("/srv/venv/bin/python".into()));
        let environment = ("teams/ml".into(), "/opt/ml/bin/python".into());
        assert_eq!(settings.environments, [environment]);
        let storage = settings.storage.as_ref().expect("a storage");
        assert_eq!(
            (
                storage.datastore.as_str(),
                storage.root.as_str(),
                storage.metadata.as_str()
            ),
            ("local", "/srv/data/.metaflow", "local")
        );
        assert_eq!(settings.strategy, Some(Strategy::Parallel(4)));
        assert_eq!(
            (settings.probe, settings.probe_time),
            (Probe::Never, Duration::from_secs(5))
        );
        let spool = settings.spool;
        assert_eq!(
            (spool.bytes, spool.entries, spool.answer_seconds),
            (2 << 20, 100_000, 3)
        );
        let own = settings.of("ml.user.ada.Train", "Train");
        assert_eq!(own.python, Some("/srv/ml/bin/python".into()));
        assert_eq!(own.strategy, Some(Strategy::LastOnly));
        assert_eq!(settings.of("Other", "Other"), OfFlow::default());
        assert!(
            read("").expect("valid").storage.is_none(),
            "Metaflow's own variables count"
        );
    }

    #[test]
    fn what_cannot_be_meant_is_told_with_the_cure() {
        for (text, expected) in [
            (
                "datastore = 's3'",
                "needs `datastore_root = \"s3://bucket/prefix\"`",
            ),
            ("datastore = 'gs'", "must be \"local\" or \"s3\""),
            (
                "datastore = 's3'\ndatastore_root = '/data'",
                "must begin with s3://",
            ),
            (
                "datastore = 'local'\ndatastore_root = 's3://b'",
                "set `datastore = \"s3\"` too",
            ),
            ("metadata = 'file'", "must be \"local\" or \"service\""),
            ("metadata = 'service'", "needs `metaflow.datastore`"),
            ("branch = 'a/b'", "not a name Metaflow takes"),
            (
                "with = ['@retry']",
                "not a decorator as Metaflow's --with takes it",
            ),
            (
                "flows.F.with = ['retry:2']",
                "`retry:2` of `metaflow.flows.F.with`",
            ),
            ("probe_seconds = 0", "must be from 1 to 3600"),
            ("metadata_spool_entries = 0", "must be from 1 to 10000000"),
            ("metadata_answer_seconds = 601", "must be from 1 to 600"),
            ("probe = 'maybe'", "unknown variant `maybe`"),
            ("strategy = 'parallel'", "not a run strategy"),
            ("strategy = { parallel = 0 }", "a run strategy is"),
            ("pyhton = 'x'", "unknown field `pyhton`"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn strategies_are_told_in_several_ways() {
        for text in ["parallel(4)", "parallel: 4", "parallel=4", "parallel 4"] {
            assert_eq!(strategy(text), Ok(Strategy::Parallel(4)), "{text}");
        }
        assert_eq!(strategy("first_only"), Ok(Strategy::FirstOnly));
    }
}
