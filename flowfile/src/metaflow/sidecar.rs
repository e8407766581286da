//! What Metaflow has no words for: promises, alerts and the owner of a flow, in a YAML file beside it.

use super::found::Found;
use crate::calendars::Calendars;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::reader::{Cx, Value, did_you_mean};
use crate::source::Source;
use crate::yaml::{self, Data};
use crate::{alerts, sla};
use dalsegno_scheduler::sla::SlaSpec;
use dalsegno_scheduler::spec::FlowSpec;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const KEYS: [&str; 4] = ["owner", "sla", "steps", "alerts"];
const KEYS_OF_STEP: [&str; 1] = ["sla"];
const HELP: &str =
    "write `sla:`, `steps:`, `alerts:` or `owner:`; all else stands in the Python file";
const HELP_STEPS: &str = "write `steps: { NAME: { sla: [{ max_duration: 30m }] } }`";

const ENDING: &str = ".dalsegno.yaml";
/// Other ways to write it, which would look right and do nothing.
const NEARLY: &str = ".dalsegno.yml";

/// Whether a file has the name of a sidecar.
pub(crate) fn is_sidecar(path: &Path) -> bool {
    name(path).is_some_and(|it| it.ends_with(ENDING) || it.ends_with(NEARLY))
}

/// The Metaflow file beside which this one lies, such as `train.py` for `train.dalsegno.yaml`; any other file, and one
/// whose flow is not there, stands for itself.
pub fn flow_file(path: &Path) -> PathBuf {
    let flow = flow_of(path);
    match is_sidecar(path) && sidecar_of(&flow) == path && flow.exists() {
        true => flow,
        false => path.to_owned(),
    }
}

/// The flow file to which a sidecar belongs.
fn flow_of(path: &Path) -> PathBuf {
    let name = name(path).unwrap_or_default();
    let stem = name
        .strip_suffix(ENDING)
        .or_else(|| name.strip_suffix(NEARLY));
    path.with_file_name(format!("{}.py", stem.unwrap_or(name)))
}

/// Whether one of these flow files reads it.
pub(super) fn belongs(path: &Path, flows: &BTreeSet<PathBuf>) -> bool {
    let flow = flow_of(path);
    sidecar_of(&flow) == path && flows.contains(&flow)
}

/// The sidecar of a flow file, whether it is there or not.
fn sidecar_of(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}{ENDING}"))
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// A sidecar beside which there is no flow that it could be about.
pub(crate) fn alone(path: &Path) -> Diagnostics {
    let flow = flow_of(path);
    let shown = flow.file_name().unwrap_or_default().to_string_lossy();
    let is_named = name(path).is_some_and(|it| it.ends_with(ENDING));
    let (message, help) = match (is_named, flow.exists()) {
        (false, _) => (
            "a file beside a Metaflow flow ends in `.dalsegno.yaml`, not in `.yml`".to_owned(),
            "rename it".to_owned(),
        ),
        (true, true) => (
            format!("it belongs to `{shown}`, and no Metaflow flow of its own is in that file"),
            "put it beside the file that holds the flow, or remove it".to_owned(),
        ),
        (true, false) => (
            format!(
                "it belongs to a Metaflow flow in `{shown}`, and there is no such file beside it"
            ),
            format!(
                "put `{shown}` beside it, or remove it; if it is a flow file itself, let its name end in another way than `{ENDING}`"
            ),
        ),
    };
    let name = path.display().to_string();
    Diagnostic::of_file(&name, "metaflow.sidecar", message, help).into()
}

/// The text of a sidecar, so that it can be read again when more is known of its flow.
#[derive(Debug)]
pub(super) struct Sidecar {
    pub(super) source: Arc<Source>,
}

impl Sidecar {
    /// That of a flow file, if there is one.
    pub(super) fn beside(flow: &Path) -> Result<Option<Arc<Self>>, Diagnostics> {
        let path = sidecar_of(flow);
        // What cannot be looked at is told when it is read.
        if matches!(path.try_exists(), Ok(false)) {
            return Ok(None);
        }
        let text = crate::folder::text(&path)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let source = Source::new(&path.display().to_string(), text);
        Ok(Some(Arc::new(Self { source })))
    }

    /// Puts what it says into a flow, and gives the places of its promises by their keys. `complete`: all steps are known.
    pub(super) fn apply(
        &self,
        spec: &mut FlowSpec,
        complete: bool,
        found: &mut Found,
    ) -> BTreeMap<String, Range<usize>> {
        let calendars = Calendars::default();
        let mut faults = Vec::new();
        let root = match yaml::read(&self.source, &mut faults) {
            Ok(root) => root,
            Err(fatal) => {
                faults.push(fatal);
                found.diagnostics.extend(faults);
                return BTreeMap::new();
            }
        };
        let cx = Cx::new(&self.source, faults, &calendars);
        let root = Value {
            cx: &cx,
            name: "",
            node: &root,
        };
        let places = match &root.node.data {
            Data::Map(_) => read(root, spec, complete),
            Data::Null => {
                let empty = cx.at(&(0..0), "flow.empty", "the file is empty");
                cx.push(empty.help(format!("{HELP}; or remove the file")));
                BTreeMap::new()
            }
            _ => {
                let found = root.node.describe();
                let message = format!("a file beside a flow is a mapping, and this is {found}");
                let wrong = cx.at(root.span(), "flow.wrong_type", message);
                cx.push(wrong.help(HELP));
                BTreeMap::new()
            }
        };
        found.diagnostics.extend(cx.found());
        places
    }
}

fn read(root: Value<'_>, spec: &mut FlowSpec, complete: bool) -> BTreeMap<String, Range<usize>> {
    let Some(fields) = root.fields(&KEYS, HELP) else {
        return BTreeMap::new();
    };
    let zone = spec.schedules.first().map(|it| it.timezone.clone());
    let zone = zone.as_deref().unwrap_or("UTC");
    spec.owner = fields
        .get("owner")
        .and_then(|it| it.text())
        .map(str::to_owned);
    let has_owner = fields.entry("owner").is_some();
    spec.alerts = fields
        .section("alerts")
        .map_or_else(Vec::new, |it| alerts::read(it, has_owner));
    let mut places = BTreeMap::new();
    if let Some(it) = fields.section("sla") {
        let at: Vec<Range<usize>>;
        (spec.slas, at) = unzipped(sla::read(it, zone));
        places.extend(
            dalsegno_scheduler::sla::keys(None, &spec.slas)
                .into_iter()
                .zip(at),
        );
    }
    let steps = fields
        .section("steps")
        .map_or(&[][..], |it| it.entries(HELP_STEPS));
    for entry in steps {
        let value = Value {
            cx: root.cx,
            name: &entry.key,
            node: &entry.value,
        };
        let fields = match entry.value.is_null() {
            true => None,
            false => value.fields(&KEYS_OF_STEP, HELP_STEPS),
        };
        let promises = fields.and_then(|it| it.section("sla"));
        let (slas, at) = unzipped(promises.map_or_else(Vec::new, |it| sla::read(it, zone)));
        match spec
            .steps
            .iter_mut()
            .find(|it| it.name.as_str() == entry.key)
        {
            Some(step) => {
                let keys = dalsegno_scheduler::sla::keys(Some(&step.name), &slas);
                step.slas = slas;
                places.extend(keys.into_iter().zip(at));
            }
            // A base class that nobody has seen may have it.
            None if !complete => {}
            None => {
                let steps = spec.steps.iter().filter(|it| it.hook.is_none());
                let names: Vec<&str> = steps.map(|it| it.name.as_str()).collect();
                let message = format!(
                    "the flow `{}` has no step `{}`",
                    spec.name,
                    yaml::shorten(&entry.key)
                );
                let unknown = root.cx.at(&entry.key_span, "flow.unknown_step", message);
                root.cx.push(unknown.help(did_you_mean(&entry.key, &names)));
            }
        }
    }
    places
}

fn unzipped(promises: Vec<(SlaSpec, Range<usize>)>) -> (Vec<SlaSpec>, Vec<Range<usize>>) {
    promises.into_iter().unzip()
}
