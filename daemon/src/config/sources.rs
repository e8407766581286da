//! `[[queues]]` and `[[directories]]` of `dalsegno.toml`: where arrivals are told.

use super::DEFAULT_FILE;
use anyhow::bail;
use dalsegno_triggers::directory::DirectoryConfig;
use dalsegno_triggers::mapping::{Mapping, MappingSpec};
use dalsegno_triggers::sqs::QueueConfig;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Batches of ten in hand at the same time, where nothing is said: enough to keep commits full.
const RECEIVERS: u16 = 4;
const RECEIVERS_MAX: u16 = 64;

/// The longest visibility timeout that SQS knows, in seconds.
const VISIBILITY_MAX_S: u32 = 43_200;

/// `[[queues]]` as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QueueSection {
    name: String,
    url: String,
    region: Option<String>,
    endpoint: Option<String>,
    dead_letter_url: Option<String>,
    receivers: Option<u16>,
    visibility_seconds: Option<u32>,
    #[serde(default)]
    mapping: Vec<MappingSpec>,
}

/// `[[directories]]` as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DirectorySection {
    bucket: String,
    path: PathBuf,
    #[serde(default)]
    existing: bool,
}

/// All sources, checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct SourcesConfig {
    pub(crate) queues: Vec<QueueConfig>,
    pub(crate) directories: Vec<DirectoryConfig>,
}

/// Checks the sources; `beside` is the folder of the configuration file.
pub(super) fn checked(
    queues: Vec<QueueSection>,
    directories: Vec<DirectorySection>,
    beside: &Path,
) -> anyhow::Result<SourcesConfig> {
    let mut names = BTreeSet::new();
    let mut config = SourcesConfig::default();
    for section in queues {
        let name = section.name.clone();
        if !is_plain(&name) {
            bail!(
                "{DEFAULT_FILE}: the queue's name `{name}` is not usable; take letters, digits, `_`, `.` and `-`, at \
                 most 64"
            );
        }
        if !names.insert(name.clone()) {
            bail!("{DEFAULT_FILE}: two queues have the name `{name}`; give each its own");
        }
        match queue(section) {
            Ok(queue) => config.queues.push(queue),
            Err(message) => bail!("{DEFAULT_FILE}: queue `{name}`: {message}"),
        }
    }
    let mut buckets = BTreeSet::new();
    for section in directories {
        let bucket = section.bucket;
        if !is_bucket(&bucket) {
            bail!(
                "{DEFAULT_FILE}: `{bucket}` is not usable as the bucket of a folder; buckets are named in small letters, \
                 digits, `-` and `.`, 3 to 63 of them, with a letter or digit at both ends"
            );
        }
        if !buckets.insert(bucket.clone()) {
            bail!("{DEFAULT_FILE}: two folders stand for bucket `{bucket}`; give each its own");
        }
        if section.path.as_os_str().is_empty() {
            bail!("{DEFAULT_FILE}: the folder of bucket `{bucket}` has an empty `path`");
        }
        config.directories.push(DirectoryConfig {
            path: beside.join(section.path),
            bucket,
            existing: section.existing,
        });
    }
    Ok(config)
}

fn queue(section: QueueSection) -> Result<QueueConfig, String> {
    let place = place(&section.url)?;
    let region = match (section.region, place.region) {
        (Some(said), Some(of_url)) if said != of_url => {
            return Err(format!(
                "`region` is {said}, and its `url` is in {of_url}; leave `region` out"
            ));
        }
        (said, of_url) => said.or(of_url),
    };
    if let Some(url) = &section.dead_letter_url {
        self::place(url).map_err(|error| format!("`dead_letter_url`: {error}"))?;
        if *url == section.url {
            return Err("`dead_letter_url` is the queue itself".into());
        }
    }
    let receivers = section.receivers.unwrap_or(RECEIVERS);
    if !(1..=RECEIVERS_MAX).contains(&receivers) {
        return Err(format!(
            "`receivers` is {receivers}, and 1 to {RECEIVERS_MAX} is expected"
        ));
    }
    if let Some(seconds) = section.visibility_seconds
        && !(2..=VISIBILITY_MAX_S).contains(&seconds)
    {
        return Err(format!(
            "`visibility_seconds` is {seconds}, and 2 to {VISIBILITY_MAX_S} is expected"
        ));
    }
    let mappings = section.mapping.iter().enumerate().map(|(place, spec)| {
        Mapping::parse(spec, &["message"])
            .map_err(|error| format!("mapping {}: {error}", place + 1))
    });
    Ok(QueueConfig {
        name: section.name,
        url: section.url,
        region,
        endpoint: section.endpoint.or(place.endpoint),
        dead_letter_url: section.dead_letter_url,
        receivers,
        visibility: section
            .visibility_seconds
            .map(|it| Duration::from_secs(it.into())),
        mappings: mappings.collect::<Result<_, _>>()?,
    })
}

/// What the URL of a queue tells.
#[derive(Debug, PartialEq)]
struct Place {
    region: Option<String>,
    /// `None`: where AWS itself is.
    endpoint: Option<String>,
}

fn place(url: &str) -> Result<Place, String> {
    let bad = || {
        format!(
            "`{url}` is not the URL of a queue, such as https://sqs.eu-central-1.amazonaws.com/111122223333/arrivals"
        )
    };
    let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
    let (host, path) = rest.split_once('/').ok_or_else(bad)?;
    let is_web = scheme == "https" || scheme == "http";
    if !is_web || host.is_empty() || path.is_empty() || url.contains(char::is_whitespace) {
        return Err(bad());
    }
    let region = host
        .split_once("sqs.")
        .and_then(|(_, rest)| rest.split_once('.'))
        .filter(|(_, rest)| rest.contains("amazonaws.com"))
        .map(|(region, _)| region.to_owned());
    let usual = region.as_ref().is_some_and(|region| {
        [
            format!("sqs.{region}.amazonaws.com"),
            format!("sqs.{region}.amazonaws.com.cn"),
        ]
        .iter()
        .any(|it| it == host)
    });
    Ok(Place {
        region,
        endpoint: (!usual).then(|| format!("{scheme}://{host}")),
    })
}

fn is_plain(name: &str) -> bool {
    let plain = |it: char| it.is_ascii_alphanumeric() || "_.-".contains(it);
    (1..=64).contains(&name.len()) && name.chars().all(plain)
}

/// As S3 allows it, so that a flow can name it.
fn is_bucket(name: &str) -> bool {
    let inner = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit();
    let bytes = name.as_bytes();
    (3..=63).contains(&bytes.len())
        && bytes.iter().all(|it| inner(*it) || b"-.".contains(it))
        && inner(bytes[0])
        && inner(bytes[bytes.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sections {
        #[serde(default)]
        queues: Vec<QueueSection>,
        #[serde(default)]
        directories: Vec<DirectorySection>,
    }

    fn read(text: &str) -> Result<SourcesConfig, String> {
        let sections: Sections = toml::from_str(text).map_err(|error| error.to_string())?;
        checked(
            sections.queues,
            sections.directories,
            Path::new("/etc/dalsegno"),
        )
        .map_err(|error| error.to_string())
    }

    #[test]
    fn a_queue_needs_a_name_and_its_url() {
        let config = read(
            r#"
            [[queues]]
            name = "arrivals"
            url = "https://sqs.eu-central-1.amazonaws.com/111122223333/arrivals"
            [[queues.mapping]]
            type = "orders.ready"
            data = { order = "${{ message.body.order }}" }
            [[queues]]
            name = "local"
            url = "http://127.0.0.1:5000/123456789012/local"
            region = "us-east-1"
            [[directories]]
            bucket = "shop-data"
            path = "data"
            "#,
        )
        .expect("valid");
        let [arrivals, local] = &config.queues[..] else {
            panic!("two queues: {config:?}")
        };
        assert_eq!(arrivals.region.as_deref(), Some("eu-central-1"));
        assert_eq!((&arrivals.endpoint, arrivals.mappings.len()), (&None, 1));
        assert_eq!(local.endpoint.as_deref(), Some("http://127.0.0.1:5000"));
        assert_eq!(config.directories[0].path, Path::new("/etc/dalsegno/data"));
    }

    #[test]
    fn endpoints_within_a_network_are_kept() {
        let place = place("https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com/1/q").expect("a URL");
        assert_eq!(place.region.as_deref(), Some("eu-west-1"));
        let endpoint = "https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com";
        assert_eq!(place.endpoint.as_deref(), Some(endpoint));
    }

    #[test]
    fn what_is_wrong_is_told_with_the_cure() {
        let queue = |more: &str| {
            format!(
                "[[queues]]\nname = \"a\"\nurl = \"https://sqs.eu-west-1.amazonaws.com/1/a\"\n{more}"
            )
        };
        for (text, words) in [
            (queue("regoin = \"x\""), "unknown field `regoin`"),
            (queue("region = \"us-east-1\""), "leave `region` out"),
            (queue("receivers = 0"), "1 to 64"),
            (queue("visibility_seconds = 1"), "2 to 43200"),
            (
                queue("dead_letter_url = \"arn:aws:sqs:1\""),
                "`dead_letter_url`",
            ),
            (
                queue("dead_letter_url = \"https://sqs.eu-west-1.amazonaws.com/1/a\""),
                "the queue itself",
            ),
            (
                queue("[[queues.mapping]]\ntype = \"${{ event.x }}\""),
                "there is no `event`",
            ),
            (
                queue("[[queues.mapping]]\ntyp = \"x\""),
                "unknown field `typ`",
            ),
            (queue(&queue("")), "two queues have the name"),
            (
                "[[queues]]\nname = \"a b\"\nurl = \"x\"".into(),
                "name `a b`",
            ),
            (
                "[[queues]]\nname = \"a\"\nurl = \"arrivals\"".into(),
                "not the URL of a queue",
            ),
            ("[[queues]]\nurl = \"x\"".into(), "missing field `name`"),
            (
                "[[directories]]\nbucket = \"s3://x\"\npath = \".\"".into(),
                "bucket of a folder",
            ),
            (
                "[[directories]]\nbucket = \"shop\"\npath = \"\"".into(),
                "empty `path`",
            ),
        ] {
            let error = read(&text).expect_err(&text);
            assert!(error.contains(words), "{text}\n{error}");
        }
    }
}
