//! What runs elsewhere: asks AWS for each thing that the configuration names.

use crate::config::Settings;
use crate::output::{Finding, Health};
use dalsegno_executor_aws::{Verdict, look as look_at};
use std::time::Duration;

/// Longer than any service takes that answers at all.
const PATIENCE: Duration = Duration::from_secs(20);

/// Nothing without `[aws]`.
pub(super) fn look(settings: &Settings) -> Vec<Finding> {
    let Some(config) = &settings.aws else {
        return Vec::new();
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return vec![Finding::new(
                "aws",
                Health::Fail,
                format!("cannot ask: {error}"),
            )];
        }
    };
    let seen = runtime.block_on(async { tokio::time::timeout(PATIENCE, look_at(config)).await });
    let Ok(seen) = seen else {
        let text = format!("no answer within {} s", PATIENCE.as_secs());
        let finding = Finding::new("aws", Health::Fail, text);
        return vec![finding.cure("look at region, endpoint and the network")];
    };
    let finding = |it: dalsegno_executor_aws::Seen| {
        let health = match it.verdict {
            Verdict::Fine => Health::Ok,
            Verdict::Doubtful => Health::Warn,
            Verdict::Broken => Health::Fail,
        };
        let finding = Finding::new("aws", health, it.text);
        match it.cure {
            Some(cure) => finding.cure(cure),
            None => finding,
        }
    };
    seen.into_iter().map(finding).collect()
}
