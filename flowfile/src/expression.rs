//! Expressions where they stand: parsed with their column, and the names in them checked.

use crate::outline::Outline;
use crate::reader::{Cx, Value, did_you_mean, ticked};
use crate::yaml::{Data, Node};
use dalsegno_scheduler::expr::{Expr, ExprError, ROOT_NAMES, Template};
use dalsegno_scheduler::spec::ParamSpec;
use std::ops::Range;

/// Where an expression stands, which decides what it can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    ParamDefault,
    ScheduleParam,
    /// `where` and `join` of a trigger.
    EventFilter(Captures),
    TriggerParam(Captures),
    FlowEnv,
    /// A step or block, by its place in the outline.
    Step(usize),
    /// The command's environment of a step: here the step's own item exists.
    Inside(usize),
}

/// What `event.match` holds: an entry for each wildcard of an object's pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Captures {
    /// These events have none.
    Missing,
    Of(usize),
    /// The source of the events could not be read.
    Unknown,
}

impl Where {
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::ParamDefault => &["interval", "run", "event", "events"],
            Self::ScheduleParam => &["interval"],
            Self::EventFilter(_) => &["event"],
            Self::TriggerParam(_) => &["event", "events", "interval", "run"],
            Self::FlowEnv => &["params", "event", "events", "interval", "run"],
            Self::Step(_) | Self::Inside(_) => &ROOT_NAMES,
        }
    }

    const fn describe(self) -> &'static str {
        match self {
            Self::ParamDefault => "in the default of a parameter",
            Self::ScheduleParam => "in the parameters of a schedule",
            Self::EventFilter(_) => "in a condition on an event",
            Self::TriggerParam(_) => "in the parameters of a trigger",
            Self::FlowEnv => "in the environment of all steps",
            Self::Step(_) | Self::Inside(_) => "here",
        }
    }
}

/// An expression that was read, for the checks that need all names of the file.
pub(crate) struct Use {
    expr: Expr,
    place: Where,
    /// Where its text begins in the file, if it stands there as it is.
    start: Option<usize>,
    /// All of the value.
    at: Range<usize>,
}

/// Reads a bare expression; `${{ … }}` around it is allowed.
pub(crate) fn expr(value: &Value<'_>, place: Where) -> Option<Expr> {
    let text = match &value.node.data {
        Data::Text(text) => text.clone(),
        Data::Bool(it) => it.to_string(),
        _ => {
            value.wrong(
                "an expression",
                "write a condition such as `params.threshold > 0.5`",
            );
            return None;
        }
    };
    let trimmed = text.trim();
    let inner = trimmed
        .strip_prefix("${{")
        .and_then(|it| it.strip_suffix("}}"));
    let inner = inner.unwrap_or(trimmed).trim();
    match Expr::parse(inner) {
        Ok(expr) => {
            let start = locate(value, inner, 0);
            note(value, expr.clone(), place, start);
            Some(expr)
        }
        Err(error) => {
            refuse(value, inner, &error);
            None
        }
    }
}

/// Reads a value that may hold `${{ … }}`.
pub(crate) fn template(value: &Value<'_>, place: Where) -> Option<Template> {
    let Some(json) = value.node.to_json() else {
        value.wrong("a finite number", "infinity and NaN have no JSON form");
        return None;
    };
    if let Some(nested) = nested_expression(value.node) {
        let message = format!(
            "`{}` has an expression inside of a list or mapping",
            value.name
        );
        let help =
            "write one expression that gives the whole value, such as \"${{ [params.a, 'x'] }}\"";
        let nested = value.cx.at(&nested.span, "flow.expression", message);
        value.cx.push(nested.help(help));
        return None;
    }
    match Template::parse(&json) {
        Ok(template) => {
            let text = json.as_str().unwrap_or_default();
            let mut from = 0;
            for expr in template.exprs() {
                let within = text[from..].find(expr.source()).map(|it| it + from);
                from = within.map_or(from, |it| it + expr.source().len());
                let start = within.and_then(|it| locate(value, text, it));
                note(value, expr.clone(), place, start);
            }
            Some(template)
        }
        Err(error) => {
            refuse(value, json.as_str().unwrap_or_default(), &error);
            None
        }
    }
}

fn note(value: &Value<'_>, expr: Expr, place: Where, start: Option<usize>) {
    let at = value.span().clone();
    value.cx.uses.borrow_mut().push(Use {
        expr,
        place,
        start,
        at,
    });
}

fn nested_expression(node: &Node) -> Option<&Node> {
    match &node.data {
        Data::List(items) => items.iter().find_map(expression_in),
        Data::Map(entries) => entries.iter().find_map(|it| expression_in(&it.value)),
        _ => None,
    }
}

fn expression_in(node: &Node) -> Option<&Node> {
    match node.text() {
        Some(text) => text.contains("${{").then_some(node),
        None => nested_expression(node),
    }
}

/// The place in the file of a place in a text; `None` where YAML folded or escaped it.
fn locate(value: &Value<'_>, text: &str, offset: usize) -> Option<usize> {
    let source = value.cx.source.slice(value.span().clone());
    if let Some(at) = source.find(text) {
        return Some(value.span().start + at + offset);
    }
    // A block scalar lost its indentation: find the line.
    let before = text.get(..offset)?;
    let line_start = before.rfind('\n').map_or(0, |it| it + 1);
    let line = text[line_start..].lines().next()?;
    let unique = !line.is_empty() && source.matches(line).count() == 1;
    unique
        .then(|| source.find(line))
        .flatten()
        .map(|at| value.span().start + at + offset - line_start)
}

fn refuse(value: &Value<'_>, text: &str, error: &ExprError) {
    let at = error
        .offset
        .and_then(|it| locate(value, text, it.min(text.len())));
    let at = at.map_or_else(|| value.span().clone(), |it| it..it + 1);
    let (message, help) = explain(&error.message);
    let message = format!("`{}`: {message}", value.name);
    let mut diagnostic = value.cx.at(&at, "flow.expression", message).help(help);
    if let (Some(offset), true) = (error.offset, at.len() != 1) {
        diagnostic = diagnostic.label(format!("at character {} of the text", offset + 1));
    }
    value.cx.push(diagnostic);
}

fn explain(message: &str) -> (String, String) {
    const HELP: &str = "expressions are CEL, as in `steps.fit.outputs.auc > params.threshold`";
    if message.contains("never closed") {
        return (
            message.to_owned(),
            "write `}}` where the expression ends".into(),
        );
    }
    let line = message.lines().next().unwrap_or_default();
    let at = line.find('\'').map_or("", |it| &line[it + 1..]);
    let at = at.split('\'').next().unwrap_or_default().trim();
    let problem = match at {
        "" => line.to_owned(),
        "<EOF>" => "it ends too early".to_owned(),
        _ => format!("`{}` is not expected here", at.trim_end_matches("<EOF>")),
    };
    let help = match at {
        "=" => "equality is written `==`".to_owned(),
        "and" | "AND" => "write `&&` for and".to_owned(),
        "or" | "OR" => "write `||` for or".to_owned(),
        _ => HELP.to_owned(),
    };
    (format!("this is not an expression: {problem}"), help)
}

/// Checks the names in all expressions of a file.
pub(crate) fn check(cx: &Cx<'_>, params: &[ParamSpec], outline: &Outline) {
    let params: Vec<&str> = params.iter().map(|it| it.name.as_str()).collect();
    for it in cx.uses.take() {
        let checker = Checker {
            cx,
            it: &it,
            params: &params,
            outline,
        };
        checker.roots();
        for path in paths(it.expr.source()) {
            checker.path(&path);
        }
    }
}

struct Checker<'a> {
    cx: &'a Cx<'a>,
    it: &'a Use,
    params: &'a [&'a str],
    outline: &'a Outline,
}

impl Checker<'_> {
    fn roots(&self) {
        let (place, allowed) = (self.it.place, self.it.place.names());
        for root in &self.it.expr.names().roots {
            let root = root.as_str();
            let at = || {
                let path = paths(self.it.expr.source())
                    .into_iter()
                    .find(|it| it.parts[0].name == root);
                self.at(path.map(|it| it.parts[0].at.clone()))
            };
            if !ROOT_NAMES.contains(&root) {
                let message = format!("unknown name `{root}` in an expression");
                let help = match self.params.contains(&root) {
                    true => format!("write `params.{root}`"),
                    false => did_you_mean(root, allowed),
                };
                self.cx
                    .push(self.cx.at(&at(), "flow.unknown_name", message).help(help));
            } else if !allowed.contains(&root) {
                let message = format!("`{root}` is not known {}", place.describe());
                let help = format!("what is known there: {}", ticked(allowed));
                self.cx
                    .push(self.cx.at(&at(), "flow.unknown_name", message).help(help));
            } else if root.starts_with("item") && !self.in_foreach() {
                let message =
                    format!("`{root}` is not known here: this is not inside of a foreach");
                let help = "an item exists in the environment of a step with `foreach`, and in the steps of a block";
                self.cx
                    .push(self.cx.at(&at(), "flow.unknown_name", message).help(help));
            }
        }
    }

    fn in_foreach(&self) -> bool {
        match self.it.place {
            Where::Step(item) => self.outline.items[item].parent.is_some(),
            Where::Inside(item) => {
                let item = &self.outline.items[item];
                item.parent.is_some() || item.foreach
            }
            _ => false,
        }
    }

    fn path(&self, path: &PathUse) {
        let names = self.it.expr.names();
        let [root, second, rest @ ..] = path.parts.as_slice() else {
            return;
        };
        match root.name.as_str() {
            root if !self.it.place.names().contains(&root) => {}
            "params"
                if names.params.contains(&second.name)
                    && !self.params.contains(&second.name.as_str()) =>
            {
                let message = format!("unknown parameter `{}`", second.name);
                let help = match self.params {
                    [] => "this flow has no parameters; declare it under `params`".into(),
                    params => did_you_mean(&second.name, params),
                };
                let at = self.at(Some(second.at.clone()));
                self.cx
                    .push(self.cx.at(&at, "flow.unknown_param", message).help(help));
            }
            "steps" if names.steps.contains(&second.name) => {
                if let Where::Step(item) | Where::Inside(item) = self.it.place {
                    self.step(item, second, rest, path.tested);
                }
            }
            "event" if second.name == "match" => self.captures(second, path.tested),
            _ => {}
        }
    }

    /// A capture that the pattern cannot give is told now, not when the first object comes.
    fn captures(&self, used: &Part, tested: bool) {
        let (Where::EventFilter(captures) | Where::TriggerParam(captures)) = self.it.place else {
            return;
        };
        let (message, help) = match captures {
            Captures::Unknown => return,
            Captures::Missing if tested => return,
            Captures::Missing => (
                "these events have no `match`".to_owned(),
                "only events of `s3` have one, with an entry for each wildcard of the pattern"
                    .to_owned(),
            ),
            Captures::Of(count) => match index_after(self.it.expr.source(), used.at.end) {
                Some(index) if index >= count => {
                    let (count, help) = match count {
                        0 => (
                            "no wildcard".to_owned(),
                            "put `*` into the pattern where the value stands".to_owned(),
                        ),
                        1 => (
                            "one wildcard".to_owned(),
                            "write `event.match[0]`: they are counted from 0".to_owned(),
                        ),
                        count => (
                            format!("{count} wildcards"),
                            format!(
                                "they are counted from 0, so the last one is `event.match[{}]`",
                                count - 1
                            ),
                        ),
                    };
                    (
                        format!("there is no `event.match[{index}]`: the pattern has {count}"),
                        help,
                    )
                }
                _ => return,
            },
        };
        let at = self.at(Some(used.at.clone()));
        self.cx
            .push(self.cx.at(&at, "flow.unknown_capture", message).help(help));
    }

    fn step(&self, user: usize, name: &Part, rest: &[Part], tested: bool) {
        let at = self.at(Some(name.at.clone()));
        let Some(target) = self.outline.find(&name.name) else {
            let message = format!("unknown step `{}`", name.name);
            let help = did_you_mean(&name.name, &self.outline.names());
            self.cx
                .push(self.cx.at(&at, "flow.unknown_step", message).help(help));
            return;
        };
        let (user_item, item) = (&self.outline.items[user], &self.outline.items[target]);
        if item.block {
            let message = format!("`{}` is a block, and blocks have no outputs", item.name);
            let help = "name a step inside of it: after the block, its outputs are a list, one for each item";
            self.cx
                .push(self.cx.at(&at, "flow.unknown_step", message).help(help));
            return;
        }
        if let Err(needed) = self.outline.runs_before(target, user) {
            let message = format!(
                "`{}` uses outputs of `{}`, which need not have run before it",
                user_item.name, item.name
            );
            let help = match needed {
                Some(needed) => format!(
                    "add `{needed}` to `after` of `{}`",
                    self.outline.joins(target, user)
                ),
                None => "a step cannot use outputs of itself or of what comes after it".into(),
            };
            self.cx
                .push(self.cx.at(&at, "flow.not_upstream", message).help(help));
            return;
        }
        match rest {
            [outputs, output, ..] if outputs.name == "outputs" => {
                // A step that declares nothing may still write something.
                let silent = item.outputs.is_empty();
                let known = item.outputs.contains(&output.name);
                let asked = silent && tested;
                if !known && !asked {
                    let message = format!(
                        "step `{}` does not declare the output `{}`",
                        item.name, output.name
                    );
                    let outputs: Vec<&str> = item.outputs.iter().map(String::as_str).collect();
                    let help = match crate::reader::closest(&output.name, &outputs) {
                        Some(it) => format!("did you mean `{it}`?"),
                        None if item.sub_flow => {
                            "a step that runs another flow has the outputs `run` and `state`".into()
                        }
                        None => format!("add it to `outputs` of `{}`", item.name),
                    };
                    let at = self.at(Some(output.at.clone()));
                    let unknown = self.cx.at(&at, "flow.unknown_output", message).help(help);
                    self.cx
                        .push(if silent { unknown.warning() } else { unknown });
                }
            }
            [other, ..] if other.name != "outputs" => {
                let message = format!("a step has no `{}` in expressions", other.name);
                let at = self.at(Some(other.at.clone()));
                let help = format!("write `steps.{}.outputs.{}`", item.name, other.name);
                self.cx
                    .push(self.cx.at(&at, "flow.unknown_name", message).help(help));
            }
            _ => {}
        }
    }

    fn at(&self, part: Option<Range<usize>>) -> Range<usize> {
        match (self.it.start, part) {
            (Some(start), Some(part)) => start + part.start..start + part.end,
            _ => self.it.at.clone(),
        }
    }
}

/// A chain of names such as `steps.fit.outputs.auc`.
#[derive(Debug, PartialEq, Eq)]
struct PathUse {
    parts: Vec<Part>,
    /// The same chain stands in `has(…)` somewhere in the expression.
    tested: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Part {
    name: String,
    at: Range<usize>,
}

/// The number in brackets that follows a name: `[0]`.
fn index_after(source: &str, end: usize) -> Option<usize> {
    // The name itself may stand in brackets.
    let rest = source.get(end..)?.trim_start();
    let rest = rest.strip_prefix(']').unwrap_or(rest).trim_start();
    let (digits, _) = rest.strip_prefix('[')?.split_once(']')?;
    digits.trim().parse().ok()
}

/// The chains of names in an expression that is known to parse. Methods and functions are left out.
fn paths(source: &str) -> Vec<PathUse> {
    let bytes = source.as_bytes();
    let word = |it: u8| it.is_ascii_alphanumeric() || it == b'_';
    let mut found: Vec<PathUse> = Vec::new();
    let mut tested: Vec<Vec<String>> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' | b'\'' => at = string_end(source, at),
            it if word(it) && !it.is_ascii_digit() => {
                let after_has = source[..at].trim_end().ends_with("has(");
                let (parts, end) = chain(source, at);
                at = end.max(at + 1);
                if parts.is_empty() {
                    continue;
                }
                if after_has {
                    tested.push(parts.iter().map(|it| it.name.clone()).collect());
                }
                found.push(PathUse {
                    parts,
                    tested: false,
                });
            }
            it if it.is_ascii_digit() => {
                while at < bytes.len() && (word(bytes[at]) || bytes[at] == b'.') {
                    at += 1;
                }
            }
            _ => at += 1,
        }
    }
    for path in &mut found {
        let names: Vec<&str> = path.parts.iter().map(|it| it.name.as_str()).collect();
        path.tested = tested
            .iter()
            .any(|it| names.len() >= it.len() && it.iter().zip(&names).all(|(a, b)| a == b));
    }
    found
}

fn chain(source: &str, start: usize) -> (Vec<Part>, usize) {
    let bytes = source.as_bytes();
    let (mut parts, mut at) = (Vec::new(), start);
    loop {
        let begin = at;
        while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_') {
            at += 1;
        }
        // A call, or a string with a prefix such as r"…".
        if matches!(bytes.get(at), Some(b'(' | b'"' | b'\'')) || begin == at {
            return (parts, at);
        }
        parts.push(Part {
            name: source[begin..at].into(),
            at: begin..at,
        });
        while let Some(quote @ (b'"' | b'\'')) = bytes.get(at + 1).filter(|_| bytes[at] == b'[') {
            let end = string_end(source, at + 1);
            if bytes.get(end) != Some(&b']') || bytes[end - 1] != *quote || end < at + 3 {
                return (parts, at + 1);
            }
            parts.push(Part {
                name: source[at + 2..end - 1].into(),
                at: at + 1..end,
            });
            at = end + 1;
            if at >= bytes.len() {
                break;
            }
        }
        if bytes.get(at) != Some(&b'.') {
            return (parts, at);
        }
        at += 1;
    }
}

/// Past the closing quote.
fn string_end(source: &str, start: usize) -> usize {
    let bytes = source.as_bytes();
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            it if it == bytes[start] => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_of_names_are_found() {
        let found = |source: &str| {
            let text = |it: PathUse| {
                let names: Vec<String> = it.parts.into_iter().map(|it| it.name).collect();
                format!("{}{}", names.join("/"), if it.tested { "?" } else { "" })
            };
            paths(source)
                .into_iter()
                .map(text)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            found("steps.a.outputs.x > params.n"),
            "steps/a/outputs/x params/n"
        );
        assert_eq!(
            found("steps['a-b'].outputs.x.size() == 1.5"),
            "steps/a-b/outputs/x"
        );
        assert_eq!(found("'steps.no' + \"params.no\" + item"), "item");
        assert_eq!(
            found("has(steps.a.outputs.x) && steps.a.outputs.x > 1"),
            "steps/a/outputs/x? steps/a/outputs/x?"
        );
        assert_eq!(found("size(params.list) > 0 && x[0].y"), "params/list x y");
        assert_eq!(found("params['a']"), "params/a");
        assert_eq!(found("params['a"), "params");
        assert_eq!(found("grün.é"), "gr n");
    }
}
