//! `batch`: what a step asks of AWS Batch beside image and resources.

use crate::reader::{Value, did_you_mean};
use crate::yaml::Data;
use dalsegno_scheduler::Span;
use dalsegno_scheduler::instances::MIB;
use dalsegno_scheduler::spec::Remote;
use serde_json::Value as Json;
use std::collections::BTreeMap;

pub(crate) const KEYS: [&str; 6] = [
    "queue",
    "job_role",
    "execution_role",
    "shared_memory",
    "tags",
    "container",
];

/// Batch's own least `attemptDurationSeconds`.
pub(crate) const TIMEOUT_MIN: Span = Span::from_secs(60);
/// AWS allows 50 tags, and six say whose a job is.
pub(crate) const TAGS_MAX: usize = 44;
const TAG_KEY_MAX: usize = 128;
const TAG_VALUE_MAX: usize = 256;

/// Keys of `containerProperties` that can be set as they are.
pub(crate) const CONTAINER_KEYS: [&str; 16] = [
    "enableExecuteCommand",
    "ephemeralStorage",
    "fargatePlatformConfiguration",
    "instanceType",
    "linuxParameters",
    "logConfiguration",
    "mountPoints",
    "networkConfiguration",
    "privileged",
    "readonlyRootFilesystem",
    "repositoryCredentials",
    "runtimePlatform",
    "secrets",
    "ulimits",
    "user",
    "volumes",
];
/// Those that have keys of their own in a flow file.
const SAID_ELSEWHERE: [(&str, &str); 8] = [
    ("command", "write the command as `run` of the step"),
    ("environment", "write it as `env` of the step"),
    ("image", "write it as `image` of the step"),
    ("memory", "write it as `resources: { memory: 4GiB }`"),
    ("vcpus", "write it as `resources: { cpu: 4 }`"),
    (
        "resourceRequirements",
        "write it as `resources: { cpu: 4, memory: 8GiB, gpu: 1 }`",
    ),
    ("jobRoleArn", "write it as `job_role` below `batch`"),
    (
        "executionRoleArn",
        "write it as `execution_role` below `batch`",
    ),
];

pub(crate) fn read(value: Value<'_>, remote: &mut Remote) {
    let Some(fields) = value.fields(&KEYS, "write `batch: { queue: NAME }`") else {
        return;
    };
    remote.queue = fields.get("queue").and_then(queue);
    remote.job_role = fields.get("job_role").and_then(role);
    remote.execution_role = fields.get("execution_role").and_then(role);
    remote.shared_memory_mib = fields.get("shared_memory").and_then(shared_memory);
    remote.tags = fields.section("tags").map_or_else(BTreeMap::new, tags);
    remote.container = fields
        .section("container")
        .map_or_else(BTreeMap::new, container);
    let twice = remote
        .container
        .get("linuxParameters")
        .is_some_and(|it| it.get("sharedMemorySize").is_some());
    if let (Some(shared), true) = (fields.get("shared_memory"), twice) {
        let message =
            "`shared_memory` and `linuxParameters.sharedMemorySize` say the same in two ways";
        value
            .cx
            .push(shared.bad(message).help("keep one of the two"));
    }
}

/// Whether it can be the name or ARN of a job queue.
pub(crate) fn is_queue(text: &str) -> bool {
    let named = |it: &str| {
        (1..=128).contains(&it.len())
            && it.starts_with(|it: char| it.is_ascii_alphanumeric())
            && it
                .bytes()
                .all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it))
    };
    match text.strip_prefix("arn:") {
        Some(rest) => rest
            .split_once(":job-queue/")
            .is_some_and(|(place, name)| place.contains(":batch:") && named(name)),
        None => named(text),
    }
}

/// Whether it can be the ARN of a role.
pub(crate) fn is_role(text: &str) -> bool {
    text.strip_prefix("arn:").is_some_and(|it| {
        it.split_once(":role/").is_some_and(|(place, name)| {
            place.contains(":iam::") && !name.is_empty() && !name.contains(char::is_whitespace)
        })
    })
}

/// Why a tag cannot be put on a job.
pub(crate) fn tag_problem(key: &str, value: &str) -> Option<String> {
    let sign = |it: char| it.is_alphanumeric() || it == ' ' || "_.:/=+-@".contains(it);
    let shown = crate::yaml::shorten(key);
    if key.is_empty() || key.chars().count() > TAG_KEY_MAX {
        Some(format!(
            "the key of a tag has 1 to {TAG_KEY_MAX} characters"
        ))
    } else if value.chars().count() > TAG_VALUE_MAX {
        Some(format!(
            "the value of a tag has at most {TAG_VALUE_MAX} characters, and that of `{shown}` has more"
        ))
    } else if key.to_lowercase().starts_with("aws:") {
        Some(format!(
            "the tag `{shown}` begins with `aws:`, which AWS keeps for itself"
        ))
    } else if key.starts_with("dalsegno:") {
        Some(format!(
            "the tag `{shown}` begins with `dalsegno:`, by which jobs are found again"
        ))
    } else {
        let odd = key.chars().chain(value.chars()).find(|it| !sign(*it))?;
        Some(format!("the tag `{shown}` cannot hold {odd:?}"))
    }
}

fn queue(value: Value<'_>) -> Option<String> {
    let text = value.text()?;
    if !is_queue(text) {
        let message = format!(
            "`{}` is not the name of a job queue",
            crate::yaml::shorten(text)
        );
        let help = "write its name or its ARN (`arn:aws:batch:REGION:ACCOUNT:job-queue/NAME`); without it, the step goes to the configured queues";
        value.cx.push(value.bad(message).help(help));
        return None;
    }
    Some(text.to_owned())
}

fn role(value: Value<'_>) -> Option<String> {
    let text = value.text()?;
    if !is_role(text) {
        let message = format!("`{}` is not the ARN of a role", crate::yaml::shorten(text));
        let help = "write it as IAM shows it: `arn:aws:iam::123456789012:role/NAME`";
        value.cx.push(value.bad(message).help(help));
        return None;
    }
    Some(text.to_owned())
}

fn shared_memory(value: Value<'_>) -> Option<u32> {
    let bytes = value.size()?;
    let mib = u32::try_from(bytes.div_ceil(MIB)).ok();
    if mib.is_none() {
        let message = "`shared_memory` is larger than any machine";
        value
            .cx
            .push(value.bad(message).help("write a size such as `2GiB`"));
    }
    mib
}

fn tags(value: Value<'_>) -> BTreeMap<String, String> {
    const HELP: &str = "write `tags: { team: growth }`";
    let mut tags = BTreeMap::new();
    let entries = value.entries(HELP);
    for entry in entries {
        let value = Value {
            name: &entry.key,
            node: &entry.value,
            cx: value.cx,
        };
        let Some(text) = value.written() else {
            value.wrong("a text", HELP);
            continue;
        };
        if let Some(problem) = tag_problem(&entry.key, &text) {
            let help = "tags hold letters, digits, spaces and `_ . : / = + - @`";
            value.cx.push(
                value
                    .cx
                    .at(&entry.key_span, "flow.bad_value", problem)
                    .help(help),
            );
            continue;
        }
        tags.insert(entry.key.clone(), text);
    }
    if entries.len() > TAGS_MAX {
        let message = format!(
            "a job has room for {TAGS_MAX} tags, and there are {}",
            entries.len()
        );
        let help = "remove some; AWS allows 50, and six say whose the job is";
        value.cx.push(value.bad(message).help(help));
    }
    tags
}

fn container(value: Value<'_>) -> BTreeMap<String, Json> {
    const HELP: &str =
        "write properties of a container as Batch spells them: `container: { user: nobody }`";
    let mut container = BTreeMap::new();
    for entry in value.entries(HELP) {
        let cx = value.cx;
        if let Some((key, help)) = SAID_ELSEWHERE.iter().find(|(it, _)| *it == entry.key) {
            let message = format!("`{key}` of the container is made from the step");
            cx.push(
                cx.at(&entry.key_span, "flow.bad_value", message)
                    .help(*help),
            );
            continue;
        }
        if !CONTAINER_KEYS.contains(&entry.key.as_str()) {
            let message = format!(
                "unknown key `{}` in `container`",
                crate::yaml::shorten(&entry.key)
            );
            let help = did_you_mean(&entry.key, &CONTAINER_KEYS);
            cx.push(
                cx.at(&entry.key_span, "flow.unknown_key", message)
                    .help(help),
            );
            continue;
        }
        let value = Value {
            name: &entry.key,
            node: &entry.value,
            cx,
        };
        let (good, expected) = match entry.key.as_str() {
            "user" | "instanceType" => (
                matches!(entry.value.data, Data::Text(_) | Data::Int(_)),
                "a text",
            ),
            "privileged" | "readonlyRootFilesystem" | "enableExecuteCommand" => {
                (matches!(entry.value.data, Data::Bool(_)), "true or false")
            }
            "mountPoints" | "volumes" | "ulimits" | "secrets" => {
                (matches!(entry.value.data, Data::List(_)), "a list")
            }
            _ => (matches!(entry.value.data, Data::Map(_)), "a mapping"),
        };
        match entry.value.to_json() {
            Some(json) if good => {
                let text = matches!(entry.value.data, Data::Int(_));
                let json = if text {
                    Json::from(json.to_string())
                } else {
                    json
                };
                container.insert(entry.key.clone(), json);
            }
            _ => value.wrong(expected, "write it as in Batch's `containerProperties`"),
        }
    }
    container
}
