//! `[[webhooks]]` and `[openlineage]` of `dalsegno.toml`: who sends us events, and who is told of our runs.

use anyhow::bail;
use dalsegno_triggers::lineage::{Emission, EmissionSpec};
use dalsegno_triggers::webhook::{Webhook, WebhookSpec, Webhooks};
use std::path::Path;

/// Checks the webhooks and fetches their secrets; `beside` is the folder of the configuration file.
pub(super) fn webhooks(specs: Vec<WebhookSpec>, beside: &Path) -> anyhow::Result<Webhooks> {
    let checked = specs
        .into_iter()
        .map(|it| Webhook::checked(it, beside, variable));
    let all: Result<Vec<_>, String> = checked.collect();
    match all.and_then(Webhooks::new) {
        Ok(webhooks) => Ok(webhooks),
        Err(message) => bail!("{}: {message}", super::DEFAULT_FILE),
    }
}

/// Checks who receives lineage, and fetches the key.
pub(super) fn emission(
    spec: Option<EmissionSpec>,
    beside: &Path,
) -> anyhow::Result<Option<Emission>> {
    let checked = spec.map(|it| Emission::checked(it, beside, variable));
    match checked.transpose() {
        Ok(emission) => Ok(emission),
        Err(message) => bail!("{}: {message}", super::DEFAULT_FILE),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
