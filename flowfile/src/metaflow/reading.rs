//! A class's text to what Metaflow would make of it.

use super::class::{ClassRef, Lineage, lineage};
use super::declared::{Attribute, Declared, Decorator, Kind, Step};
use super::found::{Found, Place};
use super::known::{self, Known, Target};
use super::module::{Loader, Symbol};
use super::syntax::{Call, Expr, ExprKind, Function, Member, MemberKind};
use super::value::{Scope, Shadow, Unknown, Value};
use super::{params, perhaps, transition};
use std::rc::Rc;

pub(super) fn read(loader: &Loader<'_>, class: &ClassRef, found: &mut Found) -> Declared {
    let lineage = lineage(loader, class);
    for (place, name) in &lineage.unknown {
        let reason = "it comes from a module that is not beside the file";
        found.unknown(place, format!("the base class `{name}`"), reason);
    }
    unread(loader, &lineage, found);
    let mut declared = Declared {
        class: class.class().name.clone(),
        doc: class.class().doc.clone().unwrap_or_default(),
        place: class.place(),
        decorators: flow_decorators(loader, &lineage, found),
        steps: Vec::new(),
        start: None,
        end: None,
        params: Vec::new(),
        configs: serde_json::Map::new(),
        metaflow_version: None,
        complete: lineage.unknown.is_empty(),
        project: None,
    };
    for (owner, member) in lineage.members() {
        let scope = Scope {
            loader,
            file: Rc::clone(&owner.file),
            class: Some(owner.index),
            before: member.at.start,
        };
        let (is_new, place) = match &member.kind {
            MemberKind::Function(it) => {
                let place = Place::new(&owner.file.source, it.name_at.clone());
                let step = step(&scope, it, &mut declared.complete, found);
                let is_step = step.is_some();
                declared.steps.extend(step);
                (is_step, place)
            }
            MemberKind::Value(it) => {
                let place = Place::new(&owner.file.source, it.at.clone());
                let is_param = params::read(&scope, &member.name, it, &mut declared.params, found);
                if !is_param
                    && params::may_have_name(&member.name)
                    && perhaps::may_be_parameter(loader, &owner.file, it)
                {
                    unread_parameter(&place, &member.name, found);
                }
                (is_param, place)
            }
            MemberKind::Import(index, which) => {
                let place = Place::new(&owner.file.source, member.at.clone());
                let symbol = loader.import(&owner.file, *index, *which);
                let may_be = match symbol {
                    // A module by itself is no Parameter.
                    Symbol::Module(_) | Symbol::Package(_) | Symbol::Metaflow(_) => false,
                    _ if which.is_none() => false,
                    Symbol::Value(file, index) => {
                        perhaps::may_be_parameter(loader, &file, Symbol::value(&file, index))
                    }
                    Symbol::Function(..) | Symbol::Class(..) => false,
                    other => perhaps::is_parameter(loader, &other),
                };
                if may_be {
                    unread_parameter(&place, &member.name, found);
                }
                (is_overwritten(owner, member), place)
            }
            MemberKind::Other(mentions) => {
                let place = Place::new(&owner.file.source, member.at.clone());
                if params::may_have_name(&member.name)
                    && perhaps::leads_to_parameter(loader, &owner.file, mentions)
                {
                    unread_parameter(&place, &member.name, found);
                }
                if is_overwritten(owner, member) {
                    let what = format!("`{}`", member.name);
                    found.unknown(&place, what, "it is set in a way that is not followed");
                    declared.complete = false;
                }
                continue;
            }
            MemberKind::Deleted => continue,
        };
        let is_new = is_new || is_overwritten(owner, member);
        if is_new && member.perhaps {
            let what = format!("`{}`", member.name);
            found.unknown(&place, what, "it is defined under a condition");
            declared.complete = false;
        }
    }
    declared
}

/// Whether something of the same name stands before a member that may be a step or a Parameter.
fn is_overwritten(owner: &ClassRef, member: &Member) -> bool {
    owner.class().members.iter().any(|it| {
        it.name == member.name
            && it.at.start < member.at.start
            && match &it.kind {
                MemberKind::Function(it) => !it.decorators.is_empty(),
                MemberKind::Value(it) => it.call().is_some(),
                _ => false,
            }
    })
}

fn unread_parameter(place: &Place, name: &str, found: &mut Found) {
    let reason = "it may be a Parameter, and is made in a way that is not followed";
    found.unknown(place, format!("`{name}`"), reason);
}

/// What the code of the flow's files may do to it while they are loaded.
fn unread(loader: &Loader<'_>, lineage: &Lineage, found: &mut Found) {
    let world = loader.world();
    for (file, (power, at)) in world.powers() {
        let place = Place::new(&file.source, at.clone());
        let reason = "it can change anything that the file says";
        found.unknown(&place, format!("`{power}(…)`"), reason);
    }
    let names: Vec<&str> = lineage
        .classes
        .iter()
        .map(|it| it.class().name.as_str())
        .collect();
    for (file, it) in world.stored() {
        if it.of.iter().any(|it| names.contains(&it.as_str())) {
            let place = Place::new(&file.source, it.at.clone());
            let what = format!("`{}.{}`", it.of.join("."), it.name);
            found.unknown(&place, what, "it is set outside of the class");
        }
    }
    for name in names {
        if let Some((file, at)) = world.kept(name) {
            let place = Place::new(&file.source, at.clone());
            let reason = "the class is handed on, and may be changed there";
            found.unknown(&place, format!("`{name}`"), reason);
        }
    }
}

/// Decorators that Python itself brings.
const BUILTINS: [&str; 3] = ["staticmethod", "classmethod", "property"];

/// Decorators of others that leave a step as it is.
const HARMLESS: [&str; 6] = [
    "typing.no_type_check",
    "typing.override",
    "typing_extensions.override",
    "torch.no_grad",
    "torch.inference_mode",
    "beartype.beartype",
];

/// A decorator, followed to what it is.
enum Meant<'a> {
    /// One of Metaflow's own, or of an extension.
    Metaflow(String, Option<Call>, Scope<'a>),
    /// It may change the flow in any way.
    Mutator(String),
    /// It leaves the step as it is.
    Harmless(String),
    /// A function or class of the user's, or anything that is not followed.
    Other(String),
    Undefined(String),
}

fn meant<'a>(scope: &Scope<'a>, expr: &Expr) -> Meant<'a> {
    let call = expr.call();
    let Some(names) = call.map_or(expr, |it| &it.function).dotted() else {
        let text = scope.file.source.slice(expr.at.clone());
        return Meant::Other(crate::yaml::shorten(text).to_string());
    };
    let shown = names.join(".");
    match scope.member(names[0]) {
        Shadow::No => {}
        // `patient = retry(times=3)` in the class, then `@patient`.
        Shadow::Value(value)
            if names.len() == 1
                && call.is_none()
                && value.call().is_some()
                && scope.loader.may_follow() =>
        {
            let scope = Scope {
                before: value.at.start,
                ..scope.clone()
            };
            return meant(&scope, value);
        }
        _ => return Meant::Other(shown),
    }
    match scope.resolve(&names) {
        Symbol::Undefined if BUILTINS.contains(&names[0]) => Meant::Other(shown),
        Symbol::Foreign(path) if HARMLESS.contains(&path.as_str()) => Meant::Harmless(shown),
        Symbol::Metaflow(name) => Meant::Metaflow(name, call.cloned(), scope.clone()),
        Symbol::Class(file, index) => {
            let lineage = lineage(scope.loader, &ClassRef { file, index });
            let changes = ["FlowMutator", "StepMutator", "UserStepDecorator"];
            match lineage
                .metaflow
                .iter()
                .any(|it| changes.contains(&it.as_str()))
            {
                true => Meant::Mutator(shown),
                false => Meant::Other(shown),
            }
        }
        Symbol::Function(file, index) => {
            let function = Symbol::function(&file, index);
            let is_user_step = function.decorators.iter().any(|it| {
                let it = it.call().map_or(it, |it| &it.function);
                let symbol = it
                    .dotted()
                    .map(|names| scope.loader.resolve(&file, &names, usize::MAX));
                matches!(symbol, Some(Symbol::Metaflow(name)) if name == "user_step_decorator")
            });
            match is_user_step {
                true => Meant::Mutator(shown),
                false if perhaps::is_harmless(scope.loader, &file, index) => Meant::Harmless(shown),
                false => Meant::Other(shown),
            }
        }
        // `nightly = schedule(cron="…")`, then `@nightly`.
        Symbol::Value(file, index) if call.is_none() => {
            let value = Symbol::value(&file, index);
            match value.call() {
                Some(_) if scope.loader.may_follow() => {
                    let scope = Scope {
                        loader: scope.loader,
                        class: None,
                        before: value.at.start,
                        file: Rc::clone(&file),
                    };
                    meant(&scope, value)
                }
                _ => Meant::Other(shown),
            }
        }
        Symbol::Undefined => Meant::Undefined(shown),
        _ => Meant::Other(shown),
    }
}

fn flow_decorators(loader: &Loader<'_>, lineage: &Lineage, found: &mut Found) -> Vec<Decorator> {
    let mut decorators: Vec<Decorator> = Vec::new();
    // As Metaflow collects them: what is inherited first, and of one class the innermost first.
    for class in lineage.classes.iter().rev() {
        for expr in class.class().decorators.iter().rev() {
            let scope = Scope {
                loader,
                file: Rc::clone(&class.file),
                class: None,
                before: class.class().start.max(expr.at.start),
            };
            let place = Place::new(&class.file.source, expr.at.clone());
            match meant(&scope, expr) {
                Meant::Metaflow(name, call, within) => {
                    let Some(known) = known::decorator(&name) else {
                        found.unknown(&place, format!("@{name}"), "this decorator is not known");
                        unknown_name(&place, &name, Target::Flow, found);
                        continue;
                    };
                    if known.target == Target::Step {
                        let message = format!("`@{name}` belongs to a step, not to the flow");
                        let help = "put it directly above `@step`";
                        found.error(&place, "metaflow.unknown_decorator", message, help);
                        continue;
                    }
                    let decorator = decorator(known, call.as_ref(), &within, &place, found);
                    let first = decorators.iter().find(|it| it.name == name);
                    if let (Some(first), false) = (first, known.multiple) {
                        let message = format!("`@{name}` is given twice");
                        found.error_also(
                            &place,
                            "metaflow.duplicate_decorator",
                            message,
                            (&first.place, "and here"),
                            "keep one of them; base classes count, too",
                        );
                        continue;
                    }
                    decorators.push(decorator);
                }
                Meant::Mutator(name) => {
                    let reason = "a FlowMutator may change the flow in any way";
                    found.unknown(&place, format!("@{name}"), reason);
                }
                Meant::Other(name) | Meant::Harmless(name) => {
                    let reason = "this decorator is not one of Metaflow's";
                    found.unknown(&place, format!("@{name}"), reason);
                }
                Meant::Undefined(name) => undefined(&place, &name, Target::Flow, found),
            }
        }
    }
    decorators
}

/// `None`: the function is not a step.
fn step(
    scope: &Scope<'_>,
    function: &Function,
    complete: &mut bool,
    found: &mut Found,
) -> Option<Step> {
    let source = &scope.file.source;
    let within = |expr: &Expr| Scope {
        before: expr.at.start,
        ..scope.clone()
    };
    let all: Vec<(&Expr, Meant<'_>)> = function
        .decorators
        .iter()
        .map(|it| (it, meant(&within(it), it)))
        .collect();
    let is_step = |it: &Meant<'_>| matches!(it, Meant::Metaflow(name, ..) if name == "step");
    let Some(at) = all.iter().position(|(_, it)| is_step(it)) else {
        *complete &= !perhaps_a_step(scope, function, &all, found);
        not_a_step(scope, function, &all, found);
        return None;
    };
    let mut step = Step {
        name: function.name.clone(),
        place: Place::new(source, function.name_at.clone()),
        kind: Kind::Unclear,
        next: Vec::new(),
        next_place: None,
        has_next: false,
        valid_next: true,
        stray_next: None,
        arguments: function.arguments,
        marked_start: false,
        marked_end: false,
        decorators: Vec::new(),
        retries: None,
    };
    // Python applies the innermost first, and so Metaflow lists them.
    for (place_in_list, (expr, meant)) in all.into_iter().enumerate().rev() {
        let place = Place::new(source, expr.at.clone());
        match meant {
            Meant::Metaflow(name, call, within) if name == "step" => {
                mark(&mut step, call.as_ref(), &within);
            }
            Meant::Metaflow(name, call, within) => {
                let Some(known) = known::decorator(&name) else {
                    if !known::OF_EXTENSIONS.contains(&name.as_str()) {
                        found.unknown(&place, format!("@{name}"), "this decorator is not known");
                    }
                    unknown_name(&place, &name, Target::Step, found);
                    step.decorators.push(plain(&name, &place));
                    continue;
                };
                if known.target == Target::Flow {
                    let message = format!("`@{name}` belongs to the flow, not to a step");
                    let help = "put it above the `class` line";
                    found.error(&place, "metaflow.unknown_decorator", message, help);
                    continue;
                }
                if place_in_list > at {
                    let message = format!("`@{name}` stands below `@step`");
                    let help =
                        format!("put `@{name}` above `@step`, which comes last before `def`");
                    found.error(&place, "metaflow.decorator_order", message, help);
                }
                let decorator = decorator(known, call.as_ref(), &within, &place, found);
                let first = step.decorators.iter().find(|it| it.name == name);
                if let (Some(first), false) = (first, known.multiple) {
                    let message = format!("`@{name}` is given twice");
                    found.error_also(
                        &place,
                        "metaflow.duplicate_decorator",
                        message,
                        (&first.place, "and here"),
                        "keep one of them",
                    );
                    continue;
                }
                step.decorators.push(decorator);
            }
            Meant::Mutator(name) => {
                let reason = "it may change the step in any way";
                found.unknown(&place, format!("@{name}"), reason);
                step.decorators.push(plain(&name, &place));
            }
            Meant::Harmless(name) => step.decorators.push(plain(&name, &place)),
            Meant::Other(name) => {
                let reason = "this decorator is not one of Metaflow's, and may bring some";
                found.unknown(&place, format!("@{name}"), reason);
                step.decorators.push(plain(&name, &place));
            }
            Meant::Undefined(name) => undefined(&place, &name, Target::Step, found),
        }
    }
    transition::read(&mut step, function, source);
    Some(step)
}

/// Whether a decorator of the user's may make a step of the function.
fn perhaps_a_step(
    scope: &Scope<'_>,
    function: &Function,
    decorators: &[(&Expr, Meant<'_>)],
    found: &mut Found,
) -> bool {
    let goes_on = function.tail.as_ref().is_some_and(transition::is_next);
    let makes_one = decorators.iter().find(|(expr, meant)| match meant {
        Meant::Mutator(_) => true,
        Meant::Other(_) => goes_on || perhaps::leads_to_step(scope.loader, &scope.file, expr),
        Meant::Harmless(_) | Meant::Metaflow(..) | Meant::Undefined(_) => false,
    });
    if let Some((expr, _)) = makes_one {
        let place = Place::new(&scope.file.source, expr.at.clone());
        let reason = "its decorator may make a step of it";
        found.unknown(&place, format!("`{}`", function.name), reason);
    }
    makes_one.is_some()
}

/// A function that goes on with `self.next` or has decorators of steps was meant to be one.
fn not_a_step(
    scope: &Scope<'_>,
    function: &Function,
    decorators: &[(&Expr, Meant<'_>)],
    found: &mut Found,
) {
    let of_steps = decorators.iter().any(|(_, it)| {
        matches!(it, Meant::Metaflow(name, ..)
            if known::decorator(name).is_some_and(|it| it.target == Target::Step))
    });
    let undefined_step = decorators
        .iter()
        .any(|(_, it)| matches!(it, Meant::Undefined(name) if name == "step"));
    let place = Place::new(&scope.file.source, function.name_at.clone());
    let name = &function.name;
    if undefined_step {
        let message = format!("`@step` of `{name}` is not imported");
        let help = "write `from metaflow import step` at the top of the file";
        found.error(&place, "metaflow.unknown_decorator", message, help);
    } else if of_steps {
        let message = format!("`{name}` has decorators of a step, but not `@step`");
        let help = "put `@step` directly above `def`, below the others";
        found.error(&place, "metaflow.not_a_step", message, help);
    } else if decorators.is_empty() && function.tail.as_ref().is_some_and(transition::is_next) {
        let message = format!("`{name}` ends with `self.next`, but is not a step");
        let help = "put `@step` directly above `def`";
        found.warning(&place, "metaflow.not_a_step", message, help);
    }
}

/// `@step(start=True)`.
fn mark(step: &mut Step, call: Option<&Call>, scope: &Scope<'_>) {
    for keyword in call.iter().flat_map(|it| &it.keywords) {
        let is_true = || scope.eval(&keyword.value).is_ok_and(|it| it.is_true());
        match keyword.name.as_deref() {
            Some("start") => step.marked_start = is_true(),
            Some("end") => step.marked_end = is_true(),
            _ => {}
        }
    }
}

fn decorator(
    known: &Known,
    call: Option<&Call>,
    scope: &Scope<'_>,
    place: &Place,
    found: &mut Found,
) -> Decorator {
    let source = &scope.file.source;
    let mut attributes: Vec<Attribute> = Vec::new();
    if let Some(first) = call.and_then(|it| it.arguments.first()) {
        let expected = match known.attributes {
            [] => "write it without a value".to_owned(),
            [first, ..] => format!("name the value, such as `@{}({first}=…)`", known.name),
        };
        let place = Place::new(source, first.at.clone());
        let message = format!("`@{}` takes only named values", known.name);
        found.error(&place, "metaflow.unknown_attribute", message, expected);
    }
    for keyword in call.iter().flat_map(|it| &it.keywords) {
        let place = Place::new(source, keyword.at.clone());
        let value = scope.eval(&keyword.value);
        match (&keyword.name, value) {
            (Some(name), value) => attributes.push(Attribute {
                name: name.clone(),
                place,
                value,
            }),
            (None, Ok(Value::Dict(pairs))) => {
                attributes.extend(pairs.into_iter().map(|(name, value)| Attribute {
                    name: name.plain(),
                    place: place.clone(),
                    value: Ok(value),
                }));
            }
            // What is in it may be any of the attributes.
            (None, other) => {
                let reason = match other {
                    Err(Unknown(reason)) => reason,
                    Ok(_) => "`**` needs a dict".to_owned(),
                };
                attributes.extend(known.attributes.iter().map(|name| Attribute {
                    name: (*name).to_owned(),
                    place: place.clone(),
                    value: Err(Unknown(reason.clone())),
                }));
            }
        }
    }
    attributes.retain(|it| {
        let fits = known.attributes.contains(&it.name.as_str());
        if !fits {
            let message = format!("`@{}` has no attribute `{}`", known.name, it.name);
            let help = crate::reader::did_you_mean(&it.name, known.attributes);
            const CODE: &str = "metaflow.unknown_attribute";
            match known::EXTENDED.contains(&known.name) {
                true => found.warning(&it.place, CODE, message, help),
                false => found.error(&it.place, CODE, message, help),
            }
        }
        fits
    });
    if known.schedules {
        for it in &attributes {
            if let Err(Unknown(reason)) = &it.value {
                let what = format!("@{}({}=…)", known.name, it.name);
                found.unknown(&it.place, what, reason);
            }
        }
    }
    Decorator {
        name: known.name.to_owned(),
        text: shown(place),
        place: place.clone(),
        attributes,
        triggers: None,
    }
}

/// One that is kept by its name only.
fn plain(name: &str, place: &Place) -> Decorator {
    Decorator {
        name: name.to_owned(),
        text: shown(place),
        place: place.clone(),
        attributes: Vec::new(),
        triggers: None,
    }
}

/// A decorator on one line.
fn shown(place: &Place) -> String {
    const LENGTH_MAX: usize = 200;
    let words: Vec<&str> = place.text().split_whitespace().collect();
    let text = words
        .join(" ")
        .replace("( ", "(")
        .replace(" )", ")")
        .replace(",)", ")");
    match text.char_indices().nth(LENGTH_MAX) {
        Some((end, _)) => format!("@{}…", &text[..end]),
        None => format!("@{text}"),
    }
}

fn names_of(target: Target) -> Vec<&'static str> {
    let of_target = known::DECORATORS.iter().filter(|it| it.target == target);
    of_target.map(|it| it.name).collect()
}

/// Metaflow has no such name, as far as we know; an extension may.
fn unknown_name(place: &Place, name: &str, target: Target, found: &mut Found) {
    if let Some(similar) = crate::reader::closest(name, &names_of(target)) {
        let message = format!("`@{name}` is not a decorator of Metaflow");
        let help = format!("did you mean `@{similar}`? If an extension brings it, all is well");
        found.warning(place, "metaflow.unknown_decorator", message, help);
    }
}

/// The file gives the name no meaning, so it cannot be loaded.
fn undefined(place: &Place, name: &str, target: Target, found: &mut Found) {
    let message = format!("`@{name}` is not defined in this file");
    let first = name.split('.').next().unwrap_or(name);
    let help = match (known::is_name(name), first == "metaflow") {
        (true, _) => format!("write `from metaflow import {name}` at the top of the file"),
        (_, true) => "write `import metaflow` at the top of the file".to_owned(),
        _ => match crate::reader::closest(name, &names_of(target)) {
            Some(similar) => format!("did you mean `@{similar}`?"),
            None => "import or define it above".to_owned(),
        },
    };
    found.error(place, "metaflow.unknown_decorator", message, help);
}

/// A call in a class body, followed through names: `alpha = Parameter(…)`.
pub(super) fn call_of<'a>(scope: &Scope<'a>, expr: &Expr) -> Option<(String, Call, Scope<'a>)> {
    match &expr.kind {
        ExprKind::Call(_) | ExprKind::Name(_) | ExprKind::Attribute(..) => match meant(scope, expr)
        {
            Meant::Metaflow(name, Some(call), within) => Some((name, call, within)),
            _ => None,
        },
        _ => None,
    }
}
