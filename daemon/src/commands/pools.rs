//! Pools that a flow wants and the daemon of this folder does not have.

use dalsegno_scheduler::{Flow, PoolName};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// A pool that is missing or too small: the daemon refuses the flow.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lack {
    pub(super) message: String,
    pub(super) help: String,
}

/// What a flow wants beyond what is configured, one entry a pool.
pub(super) fn lacks(flow: &Flow, configured: &BTreeMap<PoolName, u32>) -> Vec<Lack> {
    let spec = flow.spec();
    let mut wanted = spec.run.pools.clone();
    for (pool, slots) in spec.steps.iter().flat_map(|it| &it.pools) {
        // A task holds its slots besides those of its run.
        let of_run = spec.run.pools.get(pool).copied().unwrap_or(0);
        let most = wanted.entry(pool.clone()).or_default();
        *most = (*most).max(of_run.saturating_add(*slots));
    }
    let lack = |(pool, slots): (&PoolName, &u32)| {
        let (has, verb) = match configured.get(pool) {
            None => ("is not configured".to_owned(), "add"),
            Some(size) if size < slots => (format!("has {size}"), "write"),
            Some(_) => return None,
        };
        Some(Lack {
            message: format!(
                "flow {} wants {slots} of pool `{pool}`, which {has}; the daemon refuses it",
                flow.name()
            ),
            help: format!("{verb} `{pool} = {slots}` below [pools] in dalsegno.toml and restart"),
        })
    };
    wanted.iter().filter_map(lack).collect()
}

impl Lack {
    /// As findings about the file are printed.
    pub(super) fn json(&self, file: &Path) -> Value {
        json!({
            "file": file.display().to_string(), "line": 1, "column": 1, "severity": "warning",
            "code": "config.pool", "message": self.message, "help": self.help,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_is_missing_or_too_small_is_told_with_the_cure() {
        let source = "flow: fit\nrun: { pools: { disk: 1 } }\nsteps:\n  a: { run: 'true', pools: { gpu: 2, disk: 1 } }\n";
        let file = dalsegno_flowfile::parse("fit.yaml", source).expect("a valid flow");
        let found = |pools: &[(&str, u32)]| {
            let pools = pools
                .iter()
                .map(|(name, slots)| (PoolName::new(*name), *slots));
            let lacks = lacks(&file.flow, &pools.collect());
            lacks
                .into_iter()
                .map(|it| format!("{} → {}", it.message, it.help))
                .collect::<Vec<_>>()
        };
        assert_eq!(found(&[("gpu", 2), ("disk", 2)]), [""; 0]);
        assert_eq!(
            found(&[("disk", 1)]),
            [
                "flow fit wants 2 of pool `disk`, which has 1; the daemon refuses it → write `disk = 2` below [pools] in dalsegno.toml and restart",
                "flow fit wants 2 of pool `gpu`, which is not configured; the daemon refuses it → add `gpu = 2` below [pools] in dalsegno.toml and restart",
            ]
        );
    }
}
