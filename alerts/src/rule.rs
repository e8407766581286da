//! Which alerts go where: data in, data out.

use crate::alert::Alert;
use dalsegno_scheduler::Span;
use dalsegno_scheduler::alert::AlertKind;
use std::collections::{BTreeMap, BTreeSet};

/// Which alerts of a rule are sent as one message when they wait together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Those of one flow.
    #[default]
    Flow,
    /// Those of all flows of one owner.
    Owner,
    /// Each alone.
    None,
}

/// One rule, of the configuration or of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Kinds, `sla.*` or `*`.
    pub on: Vec<String>,
    pub to: Vec<Target>,
    /// Which flows; `None`: all, and what belongs to none.
    pub flow: Option<String>,
    /// Which owners; `None`: all, and what belongs to nobody.
    pub owner: Option<String>,
    /// What is over within this time is not told at all.
    pub hold: Span,
    pub group: Group,
    /// Of `task.retried`: only from so many retries on.
    pub retries: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Channel(String),
    /// Wherever `[owners]` sends what belongs to the alert's owner.
    Owner,
}

impl Target {
    /// `TYPE:NAME`, `NAME` or `owner`.
    pub fn parse(text: &str) -> Self {
        match text.split_once(':') {
            None if text == "owner" => Self::Owner,
            None => Self::Channel(text.to_owned()),
            Some((_, name)) => Self::Channel(name.to_owned()),
        }
    }
}

/// One delivery to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    pub channel: String,
    pub hold: Span,
    /// Deliveries of one channel with the same may be one message; empty: none.
    pub group: String,
    /// Why it cannot be made.
    pub problem: Option<String>,
}

/// All that routing goes by.
#[derive(Clone, Debug, Default)]
pub struct Book {
    pub rules: Vec<Rule>,
    /// By owner: names of channels.
    pub owners: BTreeMap<String, Vec<String>>,
    /// By name: whether one message may tell of several matters.
    pub channels: BTreeMap<String, bool>,
}

impl Rule {
    /// Whether it could want alerts of this kind.
    pub fn is_about(&self, kind: &str) -> bool {
        self.on.iter().any(|it| matches(it, kind))
    }

    /// Whether it holds alerts that this kind ends.
    fn holds_for(&self, kind: &str) -> bool {
        let ended = AlertKind::ALL.iter();
        let mut ended = ended.filter(|it| it.ended_by().is_some_and(|it| it.as_str() == kind));
        self.hold > Span::ZERO && ended.any(|it| self.is_about(it.as_str()))
    }

    /// Whether alerts of this kind are written for it.
    pub fn needs(&self, kind: &str) -> bool {
        self.is_about(kind) || self.holds_for(kind)
    }

    pub fn wants(&self, alert: &Alert) -> bool {
        let is_of = |wanted: &Option<String>, has: &Option<String>| match (wanted, has) {
            (None, _) => true,
            (Some(pattern), Some(text)) => matches(pattern, text),
            (Some(_), None) => false,
        };
        let retries = alert.data["retries"].as_u64().unwrap_or(0);
        self.is_about(&alert.kind)
            && is_of(&self.flow, &alert.flow)
            && is_of(&self.owner, &alert.owner)
            && (alert.kind != "task.retried" || self.retries.is_none_or(|it| retries >= it.into()))
    }
}

impl Book {
    /// Where an alert goes; `own` are the rules of its flow. Of several rules that send it to one channel the most hasty
    /// one counts.
    pub fn route(&self, alert: &Alert, own: &[Rule]) -> Vec<Planned> {
        let mut planned: BTreeMap<String, Planned> = BTreeMap::new();
        for rule in self.rules.iter().chain(own).filter(|it| it.wants(alert)) {
            for target in &rule.to {
                for (channel, problem) in self.channels_of(target, alert) {
                    let one = Planned {
                        hold: match alert.is_recovery {
                            true => Span::ZERO,
                            false => rule.hold,
                        },
                        group: match self.channels.get(&channel) {
                            Some(true) => group(rule.group, alert),
                            _ => String::new(),
                        },
                        channel: channel.clone(),
                        problem,
                    };
                    planned
                        .entry(channel)
                        .and_modify(|it| {
                            if one.hold < it.hold {
                                *it = one.clone();
                            }
                        })
                        .or_insert(one);
                }
            }
        }
        planned.into_values().collect()
    }

    /// Where alerts may be held that this one ends, whether it is told there or not.
    pub fn holders(&self, alert: &Alert, own: &[Rule]) -> BTreeSet<String> {
        let rules = self.rules.iter().chain(own);
        let rules = rules.filter(|it| alert.is_recovery && it.holds_for(&alert.kind));
        let targets = rules.flat_map(|it| &it.to);
        let channels = targets.flat_map(|it| self.channels_of(it, alert));
        channels.map(|(name, _)| name).collect()
    }

    fn channels_of(&self, target: &Target, alert: &Alert) -> Vec<(String, Option<String>)> {
        let known = |name: &String| {
            let problem = (!self.channels.contains_key(name)).then(|| {
                format!("there is no channel {name}: add [channels.{name}] to dalsegno.toml, then replay this delivery")
            });
            (name.clone(), problem)
        };
        match (target, &alert.owner) {
            (Target::Channel(name), _) => vec![known(name)],
            // What belongs to nobody is told to nobody in particular.
            (Target::Owner, None) => Vec::new(),
            (Target::Owner, Some(owner)) => match self.owners.get(owner) {
                Some(names) => names.iter().map(known).collect(),
                None => vec![(
                    format!("owner:{owner}"),
                    Some(format!(
                        "[owners] in dalsegno.toml does not say where alerts of {owner} go"
                    )),
                )],
            },
        }
    }
}

fn group(group: Group, alert: &Alert) -> String {
    match (group, &alert.flow, &alert.owner) {
        (Group::Flow, Some(flow), _) => format!("flow:{flow}"),
        (Group::Owner, _, Some(owner)) => format!("owner:{owner}"),
        _ => String::new(),
    }
}

/// `*` stands for any text, also for none.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    let mut pieces = rest.split('*').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return text.ends_with(piece);
        }
        match text.find(piece) {
            Some(at) => text = &text[at + piece.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use dalsegno_scheduler::Timestamp;

    fn alert(kind: &str, flow: &str, owner: Option<&str>) -> Alert {
        Alert {
            kind: kind.into(),
            flow: Some(flow.into()),
            owner: owner.map(str::to_owned),
            ..Alert::test("x", Timestamp(0))
        }
    }

    fn rule(on: &str, to: &str) -> Rule {
        Rule {
            on: vec![on.into()],
            to: vec![Target::parse(to)],
            flow: None,
            owner: None,
            hold: Span::ZERO,
            group: Group::Flow,
            retries: None,
        }
    }

    fn book(rules: Vec<Rule>) -> Book {
        Book {
            rules,
            owners: [("data".to_owned(), vec!["chat".to_owned()])].into(),
            channels: [("chat".to_owned(), true), ("pager".to_owned(), false)].into(),
        }
    }

    fn channels(planned: &[Planned]) -> Vec<&str> {
        planned.iter().map(|it| it.channel.as_str()).collect()
    }

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("sla.*", "sla.missed", true),
            ("sla.*", "sla", false),
            ("*_etl", "orders_etl", true),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1c", false),
            ("a*a", "a", false),
            ("etl", "etl2", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn rules_choose_by_kind_flow_owner_and_retries() {
        let all = book(vec![
            Rule {
                flow: Some("orders*".into()),
                ..rule("run.failed", "slack:chat")
            },
            Rule {
                owner: Some("fin*".into()),
                ..rule("*", "pagerduty:pager")
            },
            Rule {
                retries: Some(3),
                ..rule("task.retried", "pager")
            },
        ]);
        let to = |alert: &Alert| channels(&all.route(alert, &[])).join(" ");
        assert_eq!(to(&alert("run.failed", "orders_etl", None)), "chat");
        assert_eq!(to(&alert("run.failed", "users", None)), "");
        assert_eq!(
            to(&alert("run.failed", "orders", Some("finance"))),
            "chat pager"
        );
        let mut retried = alert("task.retried", "users", None);
        retried.data = serde_json::json!({"retries": 2});
        assert_eq!(to(&retried), "");
        retried.data = serde_json::json!({"retries": 3});
        assert_eq!(to(&retried), "pager");
    }

    #[test]
    fn an_alert_goes_to_a_channel_once_and_as_soon_as_any_rule_says() {
        let slow = Rule {
            hold: Span::from_mins(5),
            ..rule("sla.*", "chat")
        };
        let own = [rule("sla.missed", "chat"), rule("run.failed", "pager")];
        let planned = book(vec![slow]).route(&alert("sla.missed", "etl", None), &own);
        assert_eq!(
            (channels(&planned), planned[0].hold),
            (vec!["chat"], Span::ZERO)
        );
    }

    #[test]
    fn an_owner_is_told_where_the_configuration_says_and_one_without_a_place_is_not_lost() {
        let all = book(vec![rule("*", "owner")]);
        assert_eq!(
            channels(&all.route(&alert("x", "etl", Some("data")), &[])),
            ["chat"]
        );
        assert!(all.route(&alert("x", "etl", None), &[]).is_empty());
        let lost = all.route(&alert("x", "etl", Some("ml")), &[]);
        assert!(
            lost[0]
                .problem
                .as_deref()
                .is_some_and(|it| it.contains("[owners]")),
            "{lost:?}"
        );
        let unknown = all.route(&alert("x", "etl", None), &[rule("*", "gone")]);
        assert!(
            unknown[0]
                .problem
                .as_deref()
                .is_some_and(|it| it.contains("[channels.gone]"))
        );
    }

    #[test]
    fn only_what_may_be_told_in_one_message_is_grouped_and_a_recovery_is_not_held() {
        let rules = vec![
            Rule {
                group: Group::Owner,
                hold: Span::from_mins(2),
                ..rule("*", "chat")
            },
            rule("*", "pager"),
        ];
        let mut alert = alert("sla.met", "etl", Some("data"));
        let planned = book(rules.clone()).route(&alert, &[]);
        assert_eq!(
            (planned[0].group.as_str(), planned[1].group.as_str()),
            ("owner:data", "")
        );
        assert_eq!(planned[0].hold, Span::from_mins(2));
        alert.is_recovery = true;
        assert_eq!(book(rules).route(&alert, &[])[0].hold, Span::ZERO);
    }
}
