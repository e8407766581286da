//! Secrets: fetched from where they are kept, never shown.

use serde::Deserialize;
use serde_json::Value;
use std::fmt;
use std::path::{Path, PathBuf};

/// How many secrets may be good at the same time: two while one is exchanged, and some room.
const SECRETS_MAX: usize = 4;

/// No secret is longer; a larger file is another one.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// A text that nobody sees: not in logs, not in answers, not in the output of a debugger's print.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for whoever sends it where it belongs.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where secrets are looked for.
pub struct Vault<'a> {
    /// The folder from which files are named.
    pub beside: &'a Path,
    /// The value of a variable.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
}

/// The variable in which systemd names the folder of a service's credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Where one secret is, as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    env: Option<String>,
    file: Option<PathBuf>,
    credential: Option<String>,
}

const HINT: &str =
    "{ env = \"VARIABLE\" }, { file = \"PATH\" } or { credential = \"NAME\" } (systemd)";

impl Vault<'_> {
    /// The one secret that `key` names.
    ///
    /// # Errors
    /// What is wrong and what to do. The text holds no secret.
    pub fn one(&self, key: &str, value: Option<&Value>) -> Result<Secret, String> {
        let mut all = self.several(key, value)?;
        match all.len() {
            1 => Ok(all.remove(0)),
            several => Err(format!(
                "`{key}` names {several} secrets, and one is possible here"
            )),
        }
    }

    /// All that `key` names: one place, or a list of them while a secret is exchanged.
    ///
    /// # Errors
    /// As [`Vault::one`].
    pub fn several(&self, key: &str, value: Option<&Value>) -> Result<Vec<Secret>, String> {
        let places = match value {
            None => {
                return Err(format!(
                    "`{key}` is missing; say where it is: `{key} = {HINT}`"
                ));
            }
            Some(Value::Array(places)) => places.as_slice(),
            Some(place) => std::slice::from_ref(place),
        };
        if places.is_empty() || places.len() > SECRETS_MAX {
            return Err(format!(
                "`{key}` names {} secrets, and 1 to {SECRETS_MAX} are possible (the new one first while one is exchanged)",
                places.len()
            ));
        }
        places.iter().map(|it| self.fetch(key, it)).collect()
    }

    fn fetch(&self, key: &str, value: &Value) -> Result<Secret, String> {
        if value.is_string() {
            return Err(format!(
                "`{key}` stands in the file as it is, where backups and colleagues read it; say where it is instead: \
                 `{key} = {HINT}`"
            ));
        }
        let place: Place = serde_json::from_value(value.clone())
            .map_err(|error| format!("`{key}`: {error}; what is expected is {HINT}"))?;
        let (text, whence) = match place {
            Place {
                env: Some(name),
                file: None,
                credential: None,
            } => {
                let text = (self.environment)(&name)
                    .ok_or_else(|| format!("`{key}`: the variable {name} is not set"))?;
                (text, format!("the variable {name}"))
            }
            Place {
                env: None,
                file: Some(file),
                credential: None,
            } => {
                let path = self.beside.join(file);
                (read(key, &path)?, path.display().to_string())
            }
            Place {
                env: None,
                file: None,
                credential: Some(name),
            } => {
                let is_plain =
                    !name.is_empty() && !name.contains('/') && name != "." && name != "..";
                if !is_plain {
                    return Err(format!("`{key}`: `{name}` is not the name of a credential"));
                }
                let folder = (self.environment)(CREDENTIALS).ok_or_else(|| {
                    format!(
                        "`{key}`: there are no credentials, for {CREDENTIALS} is not set; start the daemon as a service \
                         of systemd with `LoadCredential={name}:PATH`"
                    )
                })?;
                let path = Path::new(&folder).join(&name);
                (read(key, &path)?, format!("the credential {name}"))
            }
            _ => return Err(format!("`{key}` is to name one place: {HINT}")),
        };
        let text = text.trim();
        if text.is_empty() {
            return Err(format!("`{key}`: {whence} is empty"));
        }
        Ok(Secret::new(text))
    }
}

fn read(key: &str, path: &Path) -> Result<String, String> {
    let wrong = |what: String| format!("`{key}`: {} {what}", path.display());
    let size =
        std::fs::metadata(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if !size.is_file() || size.len() > SECRET_BYTES_MAX {
        return Err(wrong("is not a file of at most 64 KiB".into()));
    }
    let bytes = std::fs::read(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    String::from_utf8(bytes).map_err(|_| wrong("is not text".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fetch(value: Value) -> Result<Secret, String> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("key"), "of a file\n").expect("written");
        let here = folder.path().to_str().expect("text").to_owned();
        let environment = move |name: &str| match name {
            "KEY" => Some("of the environment".to_owned()),
            "EMPTY" => Some(" \n".to_owned()),
            CREDENTIALS => Some(here.clone()),
            _ => None,
        };
        let vault = Vault {
            beside: folder.path(),
            environment: &environment,
        };
        vault.one("secret", Some(&value))
    }

    #[test]
    fn a_secret_comes_from_the_environment_a_file_or_a_credential() {
        for (place, expected) in [
            (json!({"env": "KEY"}), "of the environment"),
            (json!({"file": "key"}), "of a file"),
            (json!({"credential": "key"}), "of a file"),
            (json!([{"env": "KEY"}]), "of the environment"),
        ] {
            let secret = fetch(place).expect("found");
            assert_eq!(secret.reveal(), expected);
            assert!(!format!("{secret:?}").contains(expected));
        }
    }

    #[test]
    fn what_is_wrong_is_said_and_no_secret_with_it() {
        for (place, expected) in [
            (json!("hunter2"), "as it is"),
            (json!({"env": "GONE"}), "the variable GONE is not set"),
            (json!({"env": "EMPTY"}), "EMPTY is empty"),
            (json!({"file": "gone"}), "cannot be read"),
            (json!({"file": "."}), "is not a file"),
            (
                json!({"credential": "../key"}),
                "not the name of a credential",
            ),
            (json!({"env": "KEY", "file": "key"}), "one place"),
            (json!({"vault": "x"}), "unknown field `vault`"),
            (json!([]), "0 secrets"),
            (json!([{"env": "KEY"}, {"env": "KEY"}]), "one is possible"),
        ] {
            let error = fetch(place).expect_err(expected);
            assert!(error.contains(expected), "{error} does not say {expected}");
            assert!(!error.contains("hunter2"));
        }
    }
}
