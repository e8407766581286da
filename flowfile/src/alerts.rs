//! `alerts`: which of a flow's alerts go where.

use crate::reader::{Fields, Value, did_you_mean};
use dalsegno_scheduler::alert::{AlertGroup, AlertKind, AlertRuleSpec};

pub(crate) const KEYS: [&str; 5] = ["on", "to", "hold", "group", "retries"];

/// Kinds that are about a flow; the others are the operator's.
const KINDS: [AlertKind; 10] = [
    AlertKind::RunFailed,
    AlertKind::RunSucceeded,
    AlertKind::RunRecovered,
    AlertKind::RunCancelled,
    AlertKind::TaskRetried,
    AlertKind::SlaAtRisk,
    AlertKind::SlaMissed,
    AlertKind::SlaMet,
    AlertKind::ScheduleMissed,
    AlertKind::FlowInvalid,
];

const CHANNELS: [&str; 5] = ["webhook", "slack", "pagerduty", "email", "sns"];

const GROUPS: [(&str, AlertGroup); 3] = [
    ("flow", AlertGroup::Flow),
    ("owner", AlertGroup::Owner),
    ("none", AlertGroup::None),
];

const RULES_MAX: usize = 100;

/// `has_owner`: what `to: owner` needs.
pub(crate) fn read(value: Value<'_>, has_owner: bool) -> Vec<AlertRuleSpec> {
    let items = value.list();
    if items.len() > RULES_MAX {
        let message = format!("{} rules, and a flow has at most {RULES_MAX}", items.len());
        let help = "let one rule be about several kinds: `on: [run.failed, sla.missed]`";
        value.cx.push(value.bad(message).help(help));
    }
    let rules = items.into_iter().filter_map(|it| rule(it, has_owner));
    rules.collect()
}

fn rule(value: Value<'_>, has_owner: bool) -> Option<AlertRuleSpec> {
    let fields = value.fields(&KEYS, "write `- { on: [run.failed], to: webhook:NAME }`")?;
    let on = fields.required("on", "say which alerts: `on: [run.failed, sla.missed]`");
    let to = fields.required("to", "say where they go: `to: webhook:NAME`");
    let hold = fields.get("hold").and_then(|it| it.duration_or_zero());
    let group = fields.get("group").and_then(|it| it.one_of(&GROUPS));
    let rule = AlertRuleSpec {
        on: some(on?, kind),
        to: some(to?, |it| channel(it, has_owner)),
        hold: hold.filter(|it| it.as_micros() > 0),
        group: group.unwrap_or_default(),
        retries: None,
    };
    let retries = retries(&fields, &rule);
    Some(AlertRuleSpec { retries, ..rule })
}

fn retries(fields: &Fields<'_>, rule: &AlertRuleSpec) -> Option<u32> {
    let value = fields.get("retries")?;
    let retries = value.integer(1..=100)?;
    if !rule.on.contains(&AlertKind::TaskRetried) {
        let message = "`retries` has no meaning without `task.retried`";
        let help = "add `task.retried` to `on`, or remove `retries`";
        value.cx.push(value.bad(message).help(help));
    }
    Some(retries as u32)
}

/// One or several; none at all is a mistake.
fn some<T: PartialEq>(value: Value<'_>, read: impl Fn(Value<'_>) -> Option<T>) -> Vec<T> {
    let items = value.one_or_list();
    if items.is_empty() {
        let message = format!("`{}` is empty", value.name);
        let help = "name at least one, or remove the rule";
        value.cx.push(value.bad(message).help(help));
    }
    let mut all = Vec::new();
    for it in items.into_iter().filter_map(read) {
        if !all.contains(&it) {
            all.push(it);
        }
    }
    all
}

fn kind(value: Value<'_>) -> Option<AlertKind> {
    let text = value.text()?;
    match AlertKind::parse(text) {
        Some(kind) if KINDS.contains(&kind) => Some(kind),
        Some(_) => {
            let message = format!("`{text}` is about the whole installation, not about a flow");
            let help = "put it below [[alert_rules]] in dalsegno.toml";
            value.cx.push(value.bad(message).help(help));
            None
        }
        None => {
            let words = KINDS.map(AlertKind::as_str);
            let message = format!("there are no alerts `{}`", crate::yaml::shorten(text));
            let help = did_you_mean(text, &words);
            value.cx.push(value.bad(message).help(help));
            None
        }
    }
}

fn channel(value: Value<'_>, has_owner: bool) -> Option<String> {
    let text = value.text()?;
    if text == "owner" {
        if !has_owner {
            let message = "`owner`: the flow has none";
            let help = "write `owner: NAME` at the top of the file, or name a channel";
            value.cx.push(value.bad(message).help(help));
        }
        return Some(text.to_owned());
    }
    let sign = |it: char| it.is_ascii_alphanumeric() || "._-".contains(it);
    match text.split_once(':') {
        Some((kind, name))
            if CHANNELS.contains(&kind) && !name.is_empty() && name.chars().all(sign) =>
        {
            Some(text.to_owned())
        }
        _ => {
            let shown = crate::yaml::shorten(text);
            let message = format!("`{shown}` is not a channel");
            let help = "write `TYPE:NAME` with one of webhook, slack, pagerduty, email and sns, and a name below \
                        [channels] in dalsegno.toml; or `owner`";
            value.cx.push(value.bad(message).help(help));
            None
        }
    }
}
