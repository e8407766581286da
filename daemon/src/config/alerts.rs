//! `[channels]`, `[[alert_rules]]` and `[owners]` of `dalsegno.toml`: who is told of what.

use super::DEFAULT_FILE;
use anyhow::bail;
use dalsegno_alerts::{AlertsConfig, ChannelSpec, OneOrMore, RuleSpec, Specs, Vault};
use dalsegno_scheduler::alert::AlertKind;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Checks all of it and fetches the secrets; `beside` is the folder of the configuration file.
pub(super) fn checked(
    channels: BTreeMap<String, ChannelSpec>,
    rules: Vec<RuleSpec>,
    owners: BTreeMap<String, OneOrMore>,
    beside: &Path,
) -> anyhow::Result<AlertsConfig> {
    let environment = |name: &str| std::env::var(name).ok();
    let vault = Vault {
        beside,
        environment: &environment,
    };
    let specs = Specs {
        channels,
        rules,
        owners,
    };
    match AlertsConfig::checked(specs, &vault, &kinds()) {
        Ok(config) => Ok(config),
        Err(message) => bail!("{DEFAULT_FILE}: {message}"),
    }
}

/// The kinds that some rule wants, so that the core writes no others.
pub(super) fn wanted(config: &AlertsConfig) -> BTreeSet<AlertKind> {
    let wanted = config.wanted(&kinds());
    wanted.into_iter().filter_map(AlertKind::parse).collect()
}

fn kinds() -> Vec<&'static str> {
    AlertKind::ALL.iter().map(|it| it.as_str()).collect()
}
