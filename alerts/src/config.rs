//! `[channels]`, `[[alert_rules]]` and `[owners]` of `dalsegno.toml`, checked.

use crate::authority::Authority;
use crate::channel::{
    Address, Channel, EVENTS, Email, Kind, PagerDuty, Security, Slack, Sns, Webhook,
};
use crate::http::Way;
use crate::rule::{Book, Rule, Target};
use crate::secret::Vault;
use crate::sign::Signer;
use crate::spec::{ChannelSpec, EmailSpec, RuleSpec, SnsSpec, Specs};
use dalsegno_scheduler::Span;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use url::Url;

/// The longest time an alert may be held back.
const HOLD_MAX: Span = Span::from_secs(86_400);

/// What is written about alerts, checked, with all secrets.
#[derive(Clone, Debug, Default)]
pub struct AlertsConfig {
    pub channels: BTreeMap<String, Channel>,
    pub book: Book,
}

impl AlertsConfig {
    /// Checks what was written and fetches the secrets; `kinds` are those that exist.
    ///
    /// # Errors
    /// Which key is wrong and what to do. No secret is in the text.
    pub fn checked(specs: Specs, vault: &Vault<'_>, kinds: &[&str]) -> Result<Self, String> {
        let mut channels = BTreeMap::new();
        for (name, spec) in specs.channels {
            if !is_plain(&name) {
                return Err(format!(
                    "[channels.{name}]: the name is part of addresses, so it is 1 to 64 letters, digits, `-` and `_`"
                ));
            }
            let kind = kind(spec, vault).map_err(|what| format!("[channels.{name}]: {what}"))?;
            channels.insert(name.clone(), Channel { name, kind });
        }
        let target = |text: &str| -> Result<Target, String> {
            let target = Target::parse(text);
            if let Target::Channel(name) = &target {
                let known = || channels.keys().cloned().collect::<Vec<_>>().join(", ");
                let channel = channels
                    .get(name)
                    .ok_or_else(|| match channels.is_empty() {
                        true => format!("there is no channel `{name}`; add [channels.{name}]"),
                        false => format!("there is no channel `{name}`; there are {}", known()),
                    })?;
                let kind = channel.kind.as_str();
                if let Some((said, _)) = text.split_once(':')
                    && said != kind
                {
                    return Err(format!(
                        "`{text}`: channel {name} is of type {kind}; write `{kind}:{name}`"
                    ));
                }
            }
            Ok(target)
        };
        let mut rules = Vec::new();
        for (place, spec) in specs.rules.into_iter().enumerate() {
            let rule = rule(spec, &target, kinds);
            rules.push(rule.map_err(|what| format!("[[alert_rules]] {}: {what}", place + 1))?);
        }
        let mut owners = BTreeMap::new();
        for (owner, to) in specs.owners {
            let mut names = Vec::new();
            for text in to.list() {
                match target(&text).map_err(|what| format!("[owners] {owner}: {what}"))? {
                    Target::Channel(name) => names.push(name),
                    Target::Owner => {
                        return Err(format!(
                            "[owners] {owner}: `owner` is no channel; write TYPE:NAME"
                        ));
                    }
                }
            }
            owners.insert(owner, names);
        }
        let book = Book {
            rules,
            owners,
            channels: channels
                .iter()
                .map(|(name, it)| (name.clone(), it.kind.takes_groups()))
                .collect(),
        };
        Ok(Self { channels, book })
    }

    /// The kinds that a rule of the configuration wants, of those that exist.
    pub fn wanted<'a>(&self, kinds: &[&'a str]) -> Vec<&'a str> {
        let all = kinds.iter().copied();
        all.filter(|kind| self.book.rules.iter().any(|it| it.needs(kind)))
            .collect()
    }
}

fn kind(spec: ChannelSpec, vault: &Vault<'_>) -> Result<Kind, String> {
    Ok(match spec {
        ChannelSpec::Webhook(it) => Kind::Webhook(Webhook {
            url: match &it.url {
                Value::String(plain) => address("url", plain)?,
                place => address("url", vault.one("url", Some(place))?.reveal())?,
            },
            signer: Signer::new(&vault.several("secret", it.secret.as_ref())?)
                .map_err(|what| format!("`secret`: {what}"))?,
            way: way(it.allow_private, it.ca_file.as_deref(), vault)?,
        }),
        ChannelSpec::Slack(it) => Kind::Slack(Slack {
            url: address("url", vault.one("url", it.url.as_ref())?.reveal())?,
            way: way(it.allow_private, it.ca_file.as_deref(), vault)?,
        }),
        ChannelSpec::PagerDuty(it) => Kind::PagerDuty(PagerDuty {
            url: address("url", it.url.as_deref().unwrap_or(EVENTS))?,
            routing_key: vault.one("routing_key", it.routing_key.as_ref())?,
            way: way(it.allow_private, it.ca_file.as_deref(), vault)?,
        }),
        ChannelSpec::Email(it) => Kind::Email(email(it, vault)?),
        ChannelSpec::Sns(it) => Kind::Sns(sns(it)?),
    })
}

fn way(allow_private: bool, ca_file: Option<&Path>, vault: &Vault<'_>) -> Result<Way, String> {
    let authority = ca_file.map(|it| Authority::of_file(&vault.beside.join(it)));
    Ok(Way {
        allow_private,
        authority: authority.transpose()?,
    })
}

fn address(key: &str, text: &str) -> Result<Address, String> {
    // What is wrong may be a secret, so it is not repeated.
    let url: Url = text.parse().map_err(|error| {
        format!("`{key}` is not an address such as https://example.com/alerts: {error}")
    })?;
    if !matches!(url.scheme(), "https" | "http") || url.host().is_none() {
        return Err(format!(
            "`{key}` is to begin with https:// (or http://) and a host"
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!(
            "`{key}` holds a name and password, which are not sent; leave them out"
        ));
    }
    Ok(Address(url))
}

fn email(spec: EmailSpec, vault: &Vault<'_>) -> Result<Email, String> {
    let tls = spec.tls.unwrap_or(match spec.port {
        Some(465) => Security::Tls,
        _ => Security::StartTls,
    });
    let port = spec.port.unwrap_or(match tls {
        Security::Tls => 465,
        Security::StartTls => 587,
        Security::None => 25,
    });
    let mailbox = |key: &str, text: &str| {
        text.parse().map_err(|error| {
            format!("`{key}`: `{text}` is not an address such as ops@example.com: {error}")
        })
    };
    if spec.to.is_empty() {
        return Err("`to` names nobody".into());
    }
    let login = match (spec.user, &spec.password) {
        (None, None) => None,
        (Some(user), password) => Some((user, vault.one("password", password.as_ref())?)),
        (None, Some(_)) => return Err("`password` is given, and `user` is missing".into()),
    };
    if login.is_some() && tls == Security::None {
        return Err("with `tls = \"none\"` the password would be sent for all to read; take \"starttls\" or \"tls\"".into());
    }
    if spec.host.is_empty() || spec.host.contains(['/', '@', ' ', ':']) {
        return Err(format!(
            "`host` is `{}`, and a name such as mail.example.com is expected",
            spec.host
        ));
    }
    Ok(Email {
        from: mailbox("from", &spec.from)?,
        to: spec
            .to
            .iter()
            .map(|it| mailbox("to", it))
            .collect::<Result<_, _>>()?,
        host: spec.host,
        port,
        tls,
        login,
        way: way(spec.allow_private, spec.ca_file.as_deref(), vault)?,
    })
}

fn sns(spec: SnsSpec) -> Result<Sns, String> {
    let parts: Vec<&str> = spec.topic.split(':').collect();
    let ["arn", _, "sns", region, _, name] = parts[..] else {
        return Err(format!(
            "`topic` is `{}`, and an ARN such as arn:aws:sns:eu-central-1:111122223333:alerts is expected",
            spec.topic
        ));
    };
    if region.is_empty() || name.is_empty() {
        return Err(format!(
            "`topic`: `{}` lacks its region or its name",
            spec.topic
        ));
    }
    if let Some(endpoint) = &spec.endpoint {
        address("endpoint", endpoint)?;
    }
    Ok(Sns {
        region: spec.region.or_else(|| Some(region.to_owned())),
        endpoint: spec.endpoint,
        topic: spec.topic,
    })
}

fn rule(
    spec: RuleSpec,
    target: &impl Fn(&str) -> Result<Target, String>,
    kinds: &[&str],
) -> Result<Rule, String> {
    if spec.on.is_empty() {
        return Err("`on` names no kind of alert".into());
    }
    let to = spec.to.list();
    if to.is_empty() {
        return Err("`to` names no channel".into());
    }
    let rule = Rule {
        to: to.iter().map(|it| target(it)).collect::<Result<_, _>>()?,
        on: spec.on,
        flow: spec.flow,
        owner: spec.owner,
        hold: spec
            .hold
            .as_deref()
            .map(span)
            .transpose()?
            .unwrap_or(Span::ZERO),
        group: spec.group,
        retries: spec.retries,
    };
    for pattern in &rule.on {
        let is_known = kinds.iter().any(|kind| crate::rule::matches(pattern, kind));
        if !is_known {
            return Err(format!(
                "`on`: there is no kind `{pattern}`; there are {}",
                kinds.join(", ")
            ));
        }
    }
    Ok(rule)
}

/// `90s`, `2m`, `1h`, `1d`.
fn span(text: &str) -> Result<Span, String> {
    let wrong =
        || format!("`hold` is `{text}`, and a time such as 90s, 2m or 1h is expected, at most 1d");
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let number: i64 = digits.parse().map_err(|_| wrong())?;
    let seconds = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let span = number
        .checked_mul(seconds)
        .filter(|it| (0..=HOLD_MAX.0 / 1_000_000).contains(it));
    span.map(Span::from_secs).ok_or_else(wrong)
}

fn is_plain(name: &str) -> bool {
    let plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_');
    (1..=64).contains(&name.len()) && name.chars().all(plain) && name != "owner"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::OneOrMore;
    use serde::Deserialize;

    const KINDS: [&str; 3] = ["run.failed", "sla.missed", "sla.met"];

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sections {
        #[serde(default)]
        channels: BTreeMap<String, ChannelSpec>,
        #[serde(default)]
        alert_rules: Vec<RuleSpec>,
        #[serde(default)]
        owners: BTreeMap<String, OneOrMore>,
    }

    fn read(text: &str) -> Result<AlertsConfig, String> {
        let sections: Sections = toml::from_str(text).map_err(|error| error.to_string())?;
        let environment = |name: &str| match name {
            "KEY" => Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()),
            "URL" => Some("https://hooks.slack.com/services/T0/B0/s3cret".to_owned()),
            "BAD" => Some("s3cret".to_owned()),
            _ => None,
        };
        let vault = Vault {
            beside: Path::new("/nowhere"),
            environment: &environment,
        };
        let specs = Specs {
            channels: sections.channels,
            rules: sections.alert_rules,
            owners: sections.owners,
        };
        AlertsConfig::checked(specs, &vault, &KINDS)
    }

    const ALL: &str = r#"
        [channels.ops]
        type = "webhook"
        url = "https://example.com/alerts?key=s3cret"
        secret = [{ env = "KEY" }, { env = "KEY" }]
        [channels.data]
        type = "slack"
        url = { env = "URL" }
        [channels.pager]
        type = "pagerduty"
        routing_key = { env = "BAD" }
        [channels.mail]
        type = "email"
        host = "mail.example.com"
        from = "Dalsegno <dalsegno@example.com>"
        to = ["ops@example.com"]
        user = "dalsegno"
        password = { env = "BAD" }
        [channels.topic]
        type = "sns"
        topic = "arn:aws:sns:eu-central-1:111122223333:alerts"
        [[alert_rules]]
        on = ["sla.*"]
        to = ["webhook:ops", "owner"]
        flow = "orders*"
        hold = "2m"
        group = "owner"
        [[alert_rules]]
        on = ["run.failed"]
        to = "pager"
        [owners]
        data-eng = "slack:data"
    "#;

    #[test]
    fn all_that_can_be_written_is_read_and_no_secret_is_shown() {
        let config = read(ALL).expect("usable");
        assert_eq!(config.channels.len(), 5);
        assert_eq!(config.book.rules[0].hold, Span::from_mins(2));
        assert_eq!(config.book.owners["data-eng"], ["data"]);
        assert_eq!(config.wanted(&KINDS), KINDS);
        let shown = format!("{config:?}");
        assert!(
            !shown.contains("s3cret") && !shown.contains("MfKQ"),
            "{shown}"
        );
        let targets: Vec<String> = config.channels.values().map(Channel::target).collect();
        assert!(
            targets.iter().all(|it| !it.contains("s3cret")),
            "{targets:?}"
        );
        assert!(
            targets.contains(&"https://hooks.slack.com/…".to_owned()),
            "{targets:?}"
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_the_cure_and_without_the_secret() {
        let webhook = |more: &str| format!("[channels.ops]\ntype = \"webhook\"\n{more}");
        let email = |more: &str| {
            format!(
                "[channels.m]\ntype = \"email\"\nhost = \"m\"\nfrom = \"a@b.c\"\nto = [\"a@b.c\"]\n{more}"
            )
        };
        let rule = |more: &str| {
            format!(
                "{}\n[[alert_rules]]\n{more}",
                webhook("url = \"https://x.y\"\nsecret = { env = \"KEY\" }")
            )
        };
        for (text, words) in [
            (webhook("url = \"https://x.y\""), "`secret` is missing"),
            (
                webhook("url = \"https://x.y\"\nsecret = \"s3cret\""),
                "as it is",
            ),
            (
                webhook("url = \"https://x.y\"\nsecret = { env = \"BAD\" }"),
                "openssl rand",
            ),
            (
                webhook("url = \"x.y\"\nsecret = { env = \"KEY\" }"),
                "not an address",
            ),
            (
                webhook("url = \"ftp://x.y\"\nsecret = { env = \"KEY\" }"),
                "https://",
            ),
            (
                webhook("url = \"https://a:s3cret@x.y\"\nsecret = { env = \"KEY\" }"),
                "leave them out",
            ),
            (
                webhook("url = \"https://x.y\"\nsecrt = 1"),
                "unknown field `secrt`",
            ),
            (
                "[channels.x]\ntype = \"pigeon\"".into(),
                "unknown variant `pigeon`",
            ),
            (
                "[channels.\"a b\"]\ntype = \"slack\"\nurl = { env = \"URL\" }".into(),
                "letters, digits",
            ),
            (
                "[channels.x]\ntype = \"slack\"\nurl = \"https://hooks.slack.com/s3cret\"".into(),
                "as it is",
            ),
            (email("user = \"x\""), "`password` is missing"),
            (email("password = { env = \"BAD\" }"), "`user` is missing"),
            (
                email("tls = \"none\"\nuser = \"x\"\npassword = { env = \"BAD\" }"),
                "for all to read",
            ),
            (
                "[channels.t]\ntype = \"sns\"\ntopic = \"alerts\"".into(),
                "an ARN such as",
            ),
            (
                rule("on = [\"run.faild\"]\nto = \"ops\""),
                "there is no kind `run.faild`",
            ),
            (rule("on = []\nto = \"ops\""), "`on` names no kind"),
            (
                rule("on = [\"*\"]\nto = \"webhook:opps\""),
                "there is no channel `opps`; there are ops",
            ),
            (
                rule("on = [\"*\"]\nto = \"slack:ops\""),
                "write `webhook:ops`",
            ),
            (
                rule("on = [\"*\"]\nto = \"ops\"\nhold = \"2 weeks\""),
                "90s, 2m or 1h",
            ),
            (
                rule("on = [\"*\"]\nto = \"ops\"\nhold = \"99999999999999999d\""),
                "at most 1d",
            ),
            (
                rule("on = [\"*\"]\nto = \"ops\"\n[owners]\nml = \"owner\""),
                "[owners] ml",
            ),
        ] {
            let error = read(&text).expect_err(&text);
            assert!(error.contains(words), "{text}\n{error}");
            assert!(
                !error.contains("s3cret") || text.contains("alerts?key"),
                "{error}"
            );
        }
    }
}
