//! `s3`: the objects that a trigger waits for.

use crate::reader::Value;
use dalsegno_scheduler::spec::{EventSource, KeyPattern};

/// The longest key of S3, in bytes.
const KEY_BYTES_MAX: usize = 1024;

/// Reads `s3://BUCKET/PATTERN`.
pub(crate) fn read(value: Value<'_>) -> Option<EventSource> {
    let Some(text) = value.node.text() else {
        value.wrong("a text", "write `s3: s3://BUCKET/KEY`");
        return None;
    };
    let refuse = |message: String, help: String| {
        value.cx.push(value.bad(message).help(help));
        None
    };
    if text.contains("${{") {
        let message = "the pattern of an object is fixed, and cannot hold an expression";
        let help =
            "put a wildcard there, and compare what it matched: `where: event.match[0] == \"…\"`";
        return refuse(message.into(), help.into());
    }
    let Some(path) = text.strip_prefix("s3://") else {
        return refuse(
            "`s3` must begin with `s3://`".into(),
            format!("write `s3: {}`", guess(text)),
        );
    };
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    if let Some((message, help)) = wrong_bucket(bucket) {
        return refuse(message, help);
    }
    if key.is_empty() {
        let message = "a pattern for the keys is missing after the bucket".into();
        let help = format!(
            "write `s3://{bucket}/**` for every object of the bucket, or a pattern such as `s3://{bucket}/orders/*.csv`"
        );
        return refuse(message, help);
    }
    if let Some((message, help)) = wrong_key(bucket, key) {
        return refuse(message.into(), help);
    }
    let pattern = KeyPattern(key.to_owned());
    // What the core refuses beyond that.
    if let Err(error) = pattern.check() {
        let help = "write a simpler pattern; `**` stands for any number of segments";
        return refuse(error.to_string(), help.into());
    }
    for (message, help) in doubts(key) {
        let doubt = value.cx.at(value.span(), "flow.key_pattern", message);
        value.cx.push(doubt.warning().help(help));
    }
    Some(EventSource::Object {
        bucket: bucket.to_owned(),
        key: pattern,
    })
}

/// What was probably meant by a text that is no `s3://` address.
fn guess(text: &str) -> String {
    let rest = ["s3a://", "s3n://", "arn:aws:s3:::", "S3://"]
        .iter()
        .find_map(|it| text.strip_prefix(it));
    match rest {
        Some(rest) => format!("s3://{}", crate::yaml::shorten(rest)),
        None if text.contains("://") || !text.contains('/') => "s3://BUCKET/KEY".into(),
        None => format!(
            "s3://{}",
            crate::yaml::shorten(text.trim_start_matches('/'))
        ),
    }
}

/// The rules of S3 for names of buckets.
fn wrong_bucket(bucket: &str) -> Option<(String, String)> {
    let shown = crate::yaml::shorten(bucket);
    if bucket.contains(['*', '?']) {
        let message = format!("the bucket cannot hold a wildcard, as in `{shown}`");
        let help = "write one `s3` for each bucket below `any_of:`; the key may hold wildcards";
        return Some((message, help.into()));
    }
    let fits = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || ".-".contains(it);
    let edge = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit();
    let message = if bucket.is_empty() {
        "the name of the bucket is missing".to_owned()
    } else if let Some(sign) = bucket.chars().find(|it| !fits(*it)) {
        format!("the name of a bucket cannot hold {sign:?}, as in `{shown}`")
    } else if !(3..=63).contains(&bucket.len()) {
        format!(
            "the name of a bucket has 3 to 63 characters, and `{shown}` has {}",
            bucket.len()
        )
    } else if !bucket.starts_with(edge) || !bucket.ends_with(edge) || bucket.contains("..") {
        format!("the name of a bucket cannot be `{shown}`")
    } else {
        return None;
    };
    let help = "write `s3://BUCKET/KEY`; buckets are named in small letters, digits, `-` and `.`, \
                with a letter or digit at both ends";
    Some((message, help.into()))
}

fn wrong_key(bucket: &str, key: &str) -> Option<(&'static str, String)> {
    if key.len() > KEY_BYTES_MAX {
        return Some((
            "the pattern is longer than any key can be",
            format!("write at most {KEY_BYTES_MAX} bytes; `**` stands for many segments"),
        ));
    }
    if key.chars().any(char::is_control) {
        return Some(("the pattern holds a control character", "remove it".into()));
    }
    if key.contains("***") {
        return Some((
            "three stars in a row have no meaning",
            "write `*` for a part of a segment, or `**` for any number of segments".into(),
        ));
    }
    if key.ends_with('/') {
        let shown = crate::yaml::shorten(key);
        return Some((
            "no object is named by a pattern that ends with `/`",
            format!(
                "write `s3://{bucket}/{shown}*` for the objects right below it, or `{shown}**` for all within"
            ),
        ));
    }
    None
}

/// What is allowed, and rarely meant.
fn doubts(key: &str) -> Vec<(&'static str, &'static str)> {
    let mut doubts = Vec::new();
    if key.contains(['{', '[']) {
        doubts.push((
            "`{` and `[` stand for themselves in a pattern",
            "write alternatives as entries of `any_of:`, or check what a wildcard matched with `where`",
        ));
    }
    let encoded = |it: &str| {
        let hex = it.as_bytes().get(..2);
        hex.is_some_and(|it| it.iter().all(u8::is_ascii_hexdigit))
    };
    if key.split('%').skip(1).any(encoded) {
        doubts.push((
            "`%` stands for itself in a pattern, and keys are compared decoded",
            "write the sign itself, such as `=` instead of `%3D`",
        ));
    }
    if key.starts_with('/') {
        doubts.push((
            "the pattern begins with `/`, and keys rarely do",
            "write one `/` after the bucket",
        ));
    }
    doubts
}

/// How many wildcards a pattern has; each gives one entry of `event.match`.
pub(crate) fn wildcards(key: &str) -> usize {
    let stars = key
        .split(|it| it != '*')
        .filter(|it| !it.is_empty())
        .count();
    stars + key.matches('?').count()
}

#[cfg(test)]
mod tests {
    use super::wildcards;

    #[test]
    fn wildcards_are_counted() {
        let counts = ["a/b", "a/*", "a/**/b/*.csv", "dt=????/**", "*?*"].map(wildcards);
        assert_eq!(counts, [0, 1, 2, 5, 3]);
    }
}
