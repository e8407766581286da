//! `[channels]`, `[[alert_rules]]` and `[owners]` of `dalsegno.toml`, as written.

use crate::channel::Security;
use crate::rule::Group;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `[channels.NAME]` as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ChannelSpec {
    Webhook(WebhookSpec),
    Slack(SlackSpec),
    PagerDuty(PagerDutySpec),
    Email(EmailSpec),
    Sns(SnsSpec),
}

impl ChannelSpec {
    /// `webhook`, `slack` …
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Slack(_) => "slack",
            Self::PagerDuty(_) => "pagerduty",
            Self::Email(_) => "email",
            Self::Sns(_) => "sns",
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSpec {
    /// Plain, or where it is kept if it holds a key.
    pub(crate) url: Value,
    pub(crate) secret: Option<Value>,
    #[serde(default)]
    pub(crate) allow_private: bool,
    /// Authorities in PEM, instead of those that this machine trusts.
    pub(crate) ca_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlackSpec {
    pub(crate) url: Option<Value>,
    #[serde(default)]
    pub(crate) allow_private: bool,
    /// Authorities in PEM, instead of those that this machine trusts.
    pub(crate) ca_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PagerDutySpec {
    pub(crate) routing_key: Option<Value>,
    pub(crate) url: Option<String>,
    #[serde(default)]
    pub(crate) allow_private: bool,
    /// Authorities in PEM, instead of those that this machine trusts.
    pub(crate) ca_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmailSpec {
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) tls: Option<Security>,
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Value>,
    #[serde(default)]
    pub(crate) allow_private: bool,
    /// Authorities in PEM, instead of those that this machine trusts.
    pub(crate) ca_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnsSpec {
    pub(crate) topic: String,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
}

/// `[[alert_rules]]` as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    pub(crate) on: Vec<String>,
    pub(crate) to: OneOrMore,
    pub(crate) flow: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) hold: Option<String>,
    #[serde(default)]
    pub(crate) group: Group,
    pub(crate) retries: Option<u32>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    pub(crate) fn list(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::More(all) => all,
        }
    }
}

/// Everything that is written about alerts.
#[derive(Clone, Debug, Default)]
pub struct Specs {
    pub channels: BTreeMap<String, ChannelSpec>,
    pub rules: Vec<RuleSpec>,
    pub owners: BTreeMap<String, OneOrMore>,
}
