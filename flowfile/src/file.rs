//! One flow file: text to a checked flow.

use crate::alerts;
use crate::blackouts;
use crate::calendars::Calendars;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::expression::{self, Where};
use crate::graph::Places;
use crate::metaflow::MetaflowFile;
use crate::names::{self, Kind};
use crate::neighbours::Mention;
use crate::params::{self, Params};
use crate::policy::{self, Defaults};
use crate::reader::{Cx, Value};
use crate::source::Source;
use crate::steps::{self, Steps};
use crate::yaml::{self, Data, Node};
use crate::{remote, schedules, sla, triggers};
use dalsegno_scheduler::spec::{BlackoutWindow, Calendar, FlowSpec, RunPolicy};
use dalsegno_scheduler::{Flow, FlowName, StepName, Version};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// The largest flow file, in bytes: a flow of 10,000 steps fits.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

pub(crate) const KEYS: [&str; 15] = [
    "flow",
    "description",
    "owner",
    "tags",
    "params",
    "schedule",
    "triggers",
    "blackouts",
    "run",
    "executor",
    "env",
    "defaults",
    "steps",
    "sla",
    "alerts",
];

/// A flow file that can be used.
#[derive(Clone, Debug)]
pub struct FlowFile {
    pub flow: Arc<Flow>,
    /// The first 16 hex digits of the SHA-256 of the file's text; of a Metaflow flow also of the modules it imports
    /// and of the options.
    pub version: Version,
    /// The file's text.
    pub source: String,
    /// Findings that do not stand in the way.
    pub warnings: Diagnostics,
    /// For a Metaflow flow.
    pub metaflow: Option<MetaflowFile>,
    /// Where the flow's name stands, for findings about several files.
    pub(crate) name_at: Range<usize>,
    /// Where each schedule stands; empty for a Metaflow flow.
    pub(crate) schedules_at: Vec<Range<usize>>,
    /// Where each promise stands, by its key.
    pub(crate) promises_at: BTreeMap<String, Range<usize>>,
    /// Where each step says what it asks for, or its name; empty for a Metaflow flow.
    pub(crate) resources_at: BTreeMap<StepName, Range<usize>>,
    /// Where it names other flows; empty for a Metaflow flow.
    pub(crate) mentions: Vec<Mention>,
}

/// Reads the text of a flow file; `name` is what findings call it.
///
/// ```
/// let file = dalsegno_flowfile::parse("hello.yaml", "flow: hello\nsteps: { greet: { run: echo hello } }")?;
/// assert_eq!(file.flow.name().as_str(), "hello");
/// # Ok::<(), dalsegno_flowfile::Diagnostics>(())
/// ```
///
/// Calendars are files of their own: a flow that names one is read by [`parse_in`].
///
/// # Errors
/// When anything in it is wrong or not supported yet: all findings, warnings included.
pub fn parse(name: &str, text: &str) -> Result<FlowFile, Diagnostics> {
    parse_with(name, text, &Calendars::default())
}

/// As [`parse`], with the calendars that a file in this folder finds.
///
/// # Errors
/// As [`parse`], and when a calendar is missing or wrong.
pub fn parse_in(folder: &Path, name: &str, text: &str) -> Result<FlowFile, Diagnostics> {
    parse_with(name, text, &Calendars::of(folder, None))
}

pub(crate) fn parse_with(
    name: &str,
    text: &str,
    calendars: &Calendars,
) -> Result<FlowFile, Diagnostics> {
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(too_large(name, text.len() as u64).into());
    }
    let source = Source::new(name, text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut found = Vec::new();
    let root = match yaml::read(&source, &mut found) {
        Ok(root) => root,
        Err(fatal) => {
            found.push(fatal);
            return Err(found.into());
        }
    };
    let cx = Cx::new(&source, found, calendars);
    let read = read_root(&cx, &root);
    let mentions = cx.mentions.take();
    let found = Diagnostics::from(cx.found());
    match read {
        Some((flow, places)) if !found.has_errors() => Ok(FlowFile {
            version: version(text, flow.spec()),
            flow,
            source: text.to_owned(),
            warnings: found,
            metaflow: None,
            name_at: places.name,
            schedules_at: places.schedules,
            promises_at: places.promises,
            resources_at: places.resources,
            mentions,
        }),
        _ => Err(found),
    }
}

pub(crate) fn too_large(name: &str, bytes: u64) -> Diagnostic {
    let message = format!("the file has {bytes} bytes, and at most {FILE_BYTES_MAX} are read");
    let help =
        "keep data in files of its own and let a step read them; repeat a step with `foreach`";
    Diagnostic::of_file(name, "flow.too_large", message, help)
}

/// Of the text, and of the calendars as they are now: another calendar is another flow.
fn version(text: &str, spec: &FlowSpec) -> Version {
    let mut digest = Sha256::new();
    digest.update(text.as_bytes());
    for calendar in calendars_of(spec) {
        let calendar = serde_json::to_string(calendar).expect("a calendar is plain data");
        digest.update([0]);
        digest.update(calendar.as_bytes());
    }
    let digest = digest.finalize();
    let mut hex = String::with_capacity(16);
    for byte in &digest[..8] {
        write!(hex, "{byte:02x}").expect("a string takes all that is written to it");
    }
    Version::new(hex)
}

fn calendars_of(spec: &FlowSpec) -> impl Iterator<Item = &Calendar> {
    let of_schedules = spec.schedules.iter().filter_map(|it| it.calendar.as_ref());
    let of_blackouts = spec.blackouts.iter().filter_map(|it| match &it.window {
        BlackoutWindow::Calendar(calendar) => Some(calendar),
        _ => None,
    });
    of_schedules.map(|it| &it.calendar).chain(of_blackouts)
}

/// Places that later findings are about.
struct Kept {
    name: Range<usize>,
    schedules: Vec<Range<usize>>,
    promises: BTreeMap<String, Range<usize>>,
    resources: BTreeMap<StepName, Range<usize>>,
}

/// Reads all parts, so that all errors are found; `None` if there is no flow in the file.
fn read_root(cx: &Cx<'_>, node: &Node) -> Option<(Arc<Flow>, Kept)> {
    const HELP: &str = "begin with `flow: NAME`, and write its steps below `steps:`";
    let root = Value { cx, name: "", node };
    match node.data {
        Data::Map(_) => {}
        Data::Null => {
            cx.push(cx.at(&(0..0), "flow.empty", "the file is empty").help(HELP));
            return None;
        }
        _ => {
            let message = format!("a flow file is a mapping, and this is {}", node.describe());
            cx.push(cx.at(&node.span, "flow.wrong_type", message).help(HELP));
            return None;
        }
    }
    if root
        .fields_quietly()?
        .iter()
        .all(|it| it.key != "flow" && it.key != "steps")
    {
        let message = "this is not a flow file: the key `flow` is missing";
        let help = "begin with `flow: NAME`; if the file is something else, move it elsewhere, or let its name begin with `_`";
        cx.push(cx.at(&node.span, "flow.missing_key", message).help(help));
        return None;
    }
    let fields = root.fields(&KEYS, HELP)?;
    let name = fields.required("flow", "write the name of the flow: `flow: my_flow`");
    let name_text = name.and_then(|it| it.text());
    if let (Some(name), Some(text)) = (name, name_text) {
        names::check(cx, Kind::Flow, text, name.span());
    }
    let text = |key| fields.get(key).and_then(|it| it.text()).map(str::to_owned);
    let executor = remote::of_flow(&fields);

    let params = fields
        .section("params")
        .map_or_else(Params::default, params::read);
    let schedules = fields
        .section("schedule")
        .map_or_else(Vec::new, |it| schedules::read(it, &params));
    let triggers = fields.section("triggers").map_or_else(Vec::new, |it| {
        triggers::read(it, &params, name_text.unwrap_or_default())
    });
    let defaults = fields
        .section("defaults")
        .map_or_else(Defaults::default, policy::defaults);
    let zone = schedules.first().map_or("UTC", |(it, _)| &it.timezone);
    let (slas, sla_places): (Vec<_>, Vec<_>) = fields
        .section("sla")
        .map_or_else(Vec::new, |it| sla::read(it, zone))
        .into_iter()
        .unzip();
    let steps = match fields.section("steps") {
        Some(it) => steps::read(it, &defaults, executor, name_text.unwrap_or_default(), zone),
        None => {
            let at = fields
                .entry("steps")
                .map_or_else(|| node.span.clone(), |it| it.key_span.clone());
            fields.missing(
                &at,
                "steps",
                "write at least one step below it: `NAME: { run: COMMAND }`",
            );
            Steps::default()
        }
    };
    let Steps {
        scopes,
        steps,
        outline,
        resources,
        promises,
    } = steps;
    let (schedules, schedule_places): (Vec<_>, Vec<_>) = schedules.into_iter().unzip();
    let (triggers, trigger_places): (Vec<_>, Vec<_>) = triggers.into_iter().unzip();
    let blackouts = fields
        .section("blackouts")
        .map_or_else(Vec::new, blackouts::read);
    let (blackouts, blackout_places): (Vec<_>, Vec<_>) = blackouts.into_iter().unzip();
    let alerts = fields.section("alerts").map_or_else(Vec::new, |it| {
        alerts::read(it, fields.entry("owner").is_some())
    });
    let mut promise_places: BTreeMap<String, Range<usize>> = promises.into_iter().collect();
    let keys = dalsegno_scheduler::sla::keys(None, &slas);
    promise_places.extend(keys.into_iter().zip(sla_places));
    let spec = FlowSpec {
        slas,
        alerts,
        blackouts,
        metaflow: None,
        name: FlowName::new(name_text.unwrap_or_default()),
        description: text("description"),
        owner: text("owner"),
        tags: fields.section("tags").map_or_else(Vec::new, tags),
        params: params.specs.clone(),
        schedules,
        triggers,
        run: fields
            .section("run")
            .map_or_else(RunPolicy::default, policy::run),
        env: fields
            .section("env")
            .map_or_else(Default::default, |it| steps::env(it, Where::FlowEnv)),
        scopes,
        steps,
    };
    required_params(cx, &params, &spec, &schedule_places, &trigger_places);
    expression::check(cx, &params.specs, &outline);
    let places = Places {
        outline: &outline,
        steps: fields
            .entry("steps")
            .map_or_else(|| node.span.clone(), |it| it.key_span.clone()),
        schedules: &schedule_places,
        blackouts: &blackout_places,
        promises: &promise_places,
        names_of_blackouts: spec.blackouts.iter().map(|it| it.name.clone()).collect(),
    };
    match Flow::new(spec) {
        Ok(flow) => name.map(|it| {
            let kept = Kept {
                name: it.span().clone(),
                schedules: schedule_places.iter().map(|it| it.whole.clone()).collect(),
                promises: promise_places.clone(),
                resources,
            };
            (Arc::new(flow), kept)
        }),
        Err(errors) => {
            errors.iter().for_each(|it| places.report(cx, it));
            None
        }
    }
}

fn tags(value: Value<'_>) -> Vec<String> {
    let words = value.one_or_list().into_iter().filter_map(|it| {
        let word = it.written().filter(|it| !it.trim().is_empty());
        if word.is_none() {
            it.wrong("a list of words", "write `tags: [ml, tier-1]`");
        }
        word
    });
    words.collect()
}

/// A run that no person starts needs a value for every parameter.
fn required_params(
    cx: &Cx<'_>,
    params: &Params,
    spec: &FlowSpec,
    schedule_places: &[schedules::SchedulePlace],
    trigger_places: &[Range<usize>],
) {
    for (param, span) in params.specs.iter().zip(&params.spans) {
        if param.default.is_some() {
            continue;
        }
        let schedules = spec.schedules.iter().zip(schedule_places);
        let schedule = schedules
            .filter(|(it, _)| !schedules::gives(it, &param.name))
            .map(|(_, it)| &it.whole);
        let triggers = spec.triggers.iter().zip(trigger_places);
        let trigger = triggers
            .filter(|(it, _)| !triggers::gives(it, &param.name))
            .map(|(_, it)| it);
        if let Some(at) = schedule.chain(trigger).next() {
            let message = format!(
                "the parameter `{}` has no default, and not every start gives it",
                param.name
            );
            let missing = cx
                .at(span, "flow.missing_param", message)
                .label("has no default");
            let help = "add a `default`, or map it under `params` of each schedule and trigger";
            cx.push(missing.also(at.clone(), "does not give it").help(help));
        }
    }
}
