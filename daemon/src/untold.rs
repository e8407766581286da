//! Rules of flow files that lead nowhere, told when a file is checked or deployed.

use crate::elsewhere::Told;
use dalsegno_alerts::Target;
use dalsegno_scheduler::Flow;
use std::collections::{BTreeMap, BTreeSet};

/// Where alerts can go, as the configuration says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// By name: their type.
    pub(crate) channels: BTreeMap<String, &'static str>,
    pub(crate) owners: BTreeSet<String>,
    /// There is a configuration at all: what is missing in it is a mistake.
    pub(crate) is_configured: bool,
}

/// What stands in the way of a flow's own rules.
pub(crate) fn told(flow: &Flow, places: &Places) -> Vec<Told> {
    let mut all = Vec::new();
    let spec = flow.spec();
    for (place, rule) in spec.alerts.iter().enumerate() {
        for text in &rule.to {
            let Some((wrong, help)) = wrong(text, spec.owner.as_deref(), places) else {
                continue;
            };
            all.push(Told {
                is_error: places.is_configured,
                message: format!(
                    "flow {}: `alerts`, rule {}: {wrong}",
                    flow.name(),
                    place + 1
                ),
                help,
            });
        }
    }
    all
}

/// What is wrong with where a rule leads, and the cure.
fn wrong(text: &str, owner: Option<&str>, places: &Places) -> Option<(String, String)> {
    let name = match Target::parse(text) {
        Target::Channel(name) => name,
        Target::Owner => {
            let owner = owner?;
            if places.owners.contains(owner) {
                return None;
            }
            return Some((
                format!("`to: owner`, and [owners] does not say where alerts of {owner} go"),
                format!(
                    "add `{owner} = \"TYPE:NAME\"` below [owners] in dalsegno.toml and restart"
                ),
            ));
        }
    };
    let kind = text.split_once(':').map(|it| it.0);
    match (places.channels.get(&name), kind) {
        (Some(is), Some(said)) if *is != said => Some((
            format!("`{text}`, and channel {name} is of type {is}"),
            format!("write `{is}:{name}`"),
        )),
        (Some(_), _) => None,
        (None, _) => {
            let known = places.channels.iter();
            let known: Vec<_> = known.map(|(name, kind)| format!("{kind}:{name}")).collect();
            let known = match known.is_empty() {
                true => "none is configured".to_owned(),
                false => format!("there are {}", known.join(", ")),
            };
            Some((
                format!("there is no channel `{text}`; {known}"),
                format!("correct the name, or add [channels.{name}] to dalsegno.toml and restart"),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_leads_nowhere_is_told_with_its_place_and_the_cure() {
        let places = Places {
            channels: [("ops".to_owned(), "webhook"), ("chat".to_owned(), "slack")].into(),
            owners: ["ml".to_owned()].into(),
            is_configured: true,
        };
        let lines = |owner: &str, to: &str| {
            let text = format!(
                "flow: a\nowner: {owner}\nalerts:\n  - {{ on: run.failed, to: {to} }}\nsteps: {{ go: {{ run: 'true' }} }}\n"
            );
            let flow = dalsegno_flowfile::parse("a.yaml", &text)
                .expect("a valid flow")
                .flow;
            let told = told(&flow, &places).into_iter();
            let told = told.map(|it| format!("{} → {}", it.message, it.help));
            told.collect::<Vec<_>>()
        };
        assert_eq!(lines("ml", "[webhook:ops, slack:chat, owner]"), [""; 0]);
        assert_eq!(
            lines("ml", "webhook:opps"),
            [
                "flow a: `alerts`, rule 1: there is no channel `webhook:opps`; there are slack:chat, webhook:ops → correct the name, or add [channels.opps] to dalsegno.toml and restart"
            ]
        );
        assert_eq!(
            lines("ml", "slack:ops"),
            [
                "flow a: `alerts`, rule 1: `slack:ops`, and channel ops is of type webhook → write `webhook:ops`"
            ]
        );
        assert_eq!(
            lines("bi", "owner"),
            [
                "flow a: `alerts`, rule 1: `to: owner`, and [owners] does not say where alerts of bi go → add `bi = \"TYPE:NAME\"` below [owners] in dalsegno.toml and restart"
            ]
        );
    }
}
