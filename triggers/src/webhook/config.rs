//! `[[webhooks]]` of `dalsegno.toml`.

use super::verify::Key;
use crate::mapping::{Mapping, MappingSpec};
use dalsegno_scheduler::expr::Expr;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// The names that templates and `where` may use.
const ROOTS: [&str; 3] = ["body", "headers", "query"];

/// How many secrets may be good at the same time.
const SECRETS_MAX: usize = 4;

/// How deliveries are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Scheme {
    /// `X-Hub-Signature-256`, as GitHub, Gitea and Forgejo send it.
    Github,
    /// [Standard Webhooks](https://www.standardwebhooks.com).
    Standard,
}

/// One `[[webhooks]]` as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSpec {
    name: String,
    verify: Scheme,
    /// Variables of the daemon's environment.
    #[serde(default)]
    secret_env: Secrets,
    /// Files, relative to the configuration's folder.
    #[serde(default)]
    secret_file: Secrets,
    #[serde(rename = "where")]
    filter: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    source: Option<String>,
    id: Option<String>,
    subject: Option<String>,
    time: Option<String>,
    data: Option<Value>,
}

/// Where secrets are: one place, or several while they change.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Secrets {
    #[default]
    None,
    One(String),
    Several(Vec<String>),
}

impl Secrets {
    fn places(&self) -> &[String] {
        match self {
            Self::None => &[],
            Self::One(place) => std::slice::from_ref(place),
            Self::Several(places) => places,
        }
    }
}

/// One webhook, checked, with its secrets.
#[derive(Clone, Debug)]
pub struct Webhook {
    pub(super) name: String,
    pub(super) scheme: Scheme,
    pub(super) keys: Vec<Key>,
    pub(super) filter: Option<Expr>,
    pub(super) mapping: Mapping,
}

impl Webhook {
    /// Checks what was written and fetches the secrets; `beside` is the folder from which files are named,
    /// `environment` gives the value of a variable.
    ///
    /// # Errors
    /// Which key is wrong and what to do. No secret is in the text.
    pub fn checked(
        spec: WebhookSpec,
        beside: &Path,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let name = spec.name;
        let plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) || name.starts_with('.') {
            return Err(format!(
                "webhook `{name}`: `name` is a part of its address, so it is 1 to 64 letters, digits, `-`, `_` and `.`"
            ));
        }
        let at = |message: String| format!("webhook `{name}`: {message}");
        let mut keys = Vec::new();
        for variable in spec.secret_env.places() {
            let secret = environment(variable).ok_or_else(|| {
                at(format!(
                    "the variable {variable} that `secret_env` names is not set; set it to the secret that the sender has"
                ))
            })?;
            let key = Key::new(spec.verify, &secret);
            keys.push(
                key.map_err(|what| at(format!("the secret in the variable {variable} {what}")))?,
            );
        }
        for file in spec.secret_file.places() {
            let path = beside.join(file);
            let text = std::fs::read_to_string(&path).map_err(|error| {
                at(format!(
                    "`secret_file` {} cannot be read: {error}",
                    path.display()
                ))
            })?;
            let key = Key::new(spec.verify, &text);
            keys.push(
                key.map_err(|what| {
                    at(format!("the secret in the file {} {what}", path.display()))
                })?,
            );
        }
        if keys.is_empty() || keys.len() > SECRETS_MAX {
            return Err(at(format!(
                "it has {} secrets, and 1 to {SECRETS_MAX} are needed; name the variable that holds the secret with \
                 `secret_env`, or a file with `secret_file` (two while the secret changes: `secret_env = [\"NEW\", \"OLD\"]`)",
                keys.len()
            )));
        }
        let filter = match &spec.filter {
            None => None,
            Some(text) => {
                let expr = Expr::parse(text).map_err(|error| at(format!("`where`: {error}")))?;
                let mut roots = expr.names().roots.iter();
                if let Some(other) = roots.find(|it| !ROOTS.contains(&it.as_str())) {
                    return Err(at(format!(
                        "`where`: there is no `{other}` here; known are {}",
                        ROOTS.join(", ")
                    )));
                }
                Some(expr)
            }
        };
        let mapping = MappingSpec {
            when: None,
            kind: spec.kind.unwrap_or_else(|| format!("webhook.{name}")),
            source: spec.source,
            id: spec.id,
            subject: spec.subject,
            time: spec.time,
            data: spec.data,
        };
        let mapping = Mapping::parse(&mapping, &ROOTS).map_err(at)?;
        Ok(Self {
            name,
            scheme: spec.verify,
            keys,
            filter,
            mapping,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn webhook(spec: Value) -> Result<Webhook, String> {
        let spec = serde_json::from_value(spec).map_err(|it| it.to_string())?;
        let environment = |name: &str| match name {
            "EMPTY" => Some(String::new()),
            "SECRET" => Some("s3cret\n".into()),
            "OLD" => Some("0ld".into()),
            _ => None,
        };
        Webhook::checked(spec, Path::new("/nowhere"), environment)
    }

    #[test]
    fn a_webhook_needs_a_name_a_scheme_and_a_secret() {
        let webhook = webhook(json!({
            "name": "github", "verify": "github", "secret_env": ["SECRET", "OLD"],
        }))
        .expect("a webhook");
        assert_eq!((webhook.name(), webhook.keys.len()), ("github", 2));
        let shown = format!("{webhook:?}");
        assert!(
            !shown.contains("s3cret") && !shown.contains("0ld"),
            "{shown}"
        );
    }

    #[test]
    fn what_is_wrong_is_said_when_the_daemon_starts() {
        let with = |key: &str, value: Value| {
            let mut spec = json!({"name": "hub", "verify": "github", "secret_env": "SECRET"});
            spec[key] = value;
            webhook(spec).expect_err(key)
        };
        let cases = [
            (
                with("name", json!("a/b")),
                "`name` is a part of its address",
            ),
            (with("verify", json!("none")), "unknown variant `none`"),
            (with("secret", json!("text")), "unknown field `secret`"),
            (with("secret_env", json!("GONE")), "the variable GONE"),
            (with("secret_env", json!("EMPTY")), "EMPTY is empty"),
            (with("secret_env", json!([])), "it has 0 secrets"),
            (
                with("secret_file", json!("gone")),
                "/nowhere/gone cannot be read",
            ),
            (
                with("where", json!("event.id")),
                "`where`: there is no `event`",
            ),
            (with("where", json!("body.")), "`where`: "),
            (
                with("id", json!("${{ message }}")),
                "`id`: there is no `message`",
            ),
            (with("type", json!("")), "`type` is empty"),
        ];
        for (said, expected) in cases {
            assert!(said.contains(expected), "{said} does not say {expected}");
        }
    }
}
