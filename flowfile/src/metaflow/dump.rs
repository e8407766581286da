//! What Metaflow itself says of a flow: the dump that a probe or a deployment brings.

use super::declared::{Attribute, Declared, Decorator, Kind, Param, ParamType, Step};
use super::differences::{self, Difference};
use super::found::{Found, Place};
use super::known;
use super::options::Options;
use super::params;
use super::read::{MetaflowFile, finish, version, with_sidecar};
use super::sidecar::Sidecar;
use super::value::Value;
use super::with;
use crate::diagnostic::Diagnostics;
use crate::file::FlowFile;
use crate::source::Source;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The output of `flow.py dalsegno-task dump`. Keys that are missing have their default, unknown ones are ignored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Dump {
    pub version: u32,
    pub metaflow_version: Option<String>,
    /// The class.
    pub flow: String,
    pub doc: Option<String>,
    pub start: Option<String>,
    pub end: Option<String>,
    /// `project_name`, `branch_name` and more; null without `@project`.
    pub project: Option<Json>,
    pub decorators: Vec<DumpDecorator>,
    pub parameters: Vec<DumpParameter>,
    pub configs: Map<String, Json>,
    pub steps: BTreeMap<String, DumpStep>,
    pub exit_hooks: Option<DumpHooks>,
}

/// A decorator with all its attributes, defaults included.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DumpDecorator {
    pub name: String,
    pub attributes: Map<String, Json>,
    /// Events or flows, after functions were called.
    pub triggers: Option<Json>,
    pub options: Option<Json>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DumpParameter {
    pub var: String,
    pub name: String,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub required: bool,
    pub multiple: bool,
    pub default: Json,
    pub help: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DumpStep {
    #[serde(rename = "type")]
    pub kind: String,
    pub next: Vec<String>,
    pub decorators: Vec<DumpDecorator>,
    pub line: u32,
    pub doc: Option<String>,
    pub user_code_retries: u32,
    pub error_retries: u32,
}

/// Names of functions.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DumpHooks {
    pub on_success: Vec<String>,
    pub on_error: Vec<String>,
}

/// The flow as Metaflow itself sees it, at the lines where reading found it. What reading took for something
/// else is listed, and among the warnings too.
///
/// # Errors
/// When the dump is of another flow, or Metaflow accepts what cannot be mapped: all findings.
pub fn with_dump(
    file: &FlowFile,
    dump: &Dump,
    options: &Options,
) -> Result<(FlowFile, Vec<Difference>), Diagnostics> {
    let name = match &file.metaflow {
        Some(it) => it.declared.place.source.name.clone(),
        None => file.flow.name().to_string(),
    };
    let Some(read) = &file.metaflow else {
        let file = flow_from_dump(Path::new(&name), None, &file.source, dump, options)?;
        return Ok((file, Vec::new()));
    };
    let mut found = Found::default();
    if read.declared.class != dump.flow {
        let message = format!(
            "the file is read as the flow `{}`, and run it is `{}`",
            read.declared.class, dump.flow
        );
        let help = "run the flow that is meant below `if __name__ == \"__main__\":`, and no other";
        found.error(&read.declared.place, "metaflow.two_flows", message, help);
        return Err(found.diagnostics.into());
    }
    let mut declared = declared(dump, &read.declared.place, Some(&read.declared));
    with::attach(&mut declared, &options.with, &mut found);
    let (flow, declared, promises_at) =
        finish(declared, options, read.sidecar.as_deref(), &mut found)?;
    let differences = differences::list(read, &declared, options);
    for it in &differences {
        it.warn(&mut found);
    }
    // What is the same for reading and running was found twice.
    for it in &file.warnings {
        let same = |other: &crate::Diagnostic| other.code == it.code && other.line == it.line;
        if !found.diagnostics.iter().any(same) {
            found.diagnostics.push(it.clone());
        }
    }
    let mut version_of = file.version.clone();
    if !dump.configs.is_empty() {
        let configs = Json::Object(dump.configs.clone()).to_string();
        version_of = version([file.version.as_str(), &configs].into_iter(), options);
    }
    let merged = FlowFile {
        flow: Arc::new(flow),
        version: version_of,
        source: file.source.clone(),
        warnings: found.diagnostics.into(),
        metaflow: Some(MetaflowFile {
            closure: read.closure.clone(),
            config_files: read.config_files.clone(),
            needs_probe: false,
            dynamic: Vec::new(),
            complete: true,
            instantiated: true,
            version_of_code: read.version_of_code.clone(),
            sidecar: read.sidecar.clone(),
            declared: Arc::new(declared),
        }),
        name_at: file.name_at.clone(),
        schedules_at: Vec::new(),
        promises_at,
        resources_at: BTreeMap::new(),
        mentions: Vec::new(),
    };
    Ok((merged, differences))
}

/// The flow of a dump alone, for a deployment that brings no text that can be read. `path` is what findings call
/// the file, `beside` where it lies if its sidecar may lie there too; `text` is kept as the flow's source, and with the dump and the options makes its version.
///
/// # Errors
/// When the dump holds what Metaflow would refuse, or what cannot be mapped: all findings.
pub fn flow_from_dump(
    path: &Path,
    beside: Option<&Path>,
    text: &str,
    dump: &Dump,
    options: &Options,
) -> Result<FlowFile, Diagnostics> {
    let source = Source::new(&path.display().to_string(), "");
    let place = Place::new(&source, 0..0);
    let mut found = Found::default();
    let mut declared = declared(dump, &place, None);
    with::attach(&mut declared, &options.with, &mut found);
    let sidecar = beside.map_or(Ok(None), Sidecar::beside)?;
    let (flow, declared, promises_at) = finish(declared, options, sidecar.as_deref(), &mut found)?;
    let shown = serde_json::to_string(dump).expect("a dump is plain data");
    let version_of_code = version([text, &shown].into_iter(), options);
    Ok(FlowFile {
        flow: Arc::new(flow),
        version: with_sidecar(&version_of_code, sidecar.as_deref(), options),
        source: text.to_owned(),
        warnings: found.diagnostics.into(),
        metaflow: Some(MetaflowFile {
            closure: Vec::new(),
            config_files: Vec::new(),
            needs_probe: false,
            dynamic: Vec::new(),
            complete: true,
            instantiated: true,
            version_of_code,
            sidecar,
            declared: Arc::new(declared),
        }),
        name_at: 0..0,
        schedules_at: Vec::new(),
        promises_at,
        resources_at: BTreeMap::new(),
        mentions: Vec::new(),
    })
}

/// What a dump declares; places are those of the reading where it knows them.
fn declared(dump: &Dump, place: &Place, read: Option<&Declared>) -> Declared {
    let mut steps: Vec<Step> = dump
        .steps
        .iter()
        .map(|(name, it)| {
            let read = read.and_then(|it| it.steps.iter().find(|it| it.name == *name));
            let is = |which: &Option<String>| which.as_deref() == Some(name);
            step(name, it, read, place, is(&dump.start), is(&dump.end))
        })
        .collect();
    if let Some(read) = read {
        let place = |name: &str| read.steps.iter().position(|it| it.name == name);
        steps.sort_by_key(|it| place(&it.name).unwrap_or(usize::MAX));
    }
    let mut decorators: Vec<Decorator> = dump
        .decorators
        .iter()
        .filter(|it| it.name != "exit_hook" || dump.exit_hooks.is_none())
        .map(|it| {
            let read = read.map_or(&[][..], |it| &it.decorators);
            decorator(it, read.iter().find(|read| read.name == it.name), place)
        })
        .collect();
    decorators.extend(hooks(dump, read, place));
    let mut parameters: Vec<Param> = dump
        .parameters
        .iter()
        .map(|it| {
            let read = read.and_then(|read| read.params.iter().find(|read| read.name == it.name));
            parameter(it, read, place)
        })
        .collect();
    if let Some(read) = read {
        let place = |name: &str| read.params.iter().position(|it| it.name == name);
        parameters.sort_by_key(|it| place(&it.name).unwrap_or(usize::MAX));
    }
    Declared {
        class: dump.flow.clone(),
        doc: dump.doc.clone().unwrap_or_default(),
        place: place.clone(),
        decorators,
        steps,
        start: dump.start.clone(),
        end: dump.end.clone(),
        params: parameters,
        configs: dump.configs.clone(),
        metaflow_version: dump.metaflow_version.clone(),
        complete: true,
        project: dump.project.clone().filter(|it| !it.is_null()),
    }
}

fn step(
    name: &str,
    dump: &DumpStep,
    read: Option<&Step>,
    place: &Place,
    is_start: bool,
    is_end: bool,
) -> Step {
    let place = read.map_or(place, |it| &it.place);
    let kind = match dump.kind.as_str() {
        "split-static" | "split" => Kind::Split,
        "split-foreach" | "foreach" => Kind::Foreach,
        "split-parallel" => Kind::Parallel,
        "split-switch" => Kind::Switch,
        "join" => Kind::Join,
        "end" => Kind::End,
        _ => Kind::Linear,
    };
    let read_decorators = read.map_or(&[][..], |it| &it.decorators);
    Step {
        name: name.to_owned(),
        place: place.clone(),
        has_next: !dump.next.is_empty(),
        valid_next: true,
        next: dump.next.clone(),
        next_place: read.and_then(|it| it.next_place.clone()),
        stray_next: None,
        arguments: if kind == Kind::Join { 2 } else { 1 },
        kind,
        marked_start: is_start,
        marked_end: is_end,
        decorators: step_decorators(&dump.decorators, read_decorators, place),
        retries: Some((dump.user_code_retries, dump.error_retries)),
    }
}

/// Those of the dump; functions of the user's, which Metaflow does not see, stay where they are written.
fn step_decorators(dump: &[DumpDecorator], read: &[Decorator], place: &Place) -> Vec<Decorator> {
    let mut decorators: Vec<Decorator> = Vec::new();
    for it in dump {
        let before = decorators
            .iter()
            .filter(|done| done.name == it.name)
            .count();
        let read = read.iter().filter(|read| read.name == it.name).nth(before);
        decorators.push(decorator(it, read, place));
    }
    for (at, it) in read.iter().enumerate() {
        let there = decorators.iter().any(|done| done.name == it.name);
        if !there && known::decorator(&it.name).is_none() {
            decorators.insert(at.min(decorators.len()), it.clone());
        }
    }
    decorators
}

fn decorator(dump: &DumpDecorator, read: Option<&Decorator>, place: &Place) -> Decorator {
    let place = read.map_or(place, |it| &it.place);
    let mut attributes: Vec<Attribute> = dump
        .attributes
        .iter()
        .map(|(name, value)| Attribute {
            name: name.clone(),
            place: read.map_or(place, |it| it.place_of(name)).clone(),
            // Some of Metaflow's own dumps write null as the text `None`.
            value: Ok(match Value::of_json(value) {
                Value::Str(text) if text == "None" => Value::None,
                value => value,
            }),
        })
        .collect();
    if let Some(options) = dump.options.as_ref().filter(|it| it.is_object()) {
        attributes.retain(|it| it.name != "options");
        attributes.push(Attribute {
            name: "options".to_owned(),
            place: place.clone(),
            value: Ok(Value::of_json(options)),
        });
    }
    Decorator {
        name: dump.name.clone(),
        text: match read {
            Some(read) if same(read, &attributes) => read.text.clone(),
            _ => shown(&dump.name, &attributes),
        },
        place: place.clone(),
        attributes,
        triggers: dump.triggers.clone().filter(Json::is_array),
    }
}

/// Whether all that was read is so when run.
fn same(read: &Decorator, run: &[Attribute]) -> bool {
    read.attributes.iter().all(|read| {
        let run = run.iter().find(|it| it.name == read.name);
        match (&read.value, run.map(|it| &it.value)) {
            (Ok(read), Some(Ok(run))) => {
                read.plain() == run.plain() || read.to_json() == run.to_json()
            }
            _ => false,
        }
    })
}

fn shown(name: &str, attributes: &[Attribute]) -> String {
    let given: Vec<String> = attributes
        .iter()
        .filter_map(|it| match &it.value {
            Ok(value) if value.is_true() => Some(format!("{}={}", it.name, value.repr())),
            _ => None,
        })
        .collect();
    match given.is_empty() {
        true => format!("@{name}"),
        false => format!("@{name}({})", given.join(", ")),
    }
}

/// As one decorator, as the dump lists the functions of all of them.
fn hooks(dump: &Dump, read: Option<&Declared>, place: &Place) -> Option<Decorator> {
    let hooks = dump.exit_hooks.as_ref()?;
    if hooks.on_success.is_empty() && hooks.on_error.is_empty() {
        return None;
    }
    let read = read.and_then(|it| it.decorators.iter().find(|it| it.name == "exit_hook"));
    let place = read.map_or(place, |it| &it.place);
    let list = |name: &str, functions: &[String]| Attribute {
        name: name.to_owned(),
        place: place.clone(),
        value: Ok(Value::List(
            functions.iter().cloned().map(Value::Str).collect(),
        )),
    };
    Some(Decorator {
        name: "exit_hook".to_owned(),
        text: "@exit_hook".to_owned(),
        place: place.clone(),
        attributes: vec![
            list("on_success", &hooks.on_success),
            list("on_error", &hooks.on_error),
        ],
        triggers: None,
    })
}

fn parameter(dump: &DumpParameter, read: Option<&Param>, place: &Place) -> Param {
    let mut param = Param {
        name: dump.name.clone(),
        place: read.map_or(place, |it| &it.place).clone(),
        kind: dump
            .kind
            .as_deref()
            .and_then(params::type_named)
            .unwrap_or(ParamType::String),
        required: dump.required,
        multiple: dump.multiple,
        default: Some(dump.default.clone()).filter(|it| !it.is_null()),
        unknown_default: None,
        help: dump.help.clone(),
    };
    // Metaflow has taken the default, so what does not fit is left to it.
    let given = param.default.clone();
    params::fit(&mut param, &mut Found::default());
    if param.default.is_none() {
        param.default = given;
    }
    param
}
