//! Metaflow's settings of this machine, for tasks on other ones.

use super::config::local_root;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What means something on this machine alone.
const OF_THIS_MACHINE: [&str; 8] = [
    "METAFLOW_HOME",
    "METAFLOW_PROFILE",
    "METAFLOW_DATASTORE_SYSROOT_LOCAL",
    "METAFLOW_CLIENT_CACHE_PATH",
    "METAFLOW_TEMPDIR",
    "METAFLOW_ARTIFACT_LOCALROOT",
    "METAFLOW_RUNTIME_NAME",
    "METAFLOW_USER",
];

/// `METAFLOW_…` of the daemon's environment, else of Metaflow's configuration file.
pub(super) fn configured() -> BTreeMap<String, String> {
    let mut all = std::env::var_os("METAFLOW_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(".metaflowconfig")))
        .map(|home| of_file(&home, std::env::var("METAFLOW_PROFILE").ok().as_deref()))
        .unwrap_or_default();
    let own = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    all.extend(own.filter(|(name, value)| name.starts_with("METAFLOW_") && !value.is_empty()));
    all
}

/// Without what means something on this machine alone. Containers may reach the metadata service by another address.
pub(super) fn elsewhere(mut all: BTreeMap<String, String>) -> BTreeMap<String, String> {
    all.retain(|name, _| !OF_THIS_MACHINE.contains(&name.as_str()));
    if let Some(url) = all.get("METAFLOW_SERVICE_INTERNAL_URL").cloned() {
        all.insert("METAFLOW_SERVICE_URL".into(), url);
    }
    all
}

fn of_file(home: &Path, profile: Option<&str>) -> BTreeMap<String, String> {
    let name = match profile.filter(|it| !it.is_empty()) {
        Some(profile) => format!("config_{profile}.json"),
        None => "config.json".into(),
    };
    let read = std::fs::read(home.join(name)).unwrap_or_default();
    let Ok(Value::Object(values)) = serde_json::from_slice(&read) else {
        return BTreeMap::new();
    };
    let values = values.into_iter().filter_map(|(name, value)| {
        let value = match value {
            Value::String(text) => text,
            Value::Null => return None,
            other => other.to_string(),
        };
        name.starts_with("METAFLOW_").then_some((name, value))
    });
    values.collect()
}

/// Where tasks that run in a folder of this machine keep local metadata: as Metaflow itself looks for it.
pub(super) fn local_metadata(folder: &Path) -> PathBuf {
    if let Some(root) = std::env::var_os("METAFLOW_DATASTORE_SYSROOT_LOCAL") {
        return local_root(Path::new(&root));
    }
    let mut places = folder.ancestors().map(|it| it.join(".metaflow"));
    places
        .find(|it| it.is_dir())
        .unwrap_or_else(|| folder.join(".metaflow"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_metaflow_is_told_by_a_file_is_told_to_other_machines_too() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("config_prod.json");
        let text = r#"{"METAFLOW_SERVICE_URL": "http://a", "METAFLOW_SERVICE_INTERNAL_URL": "http://b", "OTHER": "x",
                       "METAFLOW_SERVICE_HEADERS": {"k": 1}, "METAFLOW_USER": "ann"}"#;
        std::fs::write(file, text).expect("written");
        let told = elsewhere(of_file(dir.path(), Some("prod")));
        assert_eq!(
            serde_json::to_string(&told).expect("JSON"),
            r#"{"METAFLOW_SERVICE_HEADERS":"{\"k\":1}","METAFLOW_SERVICE_INTERNAL_URL":"http://b","METAFLOW_SERVICE_URL":"http://b"}"#
        );
        assert!(of_file(dir.path(), None).is_empty());
    }

    #[test]
    fn local_metadata_lies_where_metaflow_finds_it_from_the_flows_folder() {
        let dir = tempfile::tempdir().expect("a directory");
        let inner = dir.path().join("team/flows");
        std::fs::create_dir_all(&inner).expect("made");
        assert_eq!(local_metadata(&inner), inner.join(".metaflow"));
        std::fs::create_dir(dir.path().join(".metaflow")).expect("made");
        assert_eq!(local_metadata(&inner), dir.path().join(".metaflow"));
    }
}
