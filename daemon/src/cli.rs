//! The command line: every command, option and exit code.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// What is printed below the help of the whole program.
const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    what was asked about has failed: the run failed, `check` found errors, `doctor` found a fault
  2    the command line is not understood
  3    not found: no such flow, run, task or event
  4    refused: wrong parameters, the flow's strategy, a conflict, a missing token
  5    no daemon answers
  6    something broke: storage, the daemon, the network
  130  interrupted";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "dalsegno",
    version,
    about = "Plays the score: an event-driven workflow scheduler",
    after_help = EXIT_CODES,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The daemon to talk to [default: the port of dalsegno.toml here, else http://127.0.0.1:8320]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "DALSEGNO_SERVER",
        hide_env_values = true
    )]
    pub(crate) server: Option<String>,
    /// The daemon's token, if it has one; better given by the environment, which other users cannot read
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "DALSEGNO_TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,
    /// When to use colours: auto, always or never; auto means on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = Color::Auto, hide_possible_values = true)]
    pub(crate) color: Color,
}

/// When output has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the daemon: load the flow files, run what is due, serve page and API
    Up(UpArgs),
    /// Check flow files; needs neither a daemon nor Python
    Check(CheckArgs),
    /// Start a run
    Run(RunArgs),
    /// List runs, newest first
    Runs(RunsArgs),
    /// Show a run: its steps, how long they took, why they ended as they did
    Show(ShowArgs),
    /// Print what the tasks of a run wrote
    Logs(LogsArgs),
    /// List flows, or show one
    Flows(FlowsArgs),
    /// Show what runs next
    Next(NextArgs),
    /// Play the coming days: waits, ends, broken promises, full pools; needs no daemon and starts nothing
    Simulate(SimulateArgs),
    /// Explain why a flow does not run, or why a run stands as it does
    Why(WhyArgs),
    /// List when a flow ought to have run, and what came of it
    Occurrences(OccurrencesArgs),
    /// Stop a run
    Cancel(CancelArgs),
    /// Go on with a run that has failed; what was finished is kept
    Resume(ResumeArgs),
    /// Pause a flow: until it is unpaused no schedule and no trigger starts it
    Pause(PauseArgs),
    /// Let schedules and triggers start a paused flow again
    Unpause(UnpauseArgs),
    /// Send events, and look at those that came
    #[command(subcommand)]
    Events(EventsCommand),
    /// Run past intervals of a flow: plan first, then apply
    #[command(subcommand)]
    Backfill(BackfillCommand),
    /// Show where events come from: queues, watched folders, webhooks, and how they are
    Sources(SourcesArgs),
    /// List promises about time: what is due when, at risk, missed
    Slas(SlasArgs),
    /// Say that you have seen that promises of a flow are at risk or missed
    Ack(AckArgs),
    /// Have nobody told for a while that promises are at risk or missed
    Silence(SilenceArgs),
    /// List silences, or end one early
    Silences(SilencesArgs),
    /// List alerts, or look at where they go and what became of them
    Alerts(AlertsArgs),
    /// Show the circuit breakers of the services that are asked, or set one by hand
    Breakers(BreakersArgs),
    /// Jobs on AWS that carry this installation's name and that no task wants
    #[command(subcommand)]
    Orphans(OrphansCommand),
    /// Become the Python of Metaflow flows, with their data where Metaflow's client looks
    Python(PythonArgs),
    /// Bring a database up to this version's schema
    Migrate(MigrateArgs),
    /// Look at everything Dalsegno needs, and say what to do where something is amiss
    Doctor(DoctorArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Keep local attempts; started by the daemon
    #[command(hide = true)]
    Keeper(KeeperArgs),
    /// Become a program that may write to one folder only; a flow file is asked in it
    #[command(hide = true)]
    Sandbox(SandboxArgs),
}

/// `dalsegno up`
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
The page is then at http://127.0.0.1:8320. Ctrl-C stops the daemon; running tasks go on, and the next `up` takes them over.
Options win over the configuration file, and that wins over the defaults.")]
pub(crate) struct UpArgs {
    /// Where the flow files are
    #[arg(value_name = "FLOWS_DIR", default_value = "flows")]
    pub(crate) flows_dir: PathBuf,
    /// The port to listen on; 0 takes a free one [default: 8320]
    #[arg(long, value_name = "N")]
    pub(crate) port: Option<u16>,
    /// The address to listen on; other than loopback needs a token [default: 127.0.0.1]
    #[arg(long, value_name = "H")]
    pub(crate) host: Option<String>,
    /// Where state, logs and checkpoints are kept [default: .dalsegno]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The configuration file [default: dalsegno.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A PostgreSQL database instead of SQLite: postgres://user:password@host:port/database
    #[arg(
        long,
        value_name = "URL",
        env = "DALSEGNO_DATABASE_URL",
        hide_env_values = true
    )]
    pub(crate) database: Option<String>,
    /// Start each Metaflow task as a process of its own, without the warm ones that have Metaflow loaded
    #[arg(long)]
    pub(crate) cold: bool,
    /// How log lines look: text for people, json for programs [default: text]
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        hide_possible_values = true,
        env = "DALSEGNO_LOG_FORMAT",
        hide_env_values = true
    )]
    pub(crate) log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug, trace, or a filter such as info,dalsegno_engine=debug [default: info]
    #[arg(
        long,
        value_name = "LEVEL",
        env = "DALSEGNO_LOG",
        hide_env_values = true
    )]
    pub(crate) log_level: Option<String>,
    /// The global option of that name.
    #[arg(skip)]
    pub(crate) token: Option<String>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// `--json`
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Json {
    /// Print the API's JSON; lists are {"items": […], "next": cursor or null}
    #[arg(long)]
    pub(crate) json: bool,
}

/// `dalsegno check`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Flow files, and folders of them [default: flows]
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Run Metaflow files as well, up to their first step, and show where that tells something else than reading them
    #[arg(long)]
    pub(crate) probe: bool,
    /// The interpreter that runs them [default: the one that the daemon would take]
    #[arg(long, value_name = "P", requires = "probe")]
    pub(crate) python: Option<PathBuf>,
    /// Print the JSON Schema of flow files, for editors
    #[arg(long, conflicts_with_all = ["paths", "json", "probe"])]
    pub(crate) schema: bool,
    /// Print findings as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `dalsegno run`
#[derive(Debug, Args)]
#[command(after_help = "\
With --wait the exit code is 0 when the run succeeded, else 1. Ctrl-C ends the waiting, not the run.")]
pub(crate) struct RunArgs {
    /// The flow's name
    pub(crate) flow: String,
    /// A parameter; may be given several times
    #[arg(short = 'p', long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    pub(crate) params: Vec<(String, String)>,
    /// Wait until the run has ended, and show how it goes
    #[arg(long)]
    pub(crate) wait: bool,
    /// Start at most one run for this key, however often it is asked for
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// `dalsegno runs`
#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    /// Only runs of this flow
    #[arg(long, value_name = "FLOW")]
    pub(crate) flow: Option<String>,
    /// Only runs in this state; several with commas; `finished` and `unfinished` stand for groups
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Option<String>,
    #[command(flatten)]
    pub(crate) limit: Limit,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// `--limit`
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Limit {
    /// How many at most
    #[arg(long = "limit", value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) count: u32,
}

/// `dalsegno show`
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// A run's number, its pathspec in Metaflow, or a flow's name for its newest run
    pub(crate) run: String,
    /// List every task on a line of its own
    #[arg(long)]
    pub(crate) tasks: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// `dalsegno logs`
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// A run's number, its pathspec in Metaflow, or a flow's name for its newest run
    pub(crate) run: String,
    /// A task such as train or train[3]; without one, all tasks of the run
    pub(crate) task: Option<String>,
    /// Which attempt, counted from 1 [default: the newest]
    #[arg(long, value_name = "N", requires = "task", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) attempt: Option<u32>,
    /// Go on printing until the run (or task) has ended
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only standard error
    #[arg(long)]
    pub(crate) stderr: bool,
    /// Only standard output
    #[arg(long, conflicts_with = "stderr")]
    pub(crate) stdout: bool,
}

/// `dalsegno flows`
#[derive(Debug, Args)]
pub(crate) struct FlowsArgs {
    /// Show this flow: its steps, parameters, schedules and triggers
    pub(crate) flow: Option<String>,
    /// List also flows whose file is gone and never was valid
    #[arg(long, conflicts_with = "flow")]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// `dalsegno next`
#[derive(Debug, Args)]
pub(crate) struct NextArgs {
    #[command(flatten)]
    pub(crate) limit: Limit,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// `dalsegno simulate`
#[derive(Debug, Args)]
#[command(after_help = "\
The real scheduler in virtual time; tasks take as long as they took before. The database is only read.
Exit code 1 with --fail-on new-breach when there is one. See docs/simulate.md.")]
pub(crate) struct SimulateArgs {
    /// How long: 90m, 12h, 7d
    #[arg(long = "for", value_name = "SPAN", default_value = "7d")]
    pub(crate) days: String,
    /// Where it begins: 2026-11-23T00:00:00Z or 2026-11-23 [default: now, with the runs that are under way]
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Which luck: the same seed gives the same days
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// A folder of flow files to play [default: the flows as they are active; without a database flows]
    #[arg(long, value_name = "DIR")]
    pub(crate) flows: Option<PathBuf>,
    /// Another folder: what gets worse or better compared with it
    #[arg(long, value_name = "OTHER_DIR")]
    pub(crate) diff: Option<PathBuf>,
    /// Exit code 1 when a promise is broken that was kept in the other folder
    #[arg(long, value_name = "WHAT", value_enum, hide_possible_values = true)]
    pub(crate) fail_on: Option<FailOn>,
    /// How long a task takes of which nothing is known
    #[arg(long, value_name = "SPAN", default_value = "1m")]
    pub(crate) assume: String,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Print it as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What fails a simulation: `new-breach`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    NewBreach,
}

/// `dalsegno why`
#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// A flow's name or a run's number
    #[arg(value_name = "FLOW|RUN")]
    pub(crate) subject: String,
    /// For a flow: what ought to have happened at this moment, such as 2026-11-22T06:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// `dalsegno occurrences`
#[derive(Debug, Args)]
pub(crate) struct OccurrencesArgs {
    /// The flow's name
    pub(crate) flow: String,
    /// Only those due at this time or later: 2026-11-22T06:00:00Z, 2026-11-22, or 7d for the last seven days
    #[arg(long, visible_alias = "from", value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only those due before this time
    #[arg(long, visible_alias = "to", value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Only those in this state: expected, ran, coalesced, skipped or missed; several with commas
    #[arg(long, value_name = "STATE")]
    pub(crate) state: Option<String>,
    /// Only those of this schedule or trigger
    #[arg(long, value_name = "NAME")]
    pub(crate) trigger: Option<String>,
    #[command(flatten)]
    pub(crate) limit: Limit,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// `dalsegno cancel`
#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    /// A run's number, its pathspec in Metaflow, or a flow's name for its newest run
    pub(crate) run: String,
    /// Why, for those who ask later
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// `dalsegno resume`
#[derive(Debug, Args)]
#[command(after_help = "\
The same run goes on with new attempts: tasks that succeeded keep their outputs, the others are repeated.
With --from, that step and all that follows it are repeated, too. It goes on with the flow's newest valid version.
With --set a new run is made instead, which begins with copies of the finished tasks and has other parameters.")]
pub(crate) struct ResumeArgs {
    /// A run's number, its pathspec in Metaflow, or a flow's name for its newest run
    pub(crate) run: String,
    /// Repeat this step and all that follows, even what has succeeded
    #[arg(long, value_name = "STEP")]
    pub(crate) from: Option<String>,
    /// A parameter that is to differ: makes a new run; may be given several times
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parameter)]
    pub(crate) set: Vec<(String, String)>,
    /// Go on with the version the run began with, even if the flow has a newer one
    #[arg(long)]
    pub(crate) same_version: bool,
    /// Wait until the run has ended, and show how it goes
    #[arg(long)]
    pub(crate) wait: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Only show what would be done
    #[arg(long, conflicts_with_all = ["yes", "wait"])]
    pub(crate) dry_run: bool,
}

/// `dalsegno pause`
#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    /// The flow's name
    pub(crate) flow: String,
    /// Why, for those who ask later
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// `dalsegno unpause`
#[derive(Debug, Args)]
#[command(after_help = "\
What was held while the flow was paused is shown first. Without --catch-up each schedule does what its
`misfire: { paused: … }` says, and events that were held start nothing.")]
pub(crate) struct UnpauseArgs {
    /// The flow's name
    pub(crate) flow: String,
    /// What starts now of what was held: none, latest (of each schedule and trigger) or all
    #[arg(long, value_name = "WHICH", value_enum, hide_possible_values = true)]
    pub(crate) catch_up: Option<CatchUp>,
    /// Only show what would start now
    #[arg(long, conflicts_with = "catch_up")]
    pub(crate) preview: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// What starts of what was held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CatchUp {
    None,
    Latest,
    All,
}

impl CatchUp {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Latest => "latest",
            Self::All => "all",
        }
    }
}

/// `dalsegno sources`
#[derive(Debug, Args)]
pub(crate) struct SourcesArgs {
    #[command(flatten)]
    pub(crate) json: Json,
}

/// `dalsegno slas`
#[derive(Debug, Args)]
pub(crate) struct SlasArgs {
    /// Only promises of this flow
    #[arg(long, value_name = "FLOW")]
    pub(crate) flow: Option<String>,
    /// Only those in these states, with commas between: on_time, at_risk, missed, met, met_late
    #[arg(long, value_name = "STATES")]
    pub(crate) state: Option<String>,
    /// Also those that are over
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) limit: Limit,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// `dalsegno ack`
#[derive(Debug, Args)]
pub(crate) struct AckArgs {
    /// The flow's name
    #[arg(value_name = "FLOW")]
    pub(crate) flow: String,
    /// The promise, as `slas` shows it; all that are at risk or missed if left out
    #[arg(value_name = "PROMISE")]
    pub(crate) promise: Option<String>,
    /// Its period, as `slas` shows it; all of the promise if left out
    #[arg(value_name = "PERIOD")]
    pub(crate) period: Option<String>,
    /// What is known of it, for those who look later
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
}

/// `dalsegno silence`
#[derive(Debug, Args)]
#[command(after_help = "\
Promises count on; what is at risk or missed when the silence ends is told then. `dalsegno silences end ID` ends it early.")]
pub(crate) struct SilenceArgs {
    /// The flow's name; * stands for any text: 'ingest-*', '*'
    #[arg(value_name = "FLOW")]
    pub(crate) flow: String,
    /// How long: 30m, 2h, 1d
    #[arg(long = "for", value_name = "LENGTH", conflicts_with = "until")]
    pub(crate) length: Option<String>,
    /// Until when: 2026-11-22T06:00:00Z, 2026-11-22
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// When it begins [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Only this promise
    #[arg(long, value_name = "PROMISE")]
    pub(crate) promise: Option<String>,
    /// Why, for those who look later
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
    /// A second request with the same key makes no second silence
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
}

/// `dalsegno silences`
#[derive(Debug, Args)]
pub(crate) struct SilencesArgs {
    /// Without it those that are not over are listed
    #[command(subcommand)]
    pub(crate) command: Option<SilencesCommand>,
    /// Also those that are over
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) limit: Limit,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SilencesCommand {
    /// End a silence now; what is still at risk or missed is told
    End(SilenceEndArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SilenceEndArgs {
    /// Its number, as the list shows it
    #[arg(value_name = "ID")]
    pub(crate) silence: String,
}

/// `dalsegno alerts`
#[derive(Debug, Args)]
pub(crate) struct AlertsArgs {
    /// Without it alerts are listed, newest first
    #[command(subcommand)]
    pub(crate) command: Option<AlertsCommand>,
    #[command(flatten)]
    pub(crate) list: ListAlertsArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ListAlertsArgs {
    /// Only alerts of this flow
    #[arg(long, value_name = "FLOW")]
    pub(crate) flow: Option<String>,
    #[command(flatten)]
    pub(crate) limit: Limit,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AlertsCommand {
    /// List alerts, newest first
    List(ListAlertsArgs),
    /// List the channels that alerts go to, and how they are
    Channels(ChannelsArgs),
    /// Send a test message to a channel now, and say what came of it
    Test(ChannelArgs),
    /// List deliveries of alerts to channels, and why they stand as they do
    Deliveries(DeliveriesArgs),
    /// Send a delivery again that has ended, under the same id
    Replay(DeliveryArgs),
    /// Let a channel go on that was stopped
    Enable(ChannelArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ChannelsArgs {
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct ChannelArgs {
    /// The channel's name
    #[arg(value_name = "CHANNEL")]
    pub(crate) channel: String,
}

#[derive(Debug, Args)]
pub(crate) struct DeliveriesArgs {
    /// Only those that were given up
    #[arg(long)]
    pub(crate) dead: bool,
    /// Only those to this channel
    #[arg(long, value_name = "CHANNEL")]
    pub(crate) channel: Option<String>,
    #[command(flatten)]
    pub(crate) limit: Limit,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct DeliveryArgs {
    /// As the list shows it: msg_12_ops
    #[arg(value_name = "ID")]
    pub(crate) delivery: String,
}

#[derive(Debug, Args)]
pub(crate) struct BreakersArgs {
    /// Without it they are listed
    #[command(subcommand)]
    pub(crate) command: Option<BreakerCommand>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BreakerCommand {
    /// Send nothing until somebody says otherwise; submissions wait
    Open(BreakerArgs),
    /// Send everything, whatever fails
    Close(BreakerArgs),
    /// Go by what fails again
    Auto(BreakerArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BreakerArgs {
    /// As the list shows it: batch, batch:SubmitJob
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OrphansCommand {
    /// Ask AWS for them, and list them
    List(OrphansArgs),
    /// Give one to the task whose name it bears, if that waits for a job
    Adopt(OrphanArgs),
    /// End one of them
    Cancel(OrphanArgs),
}

#[derive(Debug, Args)]
pub(crate) struct OrphansArgs {
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct OrphanArgs {
    /// AWS's id of the job, as `list` shows it
    #[arg(value_name = "JOB")]
    pub(crate) job: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BackfillCommand {
    /// Show what would run, interval by interval, what is there already, and what stands in the way
    Plan(PlanArgs),
    /// Plan, show it, and run it
    Apply(ApplyArgs),
    /// List backfills, newest first
    List(BackfillsArgs),
    /// Show a backfill: how far it is, what runs, what failed
    Show(BackfillArgs),
    /// Start no more runs of it for now; those that run go on
    Pause(BackfillArgs),
    /// Go on with a paused one
    Resume(BackfillArgs),
    /// End it: its runs are cancelled, the rest is not started
    Cancel(BackfillArgs),
}

/// What a backfill is about.
#[derive(Clone, Debug, Args)]
pub(crate) struct PlanOf {
    /// The flow's name
    pub(crate) flow: String,
    /// Intervals that begin at this time or later: 2026-11-01, 2026-11-01T06:00:00Z, or 30d for the last thirty days
    #[arg(long, value_name = "TIME")]
    pub(crate) from: String,
    /// Intervals that begin before this time [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// Also the flows that follow from it, by interval
    #[arg(long)]
    pub(crate) downstream: bool,
    /// Intervals without a run that succeeded or still runs; this is the default
    #[arg(long, conflicts_with_all = ["failed", "all"])]
    pub(crate) missing: bool,
    /// Intervals whose newest run did not succeed
    #[arg(long, conflicts_with = "all")]
    pub(crate) failed: bool,
    /// All intervals, whatever is there
    #[arg(long)]
    pub(crate) all: bool,
}

/// `dalsegno backfill plan`
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) of: PlanOf,
    /// How many items are shown at most
    #[arg(long = "limit", value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// `dalsegno backfill apply`
#[derive(Debug, Args)]
#[command(after_help = "\
With --token exactly the plan that has this token is applied, or nothing, if the world has changed since.")]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) of: PlanOf,
    /// The token of a plan that was shown before
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// How many of its runs may be unfinished at the same time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) parallel: u32,
    /// Apply at most once for this key, however often it is asked for
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// `dalsegno backfill list`
#[derive(Debug, Args)]
pub(crate) struct BackfillsArgs {
    /// Only backfills of this flow
    #[arg(long, value_name = "FLOW")]
    pub(crate) flow: Option<String>,
    #[command(flatten)]
    pub(crate) limit: Limit,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// `dalsegno backfill show`, and what changes one.
#[derive(Debug, Args)]
pub(crate) struct BackfillArgs {
    /// The backfill's number
    pub(crate) backfill: u64,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// Send an event, and say what it started
    Emit(EmitArgs),
    /// List events, newest first
    List(EventsArgs),
    /// Show an event, and what became of it at each trigger
    Show(EventArgs),
    /// Show the events of a flow that wait for others, and for what
    Waiting(WaitingArgs),
    /// Let an event be seen once more
    Replay(ReplayArgs),
    /// Which runs would a flow file have started, from the events of the last days?
    DryRun(DryRunArgs),
    /// List deliveries that could not be read as events, and why
    Refused(RefusedArgs),
}

/// `dalsegno events show`
#[derive(Debug, Args)]
pub(crate) struct EventArgs {
    /// The event's number
    pub(crate) event: u64,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// `dalsegno events waiting`
#[derive(Debug, Args)]
pub(crate) struct WaitingArgs {
    /// The flow's name
    pub(crate) flow: String,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// `dalsegno events replay`
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The event's number
    pub(crate) event: u64,
    /// Only this flow sees it again
    #[arg(long, value_name = "FLOW")]
    pub(crate) flow: Option<String>,
    /// Replay at most once for this key
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// `dalsegno events dry-run`
#[derive(Debug, Args)]
#[command(after_help = "Nothing is deployed and nothing is started.")]
pub(crate) struct DryRunArgs {
    /// The flow file, changed as you please
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Events received at this time or later: 2026-11-22T06:00:00Z, 2026-11-22, or 7d
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub(crate) since: String,
    /// Events received before this time [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// `dalsegno events refused`
#[derive(Debug, Args)]
pub(crate) struct RefusedArgs {
    #[command(flatten)]
    pub(crate) limit: Limit,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// `dalsegno events emit`
#[derive(Debug, Args)]
pub(crate) struct EmitArgs {
    /// The event's type, such as orders.corrected
    #[arg(value_name = "TYPE")]
    pub(crate) kind: String,
    /// What it tells, as JSON
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub(crate) data: String,
    /// Where it comes from
    #[arg(long, value_name = "SOURCE", default_value = "/dalsegno/cli")]
    pub(crate) source: String,
    /// Its id; the same source and id twice is one event [default: a new one]
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// What it is about
    #[arg(long, value_name = "SUBJECT")]
    pub(crate) subject: Option<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// `dalsegno events list`
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Only events of this type
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// Only events from this source
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Option<String>,
    /// Only events about this
    #[arg(long, value_name = "SUBJECT")]
    pub(crate) subject: Option<String>,
    /// Only events received at this time or later: 2026-11-22T06:00:00Z, 2026-11-22, or 7d
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only events received before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Only events that a trigger of this flow has seen
    #[arg(long, value_name = "FLOW")]
    pub(crate) flow: Option<String>,
    /// And of which this became there: fired, waiting, filtered, replaced, expired or refused
    #[arg(long, value_name = "OUTCOME", requires = "flow")]
    pub(crate) outcome: Option<String>,
    /// List also Dalsegno's own events, which tell that a run has ended
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) limit: Limit,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// `dalsegno migrate`
#[derive(Debug, Args)]
#[command(after_help = "\
`up` does the same when it starts. Migrations go forward only: make a backup before.")]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// Which database.
#[derive(Clone, Debug, Args)]
pub(crate) struct StoreArgs {
    /// A PostgreSQL database: postgres://user:password@host:port/database
    #[arg(
        long,
        value_name = "URL",
        env = "DALSEGNO_DATABASE_URL",
        hide_env_values = true
    )]
    pub(crate) database: Option<String>,
    /// The data folder, where the SQLite database is [default: .dalsegno]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The configuration file [default: dalsegno.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// `dalsegno doctor`
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Where the flow files are
    #[arg(value_name = "FLOWS_DIR", default_value = "flows")]
    pub(crate) flows_dir: PathBuf,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Print the findings as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `dalsegno python`
#[derive(Debug, Args)]
#[command(after_help = "\
dalsegno python -- -c 'from metaflow import Flow; print(Flow(\"Train\").latest_run.data)'
Without words for Python it is interactive. No environment is made: `up` does that.")]
pub(crate) struct PythonArgs {
    /// A Metaflow flow of the folder, by its name or its class [default: what flows at the top of the folder have]
    pub(crate) flow: Option<String>,
    /// Words for Python
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<std::ffi::OsString>,
    /// Where the flow files are
    #[arg(long, value_name = "DIR", default_value = "flows")]
    pub(crate) flows_dir: PathBuf,
    /// The data folder, where environments are [default: .dalsegno]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The configuration file [default: dalsegno.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// `dalsegno completions`
#[derive(Debug, Args)]
#[command(
    after_help = "For bash: dalsegno completions bash > ~/.local/share/bash-completion/completions/dalsegno"
)]
pub(crate) struct CompletionsArgs {
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// `dalsegno sandbox`
#[derive(Debug, Args)]
pub(crate) struct SandboxArgs {
    /// The folder, the program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub(crate) words: Vec<std::ffi::OsString>,
}

/// `dalsegno keeper`
#[derive(Debug, Args)]
pub(crate) struct KeeperArgs {
    /// The keeper's folder
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("NAME=VALUE is expected, such as day=2026-11-22".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    const DOCS: &str = include_str!("../../docs/cli.md");

    fn leaves(command: &clap::Command, name: &str, all: &mut Vec<(String, clap::Command)>) {
        let name = format!("{name}{}", command.get_name());
        let inner: Vec<_> = command
            .get_subcommands()
            .filter(|it| !it.is_hide_set())
            .collect();
        if inner.is_empty() {
            all.push((name, command.clone()));
        } else {
            inner
                .iter()
                .for_each(|it| leaves(it, &format!("{name} "), all));
        }
    }

    fn commands() -> Vec<(String, clap::Command)> {
        let mut all = Vec::new();
        leaves(&Cli::command(), "", &mut all);
        all
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_page_in_docs_has_every_command_with_all_its_options() {
        for (name, command) in commands() {
            let title = format!("### `{name}");
            let section = DOCS
                .split("\n### ")
                .find(|it| format!("### {it}").starts_with(&title));
            let section = section.unwrap_or_else(|| panic!("docs/cli.md has no section `{name}`"));
            for option in command.get_arguments().filter_map(|it| it.get_long()) {
                let is_told = section.contains(&format!("--{option}"));
                assert!(is_told, "docs/cli.md does not tell of `{name} --{option}`");
            }
        }
        for option in Cli::command()
            .get_arguments()
            .filter_map(|it| it.get_long().map(str::to_owned))
        {
            assert!(
                DOCS.contains(&format!("--{option}")),
                "docs/cli.md does not tell of --{option}"
            );
        }
    }

    #[test]
    fn the_page_in_docs_has_every_exit_code() {
        for line in EXIT_CODES.lines().skip(1) {
            let code = line.split_whitespace().next().expect("a code");
            assert!(
                DOCS.contains(&format!("| {code} |")),
                "docs/cli.md does not tell of exit code {code}"
            );
        }
    }

    /// What a person reads who asks for help, at a width of 100, whatever the terminal of the test is.
    #[test]
    fn help_reads_well() {
        let mut text = String::new();
        for words in [
            vec!["help"],
            vec!["help", "run"],
            vec!["help", "resume"],
            vec!["help", "events", "emit"],
        ] {
            let command = Cli::command().term_width(100);
            let words = ["dalsegno"].into_iter().chain(words);
            let error = command
                .try_get_matches_from(words)
                .expect_err("help is no command");
            text.push_str(&format!("{error}\n────\n"));
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn parameters_are_names_and_values() {
        let parse = |text: &str| Cli::try_parse_from(["dalsegno", "run", "etl", "-p", text]);
        let Ok(Cli {
            command: Command::Run(args),
            ..
        }) = parse("where=a=b c")
        else {
            panic!("a value may hold anything");
        };
        assert_eq!(args.params, [("where".to_owned(), "a=b c".to_owned())]);
        for text in ["where", "=b", ""] {
            let error = parse(text).expect_err("no name or no value").to_string();
            assert!(error.contains("NAME=VALUE is expected"), "{error}");
        }
    }
}
