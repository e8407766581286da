//! Configuration: `dalsegno.toml`, then the environment, then the command line; the last word counts.

mod alerts;
mod aws;
mod metaflow;
mod outside;
mod sources;

#[cfg(test)]
pub(crate) use metaflow::OfFlow;
pub(crate) use metaflow::{Metaflow, Probe, is_decorator, strategy};
pub(crate) use sources::SourcesConfig;

use crate::cli::UpArgs;
use crate::untold::Places;
use anyhow::{Context, bail};
use dalsegno_alerts::AlertsConfig;
use dalsegno_executor_aws::AwsConfig;
use dalsegno_scheduler::failure::Rule;
use dalsegno_scheduler::{Config as Core, ExecutorKind, PoolName, Span};
use dalsegno_triggers::lineage::{Emission, EmissionSpec};
use dalsegno_triggers::webhook::{WebhookSpec, Webhooks};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// The file that is read when none is named.
pub(crate) const DEFAULT_FILE: &str = "dalsegno.toml";
pub(crate) const DEFAULT_PORT: u16 = 8320;
pub(crate) const DEFAULT_DATA: &str = ".dalsegno";
/// So many may wait for one limit before anybody is told, unless the configuration says otherwise.
const QUEUE_LONG: usize = 1_000;

/// `dalsegno.toml` as written. Every key may be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// The address to listen on; loopback unless a token is set.
    host: Option<IpAddr>,
    port: Option<u16>,
    /// Where everything lies that is not in the database; relative to the working directory.
    data: Option<PathBuf>,
    /// `postgres://user:password@host/database`; without it SQLite in the data directory.
    database: Option<String>,
    /// Whoever calls API or pages must send it.
    token: Option<String>,
    /// The name under which this instance holds the lease.
    instance: Option<String>,
    /// Tasks that run at the same time.
    max_tasks: Option<u32>,
    /// An occurrence decided later than this counts as a misfire.
    misfire_after_seconds: Option<u32>,
    /// Retries of attempts lost without their own fault.
    lost_retries: Option<u32>,
    /// Retries of failures of other classes.
    network_retries: Option<u32>,
    throttled_retries: Option<u32>,
    capacity_retries: Option<u32>,
    oom_retries: Option<u32>,
    /// Jobs of AWS Batch that live at the same time.
    max_remote_tasks: Option<u32>,
    /// What belongs to which class of failures; before what is built in.
    #[serde(default)]
    rules: Vec<Rule>,
    /// How much of `max_tasks` and of each pool all backfills together may use, in percent.
    backfill_share: Option<u32>,
    /// How long a dead leader keeps its lease (PostgreSQL).
    lease_seconds: Option<u32>,
    #[serde(default)]
    pools: BTreeMap<String, u32>,
    #[serde(default)]
    metaflow: metaflow::Section,
    /// Queues that tell of arrivals.
    #[serde(default)]
    queues: Vec<sources::QueueSection>,
    /// Folders that stand for buckets.
    #[serde(default)]
    directories: Vec<sources::DirectorySection>,
    /// Deliveries of other systems that become events.
    #[serde(default)]
    webhooks: Vec<WebhookSpec>,
    /// Who is told of our runs.
    openlineage: Option<EmissionSpec>,
    /// Where steps run elsewhere.
    aws: Option<aws::Section>,
    /// Where alerts go.
    #[serde(default)]
    channels: BTreeMap<String, dalsegno_alerts::ChannelSpec>,
    /// Which ones.
    #[serde(default)]
    alert_rules: Vec<dalsegno_alerts::RuleSpec>,
    /// More waiting for one limit than this is told as `queue.long`.
    queue_long: Option<usize>,
    /// Who belongs where.
    #[serde(default)]
    owners: BTreeMap<String, dalsegno_alerts::OneOrMore>,
    /// The folder of the file itself.
    #[serde(skip)]
    beside: PathBuf,
}

/// All settings, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) flows_dir: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) database: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) instance: Option<String>,
    pub(crate) lease_ttl: Span,
    pub(crate) core: Core,
    pub(crate) metaflow: Metaflow,
    pub(crate) sources: SourcesConfig,
    pub(crate) webhooks: Webhooks,
    pub(crate) emission: Option<Emission>,
    pub(crate) aws: Option<AwsConfig>,
    pub(crate) alerts: AlertsConfig,
    /// More waiting for one limit than this is a long queue.
    pub(crate) queue_long: usize,
}

/// Reads the named file; without a name the default file, if there is one.
pub(crate) fn read(file: Option<&Path>) -> anyhow::Result<File> {
    let (path, must_exist) = match file {
        Some(path) => (path, true),
        None => (Path::new(DEFAULT_FILE), false),
    };
    if !must_exist && !path.exists() {
        return Ok(File::default());
    }
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    let file: File =
        toml::from_str(&text).with_context(|| format!("{} is not usable", path.display()))?;
    let beside = path.parent().map(Path::to_owned).unwrap_or_default();
    Ok(File { beside, ..file })
}

impl File {
    pub(crate) fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }
    pub(crate) fn data(&self) -> Option<&Path> {
        self.data.as_deref()
    }
}

/// Where alerts can go by the file that lies here; its secrets, which may be out of reach, are not fetched.
pub(crate) fn places() -> Places {
    let Ok(file) = read(None) else {
        // A broken configuration is the daemon's to tell.
        return Places::default();
    };
    let channels = file.channels.iter();
    Places {
        channels: channels
            .map(|(name, it)| (name.clone(), it.kind()))
            .collect(),
        owners: file.owners.keys().cloned().collect(),
        is_configured: Path::new(DEFAULT_FILE).exists(),
    }
}

impl Settings {
    /// Puts file, environment and command line together.
    pub(crate) fn gather(args: &UpArgs) -> anyhow::Result<Self> {
        Self::of_file(args, read(args.config.as_deref())?)
    }

    /// The same for who only wants to know where the daemon is: its secrets, which may be out of reach here, are not
    /// fetched.
    pub(crate) fn without_secrets(args: &UpArgs) -> anyhow::Result<Self> {
        let file = File {
            webhooks: Vec::new(),
            openlineage: None,
            channels: BTreeMap::new(),
            alert_rules: Vec::new(),
            owners: BTreeMap::new(),
            ..read(args.config.as_deref())?
        };
        Self::of_file(args, file)
    }

    fn of_file(args: &UpArgs, file: File) -> anyhow::Result<Self> {
        let token = args.token.clone().or_else(|| file.token.clone());
        let token = token.filter(|it| !it.is_empty());
        let host = match &args.host {
            Some(host) => host.parse().with_context(|| {
                format!("`--host {host}` is not an IP address such as 127.0.0.1 or 0.0.0.0")
            })?,
            None => file.host.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        };
        if !host.is_loopback() && token.is_none() {
            bail!(
                "listening on {host} lets other machines start processes here, so a token is needed: set \
                 DALSEGNO_TOKEN (or `token` in {DEFAULT_FILE}) to a long random text, or leave `--host` out to \
                 listen on this machine only"
            );
        }
        let here = std::env::current_dir().context("cannot tell the working directory")?;
        let beside = here.join(&file.beside);
        let metaflow = metaflow::checked(file.metaflow, &beside)?;
        let sources = sources::checked(file.queues, file.directories, &beside)?;
        let webhooks = outside::webhooks(file.webhooks, &beside)?;
        let emission = outside::emission(file.openlineage, &beside)?;
        let aws = aws::checked(file.aws)?;
        let alerts = alerts::checked(file.channels, file.alert_rules, file.owners, &beside)?;
        if metaflow.executor == Some(ExecutorKind::Batch) && !has_queues(aws.as_ref()) {
            bail!(
                "`metaflow.executor = \"batch\"` in {DEFAULT_FILE} needs `queues` and `s3` under [aws], where jobs go and \
                 what they leave"
            );
        }
        let has_roles = aws
            .as_ref()
            .is_some_and(|it| it.state_machine_role.is_some() && it.job_role.is_some());
        if metaflow.executor == Some(ExecutorKind::StepFunctions)
            && !(has_roles && has_queues(aws.as_ref()))
        {
            bail!(
                "`metaflow.executor = \"step_functions\"` in {DEFAULT_FILE} needs `queues`, `s3`, `state_machine_role` \
                 and `job_role` under [aws], from which Metaflow makes state machines and jobs"
            );
        }
        let port = args.port.or(file.port).unwrap_or(DEFAULT_PORT);
        let defaults = Core::default();
        let cores = std::thread::available_parallelism().map_or(2, |it| it.get() as u32);
        let max_tasks = file
            .max_tasks
            .unwrap_or_else(|| (cores * 4).max(defaults.max_tasks));
        for rule in &file.rules {
            if let Err(problem) = rule.check() {
                bail!("[[rules]] in {DEFAULT_FILE}: {problem}");
            }
        }
        if file.max_remote_tasks == Some(0) {
            bail!("`max_remote_tasks = 0` in {DEFAULT_FILE} would let no job run; give at least 1");
        }
        let mut budgets = defaults.budgets;
        for (own, budget) in [
            (file.network_retries, &mut budgets.network),
            (file.throttled_retries, &mut budgets.throttled),
            (file.capacity_retries, &mut budgets.capacity),
            (file.oom_retries, &mut budgets.oom),
        ] {
            budget.retries = own.unwrap_or(budget.retries);
        }
        if max_tasks == 0 {
            bail!("`max_tasks = 0` in {DEFAULT_FILE} would let nothing run; give at least 1");
        }
        let backfill_share = file.backfill_share.unwrap_or(defaults.backfill_share);
        if !(1..=100).contains(&backfill_share) {
            bail!(
                "`backfill_share = {backfill_share}` in {DEFAULT_FILE} is to be 1 to 100: the part of `max_tasks` \
                 and of each pool, in percent, that backfills may use"
            );
        }
        let database = args.database.clone().or(file.database);
        if let Some(url) = &database
            && !url.starts_with("postgres://")
            && !url.starts_with("postgresql://")
        {
            bail!(
                "the database URL must begin with postgres:// (without one, SQLite in the data directory is used)"
            );
        }
        let seconds = |value: Option<u32>, default: Span| {
            value.map_or(default, |it| Span::from_secs(i64::from(it)))
        };
        // Nobody waits for a lease of SQLite: a lock on the data directory keeps others out.
        let lease = match database {
            Some(_) => Span::from_secs(10),
            None => Span::from_secs(60),
        };
        Ok(Self {
            flows_dir: args.flows_dir.clone(),
            data: args
                .data
                .clone()
                .or(file.data)
                .unwrap_or_else(|| DEFAULT_DATA.into()),
            listen: SocketAddr::new(host, port),
            database,
            token,
            instance: file.instance,
            lease_ttl: seconds(file.lease_seconds.map(|it| it.max(3)), lease),
            metaflow: Metaflow {
                cold: metaflow.cold || args.cold,
                has_queues: has_queues(aws.as_ref()),
                ..metaflow
            },
            sources,
            webhooks,
            emission,
            aws,
            core: Core {
                alert_kinds: alerts::wanted(&alerts),
                max_tasks,
                pools: file
                    .pools
                    .into_iter()
                    .map(|(name, slots)| (PoolName::new(name), slots))
                    .collect(),
                misfire_after: seconds(file.misfire_after_seconds, defaults.misfire_after),
                max_remote_tasks: file.max_remote_tasks.unwrap_or(defaults.max_remote_tasks),
                lost_retries: file.lost_retries.unwrap_or(defaults.lost_retries),
                budgets,
                rules: file.rules,
                backfill_share,
            },
            alerts,
            queue_long: file.queue_long.unwrap_or(QUEUE_LONG),
        })
    }
}

/// Whether jobs of Metaflow's steps have somewhere to go and something to come back through.
fn has_queues(aws: Option<&AwsConfig>) -> bool {
    aws.is_some_and(|it| it.s3.is_some() && !(it.queues.is_empty() && it.gpu_queues.is_empty()))
}
