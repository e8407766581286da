//! `steps`: what a run does, and in which order.

use crate::expression::Where;
use crate::names::{self, Kind};
use crate::outline::{Item, Outline};
use crate::policy::{self, Defaults};
use crate::reader::{Cx, Fields, Value};
use crate::remote;
use crate::sub_flow;
use crate::yaml::{Data, Entry};
use dalsegno_scheduler::expr::Template;
use dalsegno_scheduler::spec::{
    Command, Items, JoinRule, OnFailure, Route, ScopeIndex, ScopeSpec, StepSpec, default_grace,
};
use dalsegno_scheduler::{ExecutorKind, StepName};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::ops::Range;

pub(crate) const KEYS: [&str; 22] = [
    "sla",
    "run",
    "after",
    "when",
    "foreach",
    "max_parallel",
    "outputs",
    "env",
    "retry",
    "timeout",
    "pools",
    "resources",
    "on_failure",
    "grace",
    "steps",
    "executor",
    "image",
    "on_oom",
    "batch",
    "flow",
    "params",
    "wait",
];
/// Those of a block.
const BLOCK_KEYS: [&str; 5] = ["after", "when", "foreach", "max_parallel", "steps"];

/// All steps of a flow, as the core takes them and as the checks need them.
#[derive(Default)]
pub(crate) struct Steps {
    pub(crate) scopes: Vec<ScopeSpec>,
    pub(crate) steps: Vec<StepSpec>,
    pub(crate) outline: Outline,
    /// Where each step says what it asks for, or its name.
    pub(crate) resources: BTreeMap<StepName, Range<usize>>,
    /// Promises by their keys.
    pub(crate) promises: Vec<(String, Range<usize>)>,
}

/// `own` is the name of the flow, `executor` that of its steps.
pub(crate) fn read(
    value: Value<'_>,
    defaults: &Defaults,
    executor: ExecutorKind,
    own: &str,
    zone: &str,
) -> Steps {
    let mut reader = Reader {
        cx: value.cx,
        defaults,
        executor,
        own,
        zone,
        found: Steps::default(),
    };
    reader.level(value, None, ScopeIndex::ROOT);
    reader.found
}

struct Reader<'a, 'd> {
    cx: &'a Cx<'a>,
    defaults: &'d Defaults,
    executor: ExecutorKind,
    own: &'d str,
    /// Of the flow's schedule.
    zone: &'d str,
    found: Steps,
}

impl<'a> Reader<'a, '_> {
    fn level(&mut self, value: Value<'a>, parent: Option<usize>, scope: ScopeIndex) {
        let entries = value.entries("write one step per line: `NAME: { run: COMMAND }`");
        for entry in entries {
            self.item(entry, parent, scope);
        }
        if entries.is_empty() && matches!(value.node.data, Data::Map(_)) {
            self.cx.push(
                value
                    .bad("`steps` is empty")
                    .help("write at least one step: `NAME: { run: COMMAND }`"),
            );
        }
    }

    fn item(&mut self, entry: &'a Entry, parent: Option<usize>, scope: ScopeIndex) {
        let cx = self.cx;
        let value = Value {
            name: &entry.key,
            node: &entry.value,
            cx,
        };
        names::check(cx, Kind::Step, &entry.key, &entry.key_span);
        let help = match value.node.text() {
            Some(_) => "write the command after `run:`",
            None => "write `run: COMMAND` below the name of the step",
        };
        let fields = value.fields(&KEYS, help);
        let get = |key| fields.and_then(|it| it.get(key));
        let item = Item {
            name: entry.key.clone(),
            name_span: entry.key_span.clone(),
            parent,
            block: fields.is_some_and(|it| it.entry("steps").is_some()),
            foreach: fields.is_some_and(|it| it.entry("foreach").is_some()),
            sub_flow: get("flow").is_some(),
            outputs: match get("flow") {
                Some(_) => sub_flow::OUTPUTS.map(str::to_owned).to_vec(),
                None => get("outputs").map_or_else(Vec::new, outputs),
            },
            after: get("after").map_or_else(Vec::new, |it| after(it, &entry.key)),
        };
        let (block, after) = (
            item.block,
            item.after.iter().map(|(it, _)| StepName::new(it)).collect(),
        );
        let number = match self.found.outline.add(item) {
            Ok(number) => number,
            Err(first) => {
                let message = format!("the name `{}` is used twice", entry.key);
                let twice = cx
                    .at(&entry.key_span, "flow.duplicate_name", message)
                    .label("again here");
                let help =
                    "names are unique in all of the flow, blocks included; rename one of them";
                cx.push(twice.also(first.name_span.clone(), "first here").help(help));
                return;
            }
        };
        let Some(fields) = fields else {
            let name = StepName::new(&entry.key);
            self.found.steps.push(bare(name, scope));
            return;
        };
        if block {
            self.block(entry, fields, number, scope, after);
        } else {
            self.step(entry, fields, number, scope, after);
        }
    }

    fn block(
        &mut self,
        entry: &'a Entry,
        fields: Fields<'a>,
        number: usize,
        scope: ScopeIndex,
        after: Vec<StepName>,
    ) {
        for key in KEYS.iter().filter(|it| !BLOCK_KEYS.contains(it)) {
            if let Some(stray) = fields.entry(key) {
                let message = format!("`{key}` belongs to a step, and `{}` is a block", entry.key);
                let help = "write it in the steps inside of the block";
                self.cx.push(
                    self.cx
                        .at(&stray.key_span, "flow.bad_value", message)
                        .help(help),
                );
            }
        }
        if fields.entry("foreach").is_none() {
            let help = "a block runs its steps once per item: add `foreach: [a, b]`, or move its steps out of it";
            fields.missing(&entry.key_span, "foreach", help);
        }
        let inside = self.scope(entry, fields, number, scope, after);
        match fields.section("steps") {
            Some(steps) => self.level(steps, Some(number), inside),
            None => {
                let message = format!("the block `{}` has no steps", entry.key);
                let help = "write its steps below `steps:`";
                self.cx.push(
                    self.cx
                        .at(&entry.key_span, "flow.missing_key", message)
                        .help(help),
                );
            }
        }
    }

    /// Adds a foreach scope and returns its number.
    fn scope(
        &mut self,
        entry: &Entry,
        fields: Fields<'_>,
        number: usize,
        parent: ScopeIndex,
        after: Vec<StepName>,
    ) -> ScopeIndex {
        let place = Where::Step(number);
        self.found.scopes.push(ScopeSpec {
            name: StepName::new(&entry.key),
            parent,
            after,
            when: fields.get("when").and_then(|it| it.expr(place)),
            items: fields
                .get("foreach")
                .and_then(|it| items(it, place))
                .unwrap_or(Items::Reported),
            max_parallel: policy::parallel(&fields, "max_parallel"),
        });
        // More scopes than this are refused by the core, whatever their numbers.
        ScopeIndex(u16::try_from(self.found.scopes.len()).unwrap_or(u16::MAX))
    }

    fn step(
        &mut self,
        entry: &'a Entry,
        fields: Fields<'a>,
        number: usize,
        scope: ScopeIndex,
        after: Vec<StepName>,
    ) {
        let mut step = bare(StepName::new(&entry.key), scope);
        if fields.entry("foreach").is_some() {
            step.scope = self.scope(entry, fields, number, scope, after);
        } else {
            step.after = after;
            step.when = fields
                .get("when")
                .and_then(|it| it.expr(Where::Step(number)));
            if let Some(it) = fields.entry("max_parallel") {
                let message = "`max_parallel` has no meaning without `foreach`";
                let help = "remove it; `run: { max_parallel_tasks: … }` bounds all tasks of a run";
                self.cx.push(
                    self.cx
                        .at(&it.key_span, "flow.bad_value", message)
                        .help(help),
                );
            }
        }
        if let Some(it) = fields.section("sla") {
            let places;
            (step.slas, places) = crate::sla::read(it, self.zone).into_iter().unzip();
            let places: Vec<Range<usize>> = places;
            let keys = dalsegno_scheduler::sla::keys(Some(&step.name), &step.slas);
            self.found.promises.extend(keys.into_iter().zip(places));
        }
        match (fields.get("run"), fields.entry("flow")) {
            (Some(run), Some(_)) => self.cx.push(
                run.bad("a step has either `run` or `flow`")
                    .help("make two steps of it"),
            ),
            (Some(run), None) => {
                for key in ["params", "wait"] {
                    if let Some(it) = fields.entry(key) {
                        let message = format!("`{key}` belongs to a step that runs another flow");
                        let help = "a command finds the parameters of its run in its environment; add others as `env`";
                        self.cx.push(
                            self.cx
                                .at(&it.key_span, "flow.bad_value", message)
                                .help(help),
                        );
                    }
                }
                if let Some(command) = command(run) {
                    step.run = command;
                }
            }
            (None, Some(_)) => {
                if let Some(run) = sub_flow::read(&fields, self.own, Where::Inside(number)) {
                    step.run = run;
                }
            }
            (None, None) => fields.missing(
                &entry.key_span,
                "run",
                "write its command, `run: python train.py`, or the flow that it runs, `flow: NAME`",
            ),
        }
        step.env = fields
            .section("env")
            .map_or_else(BTreeMap::new, |it| env(it, Where::Inside(number)));
        // Those of a flow that it runs are not written by anybody.
        if fields.entry("flow").is_none() {
            step.outputs
                .clone_from(&self.found.outline.items[number].outputs);
        }
        let retry = &self.defaults.retry;
        step.retry = fields
            .get("retry")
            .map_or_else(|| retry.clone(), |it| policy::retry(it, retry))
            .finish();
        step.timeout = fields
            .get("timeout")
            .and_then(|it| it.duration())
            .or(self.defaults.timeout);
        step.pools = fields
            .section("pools")
            .map_or_else(BTreeMap::new, policy::pools);
        let ends = [
            ("fail", OnFailure::Fail),
            ("continue", OnFailure::Continue),
            ("fail_fast", OnFailure::FailFast),
        ];
        step.on_failure = fields
            .get("on_failure")
            .and_then(|it| it.one_of(&ends))
            .unwrap_or_default();
        if let Some(it) = fields.get("grace").and_then(|it| it.duration_or_zero()) {
            step.grace = it;
        }
        // What another flow asks for stands there.
        if fields.entry("flow").is_none() {
            remote::of_step(&fields, self.executor, &mut step);
            let at = fields
                .entry("resources")
                .map_or(&entry.key_span, |it| &it.value.span);
            self.found.resources.insert(step.name.clone(), at.clone());
        }
        self.found.steps.push(step);
    }
}

fn bare(name: StepName, scope: ScopeIndex) -> StepSpec {
    StepSpec {
        slas: Vec::new(),
        hook: None,
        name,
        scope,
        after: Vec::new(),
        join: JoinRule::default(),
        route: Route::default(),
        when: None,
        run: Command::Shell(String::new()),
        env: BTreeMap::new(),
        outputs: Vec::new(),
        retry: dalsegno_scheduler::spec::Retry::default(),
        timeout: None,
        pools: BTreeMap::new(),
        on_failure: OnFailure::default(),
        memory_bytes: None,
        on_oom: None,
        remote: None,
        grace: default_grace(),
    }
}

fn after(value: Value<'_>, own: &str) -> Vec<(String, Range<usize>)> {
    let mut after: Vec<(String, Range<usize>)> = Vec::new();
    for item in value.one_or_list() {
        let Some(name) = item.node.text() else {
            item.wrong(
                "the name of a step, or a list of names",
                "write `after: NAME` or `after: [NAME, NAME]`",
            );
            continue;
        };
        if name == own {
            let message = format!("steps wait for each other: {own} -> {own}");
            let itself = item.cx.at(item.span(), "flow.cycle", message);
            item.cx
                .push(itself.help("a step cannot come after itself; remove the name"));
        } else if let Some((_, first)) = after.iter().find(|(it, _)| it == name) {
            let twice = item.cx.at(
                item.span(),
                "flow.duplicate_name",
                format!("`{name}` is there twice"),
            );
            item.cx.push(
                twice
                    .also(first.clone(), "first here")
                    .help("remove one of the two"),
            );
        } else {
            after.push((name.to_owned(), item.span().clone()));
        }
    }
    after
}

fn outputs(value: Value<'_>) -> Vec<String> {
    let mut outputs: Vec<String> = Vec::new();
    for item in value.one_or_list() {
        let Some(name) = item.node.text() else {
            item.wrong("a list of names", "write `outputs: [NAME, NAME]`");
            continue;
        };
        if !names::check(item.cx, Kind::Output, name, item.span()) {
            continue;
        }
        if outputs.iter().any(|it| it == name) {
            let twice = item.cx.at(
                item.span(),
                "flow.duplicate_name",
                format!("the output `{name}` is there twice"),
            );
            item.cx.push(twice.help("remove one of the two"));
            continue;
        }
        outputs.push(name.to_owned());
    }
    outputs
}

/// The items of a foreach: a list, or one expression.
fn items(value: Value<'_>, place: Where) -> Option<Items> {
    const HELP: &str = "write a list such as `[a, b]`, or an expression such as \"${{ steps.extract.outputs.regions }}\"";
    match &value.node.data {
        Data::List(_) => {}
        Data::Text(text) if text.contains("${{") => {}
        Data::Text(text) => {
            let wrapped = format!(
                "if this is an expression, write \"${{{{ {} }}}}\"; else write a list",
                crate::yaml::shorten(text)
            );
            value.wrong("a list or an expression", &wrapped);
            return None;
        }
        _ => {
            value.wrong("a list or an expression", HELP);
            return None;
        }
    }
    let template = value.template(place)?;
    if matches!(template, Template::Text(_)) {
        let message = "`foreach` must be one expression and nothing around it";
        value.cx.push(value.bad(message).help(HELP));
        return None;
    }
    Some(Items::Template(template))
}

fn command(value: Value<'_>) -> Option<Command> {
    match &value.node.data {
        Data::Text(text) => {
            if text.trim().is_empty() {
                value.cx.push(
                    value
                        .bad("`run` is empty")
                        .help("write a command for the shell"),
                );
                return None;
            }
            plain(&value, text).then(|| Command::Shell(text.clone()))
        }
        Data::List(items) if items.is_empty() => {
            value.cx.push(
                value
                    .bad("`run` is empty")
                    .help("write a program and its arguments: `[python, train.py]`"),
            );
            None
        }
        Data::List(items) => {
            let words = items.iter().map(|it| {
                let item = value.with(it);
                let word = item.written();
                if word.is_none() {
                    item.wrong(
                        "a list of texts",
                        "write a program and its arguments: `[python, train.py]`",
                    );
                }
                word.filter(|it| plain(&item, it))
            });
            words.collect::<Option<Vec<_>>>().map(Command::Argv)
        }
        _ => {
            value.wrong(
                "a command",
                "write it as a text for the shell, or as a list: `[python, train.py]`",
            );
            None
        }
    }
}

/// Values reach a command by its environment: text put into a shell line could become code.
fn plain(value: &Value<'_>, text: &str) -> bool {
    if text.contains('\0') {
        value.cx.push(
            value
                .bad("a command cannot hold a zero byte")
                .help("remove it"),
        );
        return false;
    }
    if text.contains("${{") {
        let message = "expressions are not put into commands";
        let help = "give the command the value as a variable: `env: { NAME: \"${{ … }}\" }`, and write \"$NAME\" in the command";
        value.cx.push(
            value
                .cx
                .at(value.span(), "flow.expression", message)
                .help(help),
        );
        return false;
    }
    true
}

/// Environment variables: values as they are written, or expressions.
pub(crate) fn env(value: Value<'_>, place: Where) -> BTreeMap<String, Template> {
    let mut env = BTreeMap::new();
    for entry in value.entries("write `NAME: value`, one for each variable") {
        let good = names::check(value.cx, Kind::Variable, &entry.key, &entry.key_span);
        let value = Value {
            name: &entry.key,
            node: &entry.value,
            cx: value.cx,
        };
        let template = match (&value.node.data, value.written()) {
            (Data::Text(text), _) if text.contains('\0') => {
                value.cx.push(
                    value
                        .bad("a variable cannot hold a zero byte")
                        .help("remove it"),
                );
                None
            }
            (Data::Text(_) | Data::List(_) | Data::Map(_), _) => value.template(place),
            (Data::Null, _) => Some(Template::Literal(Json::String(String::new()))),
            (_, written) => written.map(|it| Template::Literal(Json::String(it))),
        };
        if let (true, Some(template)) = (good, template) {
            env.insert(entry.key.clone(), template);
        }
    }
    env
}
