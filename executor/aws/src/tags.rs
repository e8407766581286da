//! The tags by which a job can be told to be ours, and whose.

use crate::config::AwsConfig;
use dalsegno_scheduler::{AttemptId, FlowName, RunId, TaskId};
use std::collections::BTreeMap;

pub const INSTALLATION: &str = "dalsegno:installation";
pub const INSTANCE: &str = "dalsegno:instance";
pub const FLOW: &str = "dalsegno:flow";
pub const RUN: &str = "dalsegno:run";
pub const TASK: &str = "dalsegno:task";
/// An attempt's text: `12/train[3]/2`.
pub const ATTEMPT: &str = "dalsegno:attempt";

/// Of everything that belongs to a run.
pub fn of_run(config: &AwsConfig, flow: &FlowName, run: RunId) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::from([
        (INSTALLATION.to_owned(), config.installation.clone()),
        (FLOW.to_owned(), value(flow.as_str())),
        (RUN.to_owned(), run.to_string()),
    ]);
    if !config.instance.is_empty() {
        tags.insert(INSTANCE.to_owned(), value(&config.instance));
    }
    tags
}

/// Of an attempt's own job.
pub fn of_attempt(
    config: &AwsConfig,
    flow: &FlowName,
    attempt: &AttemptId,
) -> BTreeMap<String, String> {
    let mut tags = of_run(config, flow, attempt.run);
    tags.insert(TASK.to_owned(), task(&attempt.task));
    tags.insert(ATTEMPT.to_owned(), self::attempt(attempt));
    tags
}

/// As it stands in the tag.
pub fn attempt(attempt: &AttemptId) -> String {
    let text = format!(
        "{}/{}/{}",
        attempt.run,
        plain(&attempt.task),
        attempt.number
    );
    value(&text)
}

/// As it stands in the tag.
pub fn task(task: &TaskId) -> String {
    value(&plain(task))
}

/// Brackets may not be in a tag: `train:3`, `fit:3.0`, `loop@2`.
fn plain(task: &TaskId) -> String {
    task.to_string().replace('[', ":").replace(']', "")
}

/// What AWS allows in a tag: letters, digits, spaces and `_ . : / = + - @`, at most 256.
pub fn value(text: &str) -> String {
    let allowed = |it: char| it.is_alphanumeric() || "_.:/=+-@ ".contains(it);
    let chars = text.chars().take(256);
    chars.map(|it| if allowed(it) { it } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_written_as_a_tag_may_be() {
        let text = |text: &str| attempt(&text.parse().expect("an attempt"));
        assert_eq!(text("12/train/1"), "12/train/1");
        assert_eq!(text("12/train[3]/2"), "12/train:3/2");
        assert_eq!(text("12/fit[3.0]@4/2"), "12/fit:3.0@4/2");
        assert_eq!(value("a[b]"), "a-b-");
    }
}
