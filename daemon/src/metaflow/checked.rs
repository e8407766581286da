//! What a deployment may say beside its code: it ends up in names, command lines and on pages.

use crate::config::is_decorator;
use dalsegno_scheduler::metaflow::Storage;
use dalsegno_web::Deployment;
use std::path::Path;

/// The most characters of a name or tag.
const WORD_MAX: usize = 256;

/// The most characters of a path.
const PATH_MAX: usize = 4_096;

/// # Errors
/// The first thing that is wrong, and what was expected.
pub(super) fn check(it: &Deployment) -> Result<(), String> {
    for (what, path) in [("file", &it.file), ("folder", &it.folder)] {
        if !is_path(path) {
            return Err(format!(
                "`{what}` must be an absolute path of the machine that deploys, without control characters; it is {path:?}"
            ));
        }
    }
    if let Some(host) = it.host.as_deref().filter(|it| !is_host(it)) {
        return Err(format!(
            "`host` must be the name of the machine that deploys: 1 to 255 letters, digits, `.`, `_` and `-`; it is {host:?}"
        ));
    }
    if let Some(python) = it.python.as_deref().filter(|it| !is_path(it)) {
        return Err(format!(
            "`python` must be the absolute path of an interpreter on the daemon's machine; it is {python:?}"
        ));
    }
    if it.user.as_deref() == Some("") {
        return Err("`user` must not be empty; leave it out, or name who deploys".into());
    }
    let words = [
        ("user", &it.user),
        ("branch", &it.branch),
        ("namespace", &it.namespace),
        ("environment", &it.environment),
    ];
    let words = words
        .into_iter()
        .filter_map(|(what, word)| Some((what, word.as_ref()?)));
    for (what, word) in words.chain(it.tags.iter().map(|tag| ("tags", tag))) {
        if word.chars().count() > WORD_MAX || word.contains(char::is_control) {
            return Err(format!(
                "`{what}` must be at most {WORD_MAX} characters, and no control characters; it has {}",
                shown(word)
            ));
        }
    }
    if let Some(bad) = it.with.iter().find(|it| {
        let plain = !it.contains(char::is_control);
        !(it.is_empty() || plain && is_decorator(it))
    }) {
        return Err(format!(
            "`with` takes decorators as Metaflow's --with does, such as \"retry\" or \
             \"retry:times=2,minutes_between_retries=0\"; it has {}",
            shown(bad)
        ));
    }
    it.storage.as_ref().map_or(Ok(()), storage)
}

fn storage(it: &Storage) -> Result<(), String> {
    if !matches!(it.datastore.as_str(), "local" | "s3") {
        let other = shown(&it.datastore);
        return Err(format!(
            "`storage.datastore` must be \"local\" or \"s3\"; it is {other}"
        ));
    }
    if !matches!(it.metadata.as_str(), "local" | "service") {
        let other = shown(&it.metadata);
        return Err(format!(
            "`storage.metadata` must be \"local\" or \"service\"; it is {other}"
        ));
    }
    // Without a root Metaflow's own configuration counts.
    let root = it.root.as_str();
    let fits = root.is_empty()
        || match it.datastore.as_str() {
            "s3" => root.starts_with("s3://") && !root.contains(char::is_control),
            _ => is_path(root),
        };
    match fits {
        true => Ok(()),
        false => Err(format!(
            "`storage.root` must be an absolute path, or of an S3 datastore an s3:// URL; it is {}",
            shown(root)
        )),
    }
}

fn is_path(text: &str) -> bool {
    Path::new(text).is_absolute() && text.len() <= PATH_MAX && !text.contains(char::is_control)
}

/// With another sign in it, what comes from elsewhere could pass for a path of this machine.
fn is_host(text: &str) -> bool {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"._-".contains(&it);
    (1..=255).contains(&text.len()) && text.bytes().all(plain)
}

/// In quotes, with control characters written out, and not all of it.
fn shown(text: &str) -> String {
    const SHOWN: usize = 60;
    let all = text.chars().count() <= SHOWN;
    let start: String = text.chars().take(SHOWN).collect();
    format!("{start:?}{}", if all { "" } else { " …" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn checked(changes: Value) -> Result<(), String> {
        let mut deployment = json!({
            "class": "Train", "file": "/home/ada/train.py", "folder": "/home/ada", "package": "", "entry": "train.py",
            "dump": {}, "host": "ada-laptop.example", "python": "/opt/venv/bin/python", "user": "ada@example.com",
            "namespace": "", "tags": ["team:ml", "Frühling"], "with": ["retry:times=2", "card", ""],
            "storage": {"datastore": "s3", "root": "s3://bucket/metaflow", "metadata": "service"},
        });
        for (name, value) in changes.as_object().expect("an object") {
            deployment[name] = value.clone();
        }
        check(&serde_json::from_value(deployment).expect("a deployment"))
    }

    #[test]
    fn what_metaflows_client_sends_is_taken() {
        for changes in [
            json!({}),
            json!({"host": null, "python": null, "user": null, "storage": null}),
            json!({"storage": {"datastore": "local", "root": "/home/ada/.metaflow", "metadata": "local"}}),
            json!({"with": ["environment:vars={\"A\": \"1,2\", \"B\": \"3\"}", "kubernetes:cpu=2,image=a/b:c"]}),
        ] {
            assert_eq!(checked(changes.clone()), Ok(()), "{changes}");
        }
    }

    #[test]
    fn what_would_pass_for_something_else_is_refused_with_what_was_expected() {
        for (changes, expected) in [
            (json!({"host": "/h"}), "`host` must be"),
            (json!({"host": ""}), "`host` must be"),
            (json!({"host": "h".repeat(256)}), "1 to 255"),
            (json!({"file": "train.py"}), "`file` must be an absolute"),
            (
                json!({"folder": "/home\n/ada"}),
                "`folder` must be an absolute",
            ),
            (
                json!({"python": "python3"}),
                "`python` must be the absolute",
            ),
            (json!({"user": ""}), "`user` must not be empty"),
            (json!({"user": "a\u{7}"}), "`user` must be at most 256"),
            (
                json!({"namespace": "n".repeat(257)}),
                "`namespace` must be at most 256",
            ),
            (
                json!({"tags": ["ok", "two\nlines"]}),
                "it has \"two\\nlines\"",
            ),
            (json!({"with": ["retry times=2"]}), "`with` takes"),
            (json!({"with": ["retry:2"]}), "\"retry:2\""),
            (
                json!({"storage": {"datastore": "azure", "root": "x", "metadata": "local"}}),
                "`storage.datastore` must be",
            ),
            (
                json!({"storage": {"datastore": "local", "root": "data", "metadata": "local"}}),
                "`storage.root` must be",
            ),
            (
                json!({"storage": {"datastore": "s3", "root": "/data", "metadata": "local"}}),
                "an s3:// URL",
            ),
            (
                json!({"storage": {"datastore": "s3", "root": "", "metadata": "other"}}),
                "`storage.metadata` must be",
            ),
        ] {
            let error = checked(changes.clone()).expect_err("refused");
            assert!(error.contains(expected), "{changes}: {error}");
        }
    }
}
