//! `@trigger` and `@trigger_on_finish`: what a flow waits for.

use super::declared::{Declared, Decorator};
use super::found::Found;
use super::schedule;
use super::value::Value;
use dalsegno_scheduler::metaflow::Project;
use dalsegno_scheduler::schedule::When;
use dalsegno_scheduler::spec::{
    Consume, EventSource, FlowEnd, JoinOn, ResetSpec, TriggerExpr, TriggerLeaf, TriggerSpec,
};
use dalsegno_scheduler::{FlowName, TriggerName};
use std::collections::{BTreeMap, BTreeSet};

const EVENT: &str = "metaflow.event";

/// `None`: there is none, or it is wrong or not known (then that is reported).
pub(super) fn trigger(
    declared: &Declared,
    project: Option<&Project>,
    found: &mut Found,
) -> Option<TriggerSpec> {
    let decorator = declared.decorators.iter().find(|it| it.name == "trigger")?;
    let events = given(decorator, "event", "events", found)?;
    let names: Vec<&str> = declared.params.iter().map(|it| it.name.as_str()).collect();
    let place = decorator.place_of(if decorator.attribute("events").is_some() {
        "events"
    } else {
        "event"
    });
    let mut leaves = Vec::new();
    let mut seen = BTreeSet::new();
    let mut mapped = BTreeSet::new();
    let mut explicit = false;
    for event in &events {
        let (name, parameters) = match event {
            Value::Dict(_) => (event.get("name"), event.get("parameters")),
            other => (Some(other), None),
        };
        let name = match name {
            Some(Value::Str(name)) => name.clone(),
            Some(Value::Namespaced(name)) => namespaced(name, declared, project)?,
            Some(Value::Function(function)) => {
                let reason = format!("`{function}` is called when the flow is deployed");
                found.unknown(place, "the event of @trigger", reason);
                return None;
            }
            _ => {
                let message = "an event is a name, or a dict with `name`";
                let help = "write `event=\"new_data\"` or `event={\"name\": \"new_data\", \"parameters\": {…}}`";
                found.error(place, EVENT, message, help);
                return None;
            }
        };
        let sign = |it: u8| it.is_ascii_alphanumeric() || b"_.-".contains(&it);
        if name.is_empty() || !name.bytes().all(sign) {
            let message = format!(
                "`{}` cannot be the name of an event",
                crate::yaml::shorten(&name)
            );
            let help = "use letters, digits, `_`, `-` and `.`";
            found.error(place, EVENT, message, help);
            return None;
        }
        if !seen.insert(name.clone()) {
            let message = format!("the event `{name}` is named twice");
            found.error(place, EVENT, message, "name each event once");
            return None;
        }
        let mut fields = BTreeMap::new();
        for (param, field) in pairs(parameters, decorator, place, found)? {
            explicit = true;
            // Metaflow holds names of parameters equal that differ in case.
            let known = names.iter().find(|it| it.eq_ignore_ascii_case(&param));
            let Some(known) = known else {
                let message = format!(
                    "`@trigger` maps to the parameter `{param}`, which the flow does not have"
                );
                let help = crate::reader::did_you_mean(&param, &names);
                found.error(place, "metaflow.unknown_param", message, help);
                return None;
            };
            if !mapped.insert((*known).to_owned()) {
                let message = format!("the parameter `{known}` is taken from two fields");
                found.error(
                    place,
                    EVENT,
                    message,
                    "map each parameter once, over all events",
                );
                return None;
            }
            let sign = |it: u8| it.is_ascii_alphanumeric() || it == b'_';
            if field.is_empty() || !field.bytes().all(sign) {
                let message = format!(
                    "`{}` cannot be the name of a field",
                    crate::yaml::shorten(&field)
                );
                let help = "use letters, digits and `_`";
                found.error(place, EVENT, message, help);
                return None;
            }
            fields.insert((*known).to_owned(), field);
        }
        leaves.push(TriggerLeaf {
            source: EventSource::Event { kind: name },
            filter: None,
            params: BTreeMap::new(),
            join: None,
            fields,
        });
    }
    // One event and no mapping: fields named like parameters are taken.
    if let ([leaf], false) = (leaves.as_mut_slice(), explicit) {
        leaf.fields = names
            .iter()
            .map(|it| ((*it).to_owned(), it.to_lowercase()))
            .collect();
    }
    Some(TriggerSpec {
        timezone: None,
        consume: consume(&leaves),
        debounce: None,
        on_deadline: None,
        name: TriggerName::new("trigger"),
        on: all_of(leaves),
        join_on: JoinOn::None,
        within: None,
        reset_at: reset_at(decorator, found)?,
    })
}

/// Of several events Argo Events, and so Metaflow, keeps the newest of each.
fn consume(leaves: &[TriggerLeaf]) -> Consume {
    match leaves.len() {
        1 => Consume::Each,
        _ => Consume::Latest,
    }
}

/// `None`: there is none, or it is wrong or not known (then that is reported).
pub(super) fn on_finish(
    declared: &Declared,
    project: Option<&Project>,
    found: &mut Found,
) -> Option<TriggerSpec> {
    const CODE: &str = "metaflow.trigger_on_finish";
    let decorator = declared
        .decorators
        .iter()
        .find(|it| it.name == "trigger_on_finish")?;
    let flows = given(decorator, "flow", "flows", found)?;
    if project.is_none() && declared.decorators.iter().any(|it| it.name == "project") {
        // The project is reported elsewhere.
        return None;
    }
    let place = decorator.place_of(if decorator.attribute("flows").is_some() {
        "flows"
    } else {
        "flow"
    });
    let mut leaves: Vec<TriggerLeaf> = Vec::new();
    for flow in &flows {
        // A dump tells the parts under other names.
        let part = |keys: [&str; 2]| {
            keys.iter()
                .find_map(|it| flow.get(it))
                .and_then(Value::text)
        };
        let (name, own_project, own_branch) = match flow {
            Value::Str(text) => match text.split('.').count() {
                1 => (text.as_str(), None, None),
                2 => {
                    let message = format!(
                        "`{text}` is neither the name of a flow nor project, branch and flow"
                    );
                    let help = "write `MyFlow` or `my_project.prod.MyFlow`";
                    found.error(place, CODE, message, help);
                    return None;
                }
                _ => {
                    let (project, rest) = text.split_once('.').unwrap_or_default();
                    let (branch, name) = rest.rsplit_once('.').unwrap_or_default();
                    (name, Some(project), Some(branch))
                }
            },
            Value::Dict(_) => match part(["flow", "name"]) {
                Some(name) => (
                    name,
                    part(["project", "project"]),
                    part(["branch", "project_branch"]),
                ),
                None => {
                    let message = "a flow to wait for lacks its `name`";
                    let help = "write `{\"name\": \"MyFlow\"}`";
                    found.error(place, CODE, message, help);
                    return None;
                }
            },
            Value::Function(function) => {
                let reason = format!("`{function}` is called when the flow is deployed");
                found.unknown(place, "the flow of @trigger_on_finish", reason);
                return None;
            }
            other => {
                let message = format!(
                    "`{}` is not the name of a flow",
                    crate::yaml::shorten(&other.repr())
                );
                let help = "write `flow=\"MyFlow\"` or `flow={\"name\": \"MyFlow\", \"project\": \"p\", \"project_branch\": \"prod\"}`";
                found.error(place, CODE, message, help);
                return None;
            }
        };
        let sign = |it: u8| it.is_ascii_alphanumeric() || it == b'_';
        if name.is_empty() || !name.bytes().all(sign) {
            let message = format!(
                "`{}` cannot be the name of a flow",
                crate::yaml::shorten(name)
            );
            let help = "use letters, digits and `_`";
            found.error(place, CODE, message, help);
            return None;
        }
        let in_project = own_project.or_else(|| project.map(|it| it.name.as_str()));
        let in_branch = own_branch.or_else(|| project.map(|it| it.branch.as_str()));
        let full = match (in_project, in_branch) {
            (None, None) => name.to_owned(),
            (Some(project), Some(branch)) => format!("{project}.{branch}.{name}"),
            (one, _) => {
                let missing = if one.is_some() {
                    "project_branch"
                } else {
                    "project"
                };
                let message = format!(
                    "the flow `{name}` to wait for lacks its `{missing}`, and this flow has no `@project` to take it from"
                );
                let help = format!("add `\"{missing}\": \"…\"`");
                found.error(place, CODE, message, help);
                return None;
            }
        };
        let leaf = TriggerLeaf {
            source: EventSource::Flow {
                flow: FlowName::new(&full),
                on: FlowEnd::Succeeded,
            },
            filter: None,
            params: BTreeMap::new(),
            join: None,
            fields: BTreeMap::new(),
        };
        if leaves.contains(&leaf) {
            let message = format!("the flow `{full}` is named twice");
            found.error(place, CODE, message, "name each flow once");
            return None;
        }
        leaves.push(leaf);
    }
    Some(TriggerSpec {
        timezone: None,
        consume: consume(&leaves),
        debounce: None,
        on_deadline: None,
        name: TriggerName::new("trigger_on_finish"),
        on: all_of(leaves),
        join_on: JoinOn::None,
        within: None,
        reset_at: reset_at(decorator, found)?,
    })
}

fn all_of(mut leaves: Vec<TriggerLeaf>) -> TriggerExpr {
    match leaves.len() {
        1 => TriggerExpr::Leaf(leaves.remove(0)),
        _ => TriggerExpr::AllOf(leaves.into_iter().map(TriggerExpr::Leaf).collect()),
    }
}

/// What is waited for: of a dump as Metaflow worked it out, else one or several attributes.
fn given(decorator: &Decorator, one: &str, many: &str, found: &mut Found) -> Option<Vec<Value>> {
    if let Some(serde_json::Value::Array(all)) = &decorator.triggers {
        return Some(all.iter().map(Value::of_json).collect());
    }
    let code = match one {
        "event" => EVENT,
        _ => "metaflow.trigger_on_finish",
    };
    let single = decorator
        .value(one, found)
        .filter(|it| it.is_true())
        .cloned();
    let several = decorator
        .value(many, found)
        .filter(|it| it.is_true())
        .cloned();
    if !decorator.is_known(one) || !decorator.is_known(many) {
        return None;
    }
    match (single, several) {
        (Some(_), Some(_)) => {
            let message = format!("`@{}` has both `{one}` and `{many}`", decorator.name);
            let help = format!("put all of them into `{many}`");
            found.error(&decorator.place, code, message, help);
            None
        }
        (None, None) => {
            let message = format!("`@{}` names nothing to wait for", decorator.name);
            let help = format!("write `@{}({one}=\"…\")`", decorator.name);
            found.error(&decorator.place, code, message, help);
            None
        }
        (Some(one), None) => Some(vec![one]),
        (None, Some(Value::List(several))) => Some(several),
        (None, Some(Value::Function(function))) => {
            let reason = format!("`{function}` is called when the flow is deployed");
            let what = format!("@{}({many}=…)", decorator.name);
            found.unknown(decorator.place_of(many), what, reason);
            None
        }
        (None, Some(_)) => {
            let message = format!("`{many}` must be a list");
            let help = format!("write `{many}=[\"a\", \"b\"]`");
            found.error(decorator.place_of(many), code, message, help);
            None
        }
    }
}

/// Parameters and the fields they are taken from. The inner `None`: wrong or not known.
fn pairs(
    parameters: Option<&Value>,
    decorator: &Decorator,
    place: &super::found::Place,
    found: &mut Found,
) -> Option<Vec<(String, String)>> {
    let wrong = |found: &mut Found| {
        let message = format!(
            "`parameters` of `@{}` is not a mapping of names",
            decorator.name
        );
        let help =
            "write `\"parameters\": {\"alpha\": \"field\"}`, or a list of names or pairs of names";
        found.error(place, EVENT, message, help);
        None
    };
    match parameters {
        None | Some(Value::None) => Some(Vec::new()),
        Some(Value::Dict(items)) => {
            let pairs = items
                .iter()
                .map(|(key, value)| Some((key.text()?.to_owned(), value.text()?.to_owned())));
            match pairs.collect() {
                Some(pairs) => Some(pairs),
                None => wrong(found),
            }
        }
        Some(Value::List(items)) => {
            let pairs = items.iter().map(|it| match it {
                Value::Str(name) => Some((name.clone(), name.clone())),
                Value::Tuple(pair) => match pair.as_slice() {
                    [param, field] => Some((param.text()?.to_owned(), field.text()?.to_owned())),
                    _ => None,
                },
                _ => None,
            });
            match pairs.collect() {
                Some(pairs) => Some(pairs),
                None => wrong(found),
            }
        }
        Some(Value::Function(function)) => {
            let reason = format!("`{function}` is called when the flow is deployed");
            found.unknown(place, "the parameters of @trigger", reason);
            None
        }
        Some(_) => wrong(found),
    }
}

/// As Metaflow's `namespaced_event_name` gives it.
fn namespaced(name: &str, declared: &Declared, project: Option<&Project>) -> Option<String> {
    let has_project = declared.decorators.iter().any(|it| it.name == "project");
    match (project, has_project) {
        (Some(project), _) => {
            let sign = |it: &char| it.is_ascii_alphanumeric() || "_-.".contains(*it);
            let branch: String = project.branch.chars().filter(sign).collect();
            Some(format!("mfns.{}.{branch}.{name}", project.name))
        }
        (None, false) => Some(format!("mfns.{name}")),
        // The project is reported elsewhere.
        (None, true) => None,
    }
}

/// `options={"reset_at": {"cron": …, "timezone": …}}`. The outer `None`: wrong or not known.
#[expect(clippy::option_option, reason = "wrong, and not given, are different")]
fn reset_at(decorator: &Decorator, found: &mut Found) -> Option<Option<ResetSpec>> {
    let Some(options) = decorator.value("options", found) else {
        return decorator.is_known("options").then_some(None);
    };
    let Some(reset) = options.get("reset_at") else {
        return Some(None);
    };
    let Some(text) = reset.get("cron").and_then(Value::text) else {
        let message = "`reset_at` lacks its `cron`";
        let help = "write `options={\"reset_at\": {\"cron\": \"0 0 * * *\", \"timezone\": \"Europe/Berlin\"}}`";
        found.error(decorator.place_of("options"), EVENT, message, help);
        return None;
    };
    let when = When::Cron {
        text: text.to_owned(),
    };
    let timezone = reset
        .get("timezone")
        .and_then(Value::text)
        .unwrap_or("UTC")
        .to_owned();
    schedule::check(&when, &timezone, decorator, found)
        .then_some(Some(ResetSpec { when, timezone }))
}
