//! What Metaflow keeps of tasks in a local datastore, as pages list it: artifacts by name, type and size, and cards.

use dalsegno_web::{Artifact, Artifacts, CardFile, KeptTask, TaskData};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The list of a task's artifacts is not read beyond that. An artifact takes about 170 bytes of it.
const LIST_BYTES_MAX: u64 = 1 << 20;

/// So many cards of one task are told.
const CARDS_MAX: usize = 50;

/// Reads local datastores; of others it says where the data lies.
pub(crate) struct LocalData;

/// `<retry count>.data.json`, as far as it is of interest.
#[derive(Deserialize)]
struct List {
    objects: BTreeMap<String, Value>,
    #[serde(default)]
    info: BTreeMap<String, Map<String, Value>>,
}

impl TaskData for LocalData {
    fn artifacts(&self, task: &KeptTask) -> Artifacts {
        if task.storage.datastore != "local" {
            let root = task.storage.root.trim_end_matches('/');
            let KeptTask {
                class,
                run_id,
                step,
                task_id,
                ..
            } = task;
            return Artifacts::Elsewhere(format!("{root}/{class}/{run_id}/{step}/{task_id}"));
        }
        let folder = Path::new(&task.storage.root)
            .join(&task.class)
            .join(&task.run_id)
            .join(&task.step)
            .join(&task.task_id);
        list(&folder.join(format!("{}.data.json", task.retry_count)))
    }

    fn cards(&self, task: &KeptTask) -> Vec<CardFile> {
        if task.storage.datastore != "local" {
            return Vec::new();
        }
        // Metaflow's own setting for a place of all cards; its tasks have the daemon's environment.
        let root = std::env::var_os("METAFLOW_CARD_LOCALROOT").map(PathBuf::from);
        let root = root.unwrap_or_else(|| Path::new(&task.storage.root).join("mf.cards"));
        cards(&card_folder(&root, task))
    }
}

fn card_folder(root: &Path, task: &KeptTask) -> PathBuf {
    let mut folder = root.join(&task.class);
    for part in [
        "runs",
        &task.run_id,
        "steps",
        &task.step,
        "tasks",
        &task.task_id,
        "cards",
    ] {
        folder.push(part);
    }
    folder
}

fn list(path: &Path) -> Artifacts {
    let mut text = String::new();
    let read =
        File::open(path).and_then(|file| file.take(LIST_BYTES_MAX + 1).read_to_string(&mut text));
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => return Artifacts::None,
        Err(error) => {
            return Artifacts::Unreadable(format!("{} cannot be read: {error}", path.display()));
        }
        Ok(length) if length as u64 > LIST_BYTES_MAX => {
            return Artifacts::Unreadable(format!("{} is longer than 1 MiB", path.display()));
        }
        Ok(_) => {}
    }
    match serde_json::from_str::<List>(&text) {
        Ok(list) => Artifacts::Listed(listed(&list)),
        Err(error) => Artifacts::Unreadable(format!(
            "{} is not what Metaflow writes: {error}",
            path.display()
        )),
    }
}

fn listed(list: &List) -> Vec<Artifact> {
    let public = list.objects.keys().filter(|it| !it.starts_with('_'));
    let artifact = |name: &String| {
        let info = list.info.get(name);
        let kind = info
            .and_then(|it| it.get("type")?.as_str())
            .unwrap_or_default();
        // Python's repr of a class: `<class 'str'>`.
        let bare = kind
            .strip_prefix("<class '")
            .and_then(|it| it.strip_suffix("'>"));
        Artifact {
            name: name.clone(),
            kind: bare.unwrap_or(kind).to_owned(),
            size: info.and_then(|it| it.get("size")?.as_u64()),
        }
    };
    public.map(artifact).collect()
}

fn cards(folder: &Path) -> Vec<CardFile> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let card = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let title = title(&name)?;
        let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let written = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let path = entry.path();
        Some((written, CardFile { name, title, path }))
    };
    let mut found: Vec<_> = entries.filter_map(|it| card(it.ok()?)).collect();
    found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.name.cmp(&b.1.name)));
    found.into_iter().map(|it| it.1).take(CARDS_MAX).collect()
}

/// Of `TYPE-HASH.html` or `TYPE-ID-HASH.html` what is not the hash.
fn title(name: &str) -> Option<String> {
    let (kind, _) = name.strip_suffix(".html")?.rsplit_once('-')?;
    Some(match kind.split_once('-') {
        Some((kind, id)) => format!("{id} ({kind})"),
        None => kind.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dalsegno_scheduler::metaflow::Storage;
    use serde_json::json;

    fn task(datastore: &str, root: &Path) -> KeptTask {
        KeptTask {
            storage: Storage {
                datastore: datastore.into(),
                root: root.display().to_string(),
                metadata: "local".into(),
            },
            class: "Train".into(),
            run_id: "dalsegno-1-x".into(),
            step: "start".into(),
            task_id: "t".into(),
            retry_count: 1,
        }
    }

    #[test]
    fn artifacts_are_listed_without_those_that_are_private() {
        let root = tempfile::tempdir().expect("a folder");
        let task = task("local", root.path());
        assert_eq!(LocalData.artifacts(&task), Artifacts::None, "not begun");
        let folder = root.path().join("Train/dalsegno-1-x/start/t");
        std::fs::create_dir_all(&folder).expect("made");
        let list = json!({"version": "1.0", "attempt": 1,
            "objects": {"table": "aa", "_task_ok": "bb", "odd": "cc"},
            "info": {"table": {"size": 2760, "type": "<class 'list'>"}, "_task_ok": {"size": 4}}});
        std::fs::write(folder.join("1.data.json"), list.to_string()).expect("written");
        let artifact = |name: &str, kind: &str, size| Artifact {
            name: name.into(),
            kind: kind.into(),
            size,
        };
        let expected = vec![
            artifact("odd", "", None),
            artifact("table", "list", Some(2760)),
        ];
        assert_eq!(LocalData.artifacts(&task), Artifacts::Listed(expected));

        std::fs::write(folder.join("1.data.json"), "{").expect("written");
        assert!(matches!(
            LocalData.artifacts(&task),
            Artifacts::Unreadable(_)
        ));
        let long = " ".repeat(LIST_BYTES_MAX as usize + 1);
        std::fs::write(folder.join("1.data.json"), long).expect("written");
        assert!(matches!(
            LocalData.artifacts(&task),
            Artifacts::Unreadable(_)
        ));
    }

    #[test]
    fn of_data_in_s3_it_is_said_where() {
        let task = task("s3", Path::new("s3://bucket/mf/"));
        let place = "s3://bucket/mf/Train/dalsegno-1-x/start/t".to_owned();
        assert_eq!(LocalData.artifacts(&task), Artifacts::Elsewhere(place));
    }

    #[test]
    fn cards_are_known_by_type_and_id() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = card_folder(&root.path().join("mf.cards"), &task("local", root.path()));
        std::fs::create_dir_all(&folder).expect("made");
        for name in [
            "default-0a.html",
            "blank-scores-0b.html",
            "default-0a.data.json",
        ] {
            std::fs::write(folder.join(name), "<p>").expect("written");
        }
        let mut titles: Vec<_> = cards(&folder).into_iter().map(|it| it.title).collect();
        titles.sort();
        assert_eq!(titles, ["default", "scores (blank)"]);
    }
}
