//! The JSON Schema of the format, for editors: completion, hover texts and red lines while writing.
//!
//! These types only describe; what reads a file is stricter and says more. A test holds the keys of
//! both together.
#![expect(
    dead_code,
    reason = "the types are never values: the schema is made from their shape"
)]

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The JSON Schema (draft 2020-12) of a flow file.
///
/// What it accepts may still be refused by [`crate::parse`], which also checks names, expressions
/// and the graph; what it refuses is always refused there.
pub fn json_schema() -> serde_json::Value {
    let mut schema = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<FlowFile>();
    schema.insert("title".into(), "Dalsegno flow file".into());
    schema.to_value()
}

/// One file, one flow.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct FlowFile {
    /// The flow's name, unique among all files.
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[A-Za-z0-9_.-]+$"))]
    flow: String,
    /// What the flow is for, in a sentence.
    description: Option<String>,
    /// Who answers for it.
    owner: Option<String>,
    /// Words to find it by.
    tags: Option<OneOrMany<Scalar>>,
    /// Typed inputs of a run. Steps find each as an environment variable in upper case.
    params: Option<BTreeMap<String, Param>>,
    /// When it runs by the clock: one schedule or a list.
    schedule: Option<OneOrMany<Schedule>>,
    /// Which events start it: one trigger or a list; each starts runs of its own.
    triggers: Option<OneOrMany<Trigger>>,
    /// Times in which no schedule and no trigger starts a run; people may.
    blackouts: Option<OneOrMany<Blackout>>,
    /// How its runs relate to each other and to shared limits.
    run: Option<RunPolicy>,
    /// Where steps run. Default: local.
    executor: Option<Executor>,
    /// Environment variables of all steps; a step's own win.
    env: Option<BTreeMap<String, Anything>>,
    /// What steps take over if they do not say it themselves.
    defaults: Option<Defaults>,
    /// The steps by name.
    steps: BTreeMap<String, Step>,
    /// Promises about time.
    sla: Option<Vec<Sla>>,
    /// Which of its alerts go where.
    alerts: Option<Vec<Alert>>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Scalar {
    Text(String),
    Number(f64),
    Truth(bool),
}

/// A typed input of a run.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Param {
    /// `date` is 2026-11-22, `datetime` RFC 3339, `json` any value.
    #[schemars(rename = "type")]
    kind: ParamKind,
    /// The value if none is given; may be an expression such as "${{ interval.start }}". Without a default, a value must be given.
    default: Option<Anything>,
    /// The least value of an int or float.
    min: Option<f64>,
    /// The greatest value of an int or float.
    max: Option<f64>,
    /// The only values allowed.
    choices: Option<Vec<Anything>>,
    /// A sentence beside the field of the form.
    description: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum ParamKind {
    String,
    Int,
    Float,
    Bool,
    Date,
    Datetime,
    Json,
}

/// When the flow is due.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Schedule {
    /// A name that stays the same when the times change.
    name: Option<String>,
    /// Five fields (minute hour day month weekday), six as in EventBridge or Quartz, or a name such as @daily.
    cron: Option<String>,
    /// A period, counted from midnight UTC; instead of `cron`.
    every: Option<Duration>,
    /// IANA name of the zone in which `cron` is read. Default: UTC.
    timezone: Option<String>,
    /// What happens when clocks change.
    dst: Option<Dst>,
    /// Each run starts up to this much later. Default: 0s.
    jitter: Option<Duration>,
    /// What becomes of times that nobody could keep.
    misfire: Option<Misfire>,
    /// Parameters of the runs it starts.
    params: Option<BTreeMap<String, Anything>>,
    /// No run before this date or instant.
    start: Option<String>,
    /// No run at or after this date or instant.
    end: Option<String>,
    /// Days on which it rests: the name of a file in the folder `calendars`.
    calendar: Option<CalendarUse>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum CalendarUse {
    Name(String),
    Roll(CalendarRoll),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct CalendarRoll {
    /// The name of a file in the folder `calendars`, without its ending.
    name: String,
    /// What becomes of a run on a closed day: `skip` (default), or the `next` or `previous` open day.
    roll: Option<Roll>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Roll {
    Skip,
    Next,
    Previous,
}

/// A time in which no schedule and no trigger starts a run: `daily`, `from` and `to`, or `calendar`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Blackout {
    /// Its name in the history. Default: what it says.
    name: Option<String>,
    /// Each day, or on some days of the week.
    daily: Option<Daily>,
    /// Once, from this date or instant.
    from: Option<String>,
    /// Until this date or instant.
    to: Option<String>,
    /// The closed days of a calendar, from midnight to midnight.
    calendar: Option<String>,
    /// IANA name. Default: UTC.
    timezone: Option<String>,
    /// What becomes of runs that would start in it. Default: defer.
    #[schemars(rename = "do")]
    what: Option<BlackoutAction>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Daily {
    from: TimeOfDay,
    /// Over midnight when it is not later than `from`.
    to: TimeOfDay,
    /// The days on which it begins: MON, TUE … Default: every day.
    days: Option<OneOrMany<String>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum BlackoutAction {
    /// They start when it is over.
    Defer,
    /// They do not start.
    Skip,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Dst {
    /// A time that does not exist in spring: `shift` it to the end of the gap (default), or `skip` it.
    gap: Option<Gap>,
    /// A time that comes twice in autumn: the `first` (default), the `second`, or `both`.
    overlap: Option<Overlap>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Gap {
    Shift,
    Skip,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Overlap {
    First,
    Second,
    Both,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Misfire {
    /// After Dalsegno was down. Default: latest.
    down: Option<CatchUp>,
    /// After the flow was paused. Default: skip.
    paused: Option<CatchUp>,
    /// With `all`: at most so many, the newest. Default: 24.
    max: Option<u32>,
    /// Older ones are missed for good. Default: 7d.
    window: Option<Duration>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum CatchUp {
    Skip,
    Latest,
    All,
}

/// What starts a run: `flow`, `event`, `s3`, `dataset`, `any_of` or `all_of`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Trigger {
    /// A name that stays the same when the trigger changes.
    name: Option<String>,
    /// One of these is enough.
    any_of: Option<Vec<NestedTrigger>>,
    /// All of these are needed.
    all_of: Option<Vec<NestedTrigger>>,
    /// The end of a run of this flow.
    flow: Option<String>,
    /// An event of this CloudEvents type.
    event: Option<String>,
    /// Which ends of `flow` count. Default: succeeded.
    on: Option<FlowEnd>,
    /// A condition (CEL) on `event`; where it is false, the event does not count.
    #[schemars(rename = "where")]
    filter: Option<Condition>,
    /// Parameters taken from the event.
    params: Option<BTreeMap<String, Anything>>,
    /// The key by which this event is joined with others: CEL over `event`.
    join: Option<Condition>,
    /// Which events of an `all_of` belong together: `interval` (default), `none`, or one CEL expression for all.
    join_on: Option<String>,
    /// A half-matched set older than this expires. Default: never.
    within: Option<Duration>,
    /// The arrival of an object: `*` matches within a segment of the key, `**` across segments.
    s3: Option<ObjectPattern>,
    /// A data set was written, as OpenLineage tells.
    dataset: Option<Dataset>,
    /// Not before this time of the day, in `timezone`; only beside events, in an `all_of`.
    after: Option<TimeOfDay>,
    /// Which events a run uses up: the oldest of `each` (default), the `latest`, or a `batch` of them.
    consume: Option<Consume>,
    /// The run waits until its events grow quiet, and gets all of them.
    debounce: Option<Debounce>,
    /// Once a day: what happens if the trigger has not started a run by then.
    on_deadline: Option<Deadline>,
    /// IANA name of the zone of `after` and `on_deadline`. Default: UTC.
    timezone: Option<String>,
}

/// A part of an `any_of` or `all_of`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct NestedTrigger {
    /// One of these is enough.
    any_of: Option<Vec<Self>>,
    /// All of these are needed.
    all_of: Option<Vec<Self>>,
    /// The end of a run of this flow.
    flow: Option<String>,
    /// An event of this CloudEvents type.
    event: Option<String>,
    /// Which ends of `flow` count. Default: succeeded.
    on: Option<FlowEnd>,
    /// A condition (CEL) on `event`; where it is false, the event does not count.
    #[schemars(rename = "where")]
    filter: Option<Condition>,
    /// Parameters taken from the event.
    params: Option<BTreeMap<String, Anything>>,
    /// The key by which this event is joined with others: CEL over `event`.
    join: Option<Condition>,
    /// The arrival of an object: `*` matches within a segment of the key, `**` across segments.
    s3: Option<ObjectPattern>,
    /// A data set was written, as OpenLineage tells.
    dataset: Option<Dataset>,
    /// Not before this time of the day, in `timezone`; only beside events, in an `all_of`.
    after: Option<TimeOfDay>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum FlowEnd {
    Succeeded,
    /// Failed or timed out.
    Failed,
    /// Any end, cancelled too.
    Finished,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Dataset {
    /// As OpenLineage calls it, such as postgres://db:5432.
    namespace: String,
    /// As OpenLineage calls it, such as shop.public.orders.
    name: String,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Consume {
    Word(ConsumeWord),
    Batch(ConsumeBatch),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum ConsumeWord {
    Each,
    Latest,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ConsumeBatch {
    batch: Batch,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Batch {
    /// The run begins as soon as so many events wait, and takes at most so many.
    #[schemars(range(min = 1, max = 10_000))]
    max: u32,
    /// The run begins at the latest so long after the first event that was enough.
    window: Option<Duration>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Debounce {
    /// Since the newest event.
    quiet: Duration,
    /// Since the first event that was enough. Default: for ever.
    max_wait: Option<Duration>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Deadline {
    /// A time of day in the trigger's `timezone`.
    at: TimeOfDay,
    /// `run` with what has come, `skip` it, or `alert` (default) and go on waiting.
    #[schemars(rename = "do")]
    what: Option<DeadlineAction>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum DeadlineAction {
    Run,
    Skip,
    Alert,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RunPolicy {
    /// What happens when a run is due while another is live. Default: sequential.
    strategy: Option<Strategy>,
    /// Higher goes first; a minute of waiting is worth one point. Default: 0.
    priority: Option<i32>,
    /// Slots held from the run's start to its end.
    pools: Option<BTreeMap<String, Slots>>,
    /// From the run's start. Default: none.
    timeout: Option<Duration>,
    /// Tasks of one run at the same time. Default: no limit.
    max_parallel_tasks: Option<Slots>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Strategy {
    Word(StrategyWord),
    Parallel(Parallel),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum StrategyWord {
    /// One at a time, in order.
    Sequential,
    /// One at a time; a failed run stops the line.
    StrictSequential,
    /// While one is live, newcomers are skipped.
    FirstOnly,
    /// A newcomer cancels the live one.
    LastOnly,
    /// The live one goes on; of those that wait only the newest stays.
    SerialLatestOnly,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Parallel {
    /// So many runs at once.
    parallel: Slots,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum Executor {
    /// Processes on this machine.
    Local,
    /// Jobs of AWS Batch.
    Batch,
    /// An execution of AWS Step Functions for the whole run, its steps as jobs of AWS Batch.
    StepFunctions,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Defaults {
    /// Retries of each step.
    retry: Option<RetryOrTimes>,
    /// Of each attempt.
    timeout: Option<Duration>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RetryOrTimes {
    Times(Retries),
    Retry(Retry),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Retry {
    /// Retries, not attempts: 3 means up to 4 attempts.
    times: Option<Retries>,
    /// A wait that is always the same, in minutes; instead of `backoff`.
    minutes_between_retries: Option<f64>,
    /// A wait that grows.
    backoff: Option<Backoff>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Backoff {
    /// The first wait. Default: 1s.
    initial: Option<Duration>,
    /// The longest wait. Default: 300s.
    max: Option<Duration>,
    /// Each wait is so many times the one before. Default: 2.
    multiplier: Option<f64>,
    /// Each wait is up to this share longer or shorter. Default: 0.1.
    jitter: Option<f64>,
}

/// A step (`run`, or `flow` for another flow), or a block of steps (`foreach` and `steps`).
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Step {
    /// The command: a text for /bin/sh, or a list of program and arguments.
    run: Option<Command>,
    /// What must have ended before: a step or block, or a list of them. Default: nothing.
    after: Option<OneOrMany<String>>,
    /// A condition (CEL); false: the step is skipped, with what needs it.
    when: Option<Condition>,
    /// One task per item: a list, or an expression that gives one.
    foreach: Option<Foreach>,
    /// Items of the foreach at the same time. Default: no limit.
    max_parallel: Option<Slots>,
    /// Promises about the step.
    sla: Option<Vec<Sla>>,
    /// Names that the step must write to the file in $DALSEGNO_OUTPUT.
    outputs: Option<OneOrMany<String>>,
    /// Environment variables; values may be expressions "${{ … }}".
    env: Option<BTreeMap<String, Anything>>,
    /// Retries of a failed attempt. Default: none.
    retry: Option<RetryOrTimes>,
    /// Of each attempt. Default: none.
    timeout: Option<Duration>,
    /// Slots held by each attempt.
    pools: Option<BTreeMap<String, Slots>>,
    /// What each attempt may use.
    resources: Option<Resources>,
    /// What a failure does to the run. Default: fail.
    on_failure: Option<OnFailure>,
    /// From the polite signal to stop until the process is killed. Default: 10s.
    grace: Option<Duration>,
    /// The steps of a block, run once per item.
    steps: Option<BTreeMap<String, Self>>,
    /// Where the step runs, `local` or `batch`. Default: as the flow says.
    executor: Option<Executor>,
    /// The container image of its jobs. Default: that of the configuration.
    image: Option<String>,
    /// An attempt that ran out of memory is repeated with more.
    on_oom: Option<OnOom>,
    /// More about its jobs of AWS Batch.
    batch: Option<BatchJob>,
    /// Another flow to run, under its own strategy and limits; instead of `run`.
    flow: Option<String>,
    /// Parameters of the other flow's run; values may be expressions "${{ … }}".
    params: Option<BTreeMap<String, Anything>>,
    /// Whether the step ends as the other flow's run ends (default), or as soon as that is made.
    wait: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Command {
    Shell(String),
    Argv(Vec<Scalar>),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Foreach {
    Expression(#[schemars(regex(pattern = r"\$\{\{"))] String),
    Items(Vec<Anything>),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Condition {
    Cel(String),
    Fixed(bool),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum OnFailure {
    /// What needs it is skipped, the rest goes on, the run ends as failed.
    Fail,
    /// What needs it runs all the same, without its outputs.
    Continue,
    /// All else in the run is cancelled at once.
    FailFast,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Resources {
    /// The memory of each attempt: a limit for a process here, a reservation elsewhere (4GiB if nothing is said).
    memory: Option<Size>,
    /// vCPUs of a job, in quarters. Default: 1. Not for processes on this machine.
    #[schemars(range(min = 0.25, max = 192))]
    cpu: Option<f64>,
    /// GPUs of a job. Default: none. Not for processes on this machine.
    #[schemars(range(min = 1, max = 8))]
    gpu: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct OnOom {
    /// So many times the memory of the attempt before: x1.1 to x10. Default: x2.
    #[schemars(regex(pattern = r"^ *x *[0-9.]+ *$"))]
    memory: Option<String>,
    /// Never more than this.
    max: Size,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct BatchJob {
    /// The job queue, by name or ARN. Default: by what the step asks for, as the configuration says.
    #[schemars(regex(pattern = r"^(arn:|[A-Za-z0-9])[A-Za-z0-9_:/-]*$"))]
    queue: Option<String>,
    /// The IAM role of the container, as an ARN. Default: that of the configuration.
    #[schemars(regex(pattern = r"^arn:.*:role/"))]
    job_role: Option<String>,
    /// The IAM role that pulls the image and writes logs, as an ARN. Default: that of the configuration.
    #[schemars(regex(pattern = r"^arn:.*:role/"))]
    execution_role: Option<String>,
    /// The size of /dev/shm.
    shared_memory: Option<Size>,
    /// Tags of the jobs, at most 44.
    tags: Option<BTreeMap<String, Scalar>>,
    /// More properties of the container, in the spelling of Batch's `containerProperties`.
    container: Option<BTreeMap<String, Anything>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Sla {
    /// When it must have succeeded.
    finish_by: Option<SlaTime>,
    /// When it must have started.
    start_by: Option<SlaTime>,
    /// From its start to its end, retries included.
    max_duration: Option<Duration>,
    /// From when it may run to its start.
    max_queue_wait: Option<Duration>,
    /// Since the last success.
    fresh_within: Option<Duration>,
    /// The predicted chance of a breach from which on it is at risk; in an item of its own for all. Default: 0.8.
    #[schemars(range(min = 0.001, max = 1))]
    at_risk: Option<f64>,
    /// Of times of day. Default: that of the schedule.
    timezone: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Alert {
    /// One kind of alerts or several.
    on: OneOrMany<AlertKind>,
    /// One channel or several: `TYPE:NAME` as configured, or `owner`.
    to: OneOrMany<Channel>,
    /// Nothing is sent before this has passed; if the matter is over by then, nothing at all. Default: 0s.
    hold: Option<Duration>,
    /// Which alerts are one message. Default: flow.
    group: Option<AlertGroup>,
    /// Of task.retried: only from so many retries of a task on.
    #[schemars(range(min = 1, max = 100))]
    retries: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum AlertGroup {
    Flow,
    Owner,
    None,
}

/// A schema written by hand.
macro_rules! hand_written {
    ($($name:ident: $schema:tt)*) => {$(
        struct $name;
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

hand_written! {
    Anything: { "description": "Any value; a text may hold expressions \"${{ … }}\"." }
    Duration: {
        "description": "A length of time: 500ms, 90s, 15m, 4h, 7d, or several as in 1h30m.",
        "anyOf": [{ "type": "string", "pattern": "^[0-9.]+ ?[a-zµ]+( ?[0-9.]+ ?[a-zµ]+)*$" }, { "const": 0 }]
    }
    Size: {
        "description": "A size: 512MiB or 30GiB (powers of 1024), 1GB (powers of 1000).",
        "type": "string",
        "pattern": "^[0-9.]+ ?[kKMGT]?i?B?$"
    }
    ObjectPattern: {
        "description": "s3://BUCKET/KEY, where the key may hold `*`, `**` and `?`.",
        "type": "string",
        "pattern": "^s3://[a-z0-9][a-z0-9.-]+/."
    }
    SlaTime: {
        "description": "A time of day (\"08:00\", \"06:00 +1d\" on the next day), or a length of time after the occurrence is due.",
        "type": "string",
        "pattern": "^(([01][0-9]|2[0-3]):[0-5][0-9]( ?[+] ?[0-9]{1,2}d)?|[0-9.]+ ?[a-zµ]+( ?[0-9.]+ ?[a-zµ]+)*)$"
    }
    TimeOfDay: {
        "description": "A time of day in whole minutes: \"06:00\".",
        "type": "string",
        "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"
    }
    AlertKind: {
        "enum": ["run.failed", "run.succeeded", "run.recovered", "run.cancelled", "task.retried", "sla.at_risk",
            "sla.missed", "sla.met", "schedule.missed", "flow.invalid"]
    }
    Channel: {
        "description": "TYPE:NAME with one of webhook, slack, pagerduty, email and sns, and a name of the configuration; or owner.",
        "type": "string",
        "pattern": "^(owner|(webhook|slack|pagerduty|email|sns):[A-Za-z0-9._-]+)$"
    }
    Slots: { "type": "integer", "minimum": 1, "maximum": 1_000_000 }
    Retries: { "type": "integer", "minimum": 0, "maximum": 100 }
}

#[cfg(test)]
mod tests {
    use crate::{
        alerts, batch, blackouts, file, params, policy, remote, schedules, sla, steps, triggers,
    };
    use std::collections::BTreeSet;

    #[test]
    fn the_schema_and_the_reader_know_the_same_keys() {
        let schema = super::json_schema();
        let same = |definition: &str, keys: &[&str]| {
            let found = match definition {
                "" => &schema["properties"],
                name => &schema["$defs"][name]["properties"],
            };
            let found: BTreeSet<&str> = found
                .as_object()
                .expect(definition)
                .keys()
                .map(String::as_str)
                .collect();
            assert_eq!(found, keys.iter().copied().collect(), "{definition}");
        };
        same("", &file::KEYS);
        same("Param", &params::KEYS);
        same("Schedule", &schedules::KEYS);
        same("CalendarRoll", &schedules::CALENDAR_KEYS);
        same("Blackout", &blackouts::KEYS);
        same("Daily", &blackouts::DAILY_KEYS);
        same("Dst", &schedules::DST_KEYS);
        same("Misfire", &schedules::MISFIRE_KEYS);
        same("Trigger", &triggers::KEYS);
        same("NestedTrigger", &triggers::NESTED_KEYS);
        same("RunPolicy", &policy::RUN_KEYS);
        same("Parallel", &policy::STRATEGY_KEYS);
        same("Defaults", &policy::DEFAULTS_KEYS);
        same("Retry", &policy::RETRY_KEYS);
        same("Backoff", &policy::BACKOFF_KEYS);
        same("Step", &steps::KEYS);
        same("Resources", &remote::RESOURCES_KEYS);
        same("Dataset", &triggers::leaf::DATASET_KEYS);
        same("ConsumeBatch", &triggers::handling::CONSUME_KEYS);
        same("Batch", &triggers::handling::BATCH_KEYS);
        same("Debounce", &triggers::handling::DEBOUNCE_KEYS);
        same("Deadline", &triggers::handling::DEADLINE_KEYS);
        same("OnOom", &remote::OOM_KEYS);
        same("BatchJob", &batch::KEYS);
        same("Sla", &sla::KEYS);
        same("Alert", &alerts::KEYS);
    }
}
