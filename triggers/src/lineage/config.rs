//! `[openlineage]` of `dalsegno.toml`: who receives the lineage of our own runs.

use super::LINEAGE;
use axum::http::Uri;
use serde::Deserialize;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// As written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmissionSpec {
    /// Of a receiver; without a path, where OpenLineage's own clients post.
    url: String,
    /// The namespace of our jobs; `dalsegno` by default.
    namespace: Option<String>,
    /// The variable that holds the key, sent as a bearer token.
    api_key_env: Option<String>,
    /// The file that holds it, relative to the configuration's folder.
    api_key_file: Option<PathBuf>,
    /// How long the receiver may take for one event, 1 to 300; 10 by default.
    timeout_seconds: Option<u32>,
}

/// Checked, with the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Emission {
    pub(super) url: String,
    pub(super) namespace: String,
    pub(super) key: Option<String>,
    pub(super) timeout: Duration,
}

impl fmt::Debug for Emission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emission")
            .field("url", &self.url)
            .field("namespace", &self.namespace)
            .field("key", &self.key.as_ref().map(|_| "…"))
            .field("timeout", &self.timeout)
            .finish()
    }
}

impl Emission {
    /// Checks what was written and fetches the key; `beside` is the folder from which files are named, `environment`
    /// gives the value of a variable.
    ///
    /// # Errors
    /// Which key is wrong and what to do.
    pub fn checked(
        spec: EmissionSpec,
        beside: &Path,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let at = |message: String| format!("[openlineage]: {message}");
        let uri: Option<Uri> = spec.url.parse().ok();
        let usable = uri.filter(|it| matches!(it.scheme_str(), Some("http" | "https")));
        let Some(uri) = usable else {
            return Err(at(format!(
                "`url` is `{}`, and an address such as http://127.0.0.1:5000{LINEAGE} is expected",
                spec.url
            )));
        };
        if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
            return Err(at(
                "`url` holds a password; name the variable that holds a key with `api_key_env` instead"
                    .into(),
            ));
        }
        let url = match uri.path() {
            "" | "/" => format!("{}{LINEAGE}", spec.url.trim_end_matches('/')),
            _ => spec.url,
        };
        let namespace = spec.namespace.unwrap_or_else(|| "dalsegno".into());
        if namespace.trim().is_empty() || namespace.contains(char::is_control) {
            return Err(at(
                "`namespace` is empty or holds a control character".into()
            ));
        }
        let key = match (spec.api_key_env, spec.api_key_file) {
            (None, None) => None,
            (Some(variable), None) => Some(environment(&variable).ok_or_else(|| {
                at(format!(
                    "the variable {variable} that `api_key_env` names is not set"
                ))
            })?),
            (None, Some(file)) => {
                let path = beside.join(file);
                let text = std::fs::read_to_string(&path).map_err(|error| {
                    at(format!(
                        "`api_key_file` {} cannot be read: {error}",
                        path.display()
                    ))
                })?;
                Some(text)
            }
            (Some(_), Some(_)) => {
                return Err(at(
                    "`api_key_env` and `api_key_file` are both given; one of them is enough".into(),
                ));
            }
        };
        let key = key.map(|it| it.trim().to_owned());
        if let Some(key) = &key
            && (key.is_empty() || !key.bytes().all(|it| it.is_ascii_graphic()))
        {
            return Err(at(
                "the key is empty or holds what no header may hold; check the variable or file that it is in".into(),
            ));
        }
        let seconds = spec.timeout_seconds.unwrap_or(10);
        if !(1..=300).contains(&seconds) {
            return Err(at(format!(
                "`timeout_seconds` is {seconds}, and 1 to 300 are possible"
            )));
        }
        Ok(Self {
            url,
            namespace,
            key,
            timeout: Duration::from_secs(u64::from(seconds)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn emission(spec: Value) -> Result<Emission, String> {
        let spec = serde_json::from_value(spec).map_err(|it| it.to_string())?;
        let environment = |name: &str| (name == "KEY").then(|| "k3y\n".to_owned());
        Emission::checked(spec, Path::new("/nowhere"), environment)
    }

    #[test]
    fn an_address_is_enough() {
        let it = emission(json!({"url": "http://marquez:5000"})).expect("usable");
        assert_eq!(
            (it.url.as_str(), it.namespace.as_str()),
            ("http://marquez:5000/api/v1/lineage", "dalsegno")
        );
        let it = emission(json!({"url": "https://ol/x/y", "api_key_env": "KEY"})).expect("usable");
        assert_eq!(
            (it.url.as_str(), it.key.as_deref()),
            ("https://ol/x/y", Some("k3y"))
        );
        assert!(!format!("{it:?}").contains("k3y"));
    }

    #[test]
    fn what_is_wrong_is_said_when_the_daemon_starts() {
        let with = |key: &str, value: Value| {
            let mut spec = json!({"url": "http://marquez:5000"});
            spec[key] = value;
            emission(spec).expect_err(key)
        };
        let cases = [
            (with("url", json!("marquez:5000")), "an address such as"),
            (with("url", json!("http://a:b@c")), "holds a password"),
            (with("namespace", json!(" ")), "`namespace` is empty"),
            (with("api_key_env", json!("GONE")), "the variable GONE"),
            (
                with("api_key_file", json!("gone")),
                "/nowhere/gone cannot be read",
            ),
            (with("timeout_seconds", json!(0)), "1 to 300"),
            (with("token", json!("x")), "unknown field `token`"),
        ];
        for (said, expected) in cases {
            assert!(said.contains(expected), "{said} does not say {expected}");
        }
    }
}
