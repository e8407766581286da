//! How Metaflow is run on this machine.

use super::spool::SpoolLimits;
use dalsegno_scheduler::metaflow::Storage;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The user of tasks when nothing names another than root, which Metaflow does not take.
const USER_DEFAULT: &str = "dalsegno";

/// What a [`LocalExecutor`](crate::LocalExecutor) needs to know to run Metaflow's tasks.
#[derive(Clone, Debug, Default)]
pub struct MetaflowConfig {
    /// The folder of the flow files. Interpreters are looked for from a flow's folder up to it, and without
    /// other word data is kept in its `.metaflow`.
    pub flows_dir: PathBuf,
    /// Where data is kept. `None`: what `METAFLOW_DEFAULT_DATASTORE` and its like say, else `<flows_dir>/.metaflow`.
    pub storage: Option<Storage>,
    /// `METAFLOW_USER` of tasks whose flow names none.
    pub user: Option<String>,
    /// Where `ArgoEvent(…).publish()` of a task sends its event. `None`: `<api_url>/metaflow/events`.
    pub events_url: Option<String>,
    /// What such an event is allowed by (`x-api-key`), where the daemon has a token: good for events only. Not given to
    /// tasks that use a metadata service, which takes its own key from the same variable.
    pub events_key: Option<String>,
    /// Every task is a process that begins anew, instead of a copy of one that has Metaflow loaded.
    pub cold: bool,
    /// The interpreter of all flows that have no other.
    pub python: Option<PathBuf>,
    /// Interpreters of folders, relative to `flows_dir` or absolute; the deepest folder counts. A flow
    /// file may be named, too.
    pub environments: Vec<(PathBuf, PathBuf)>,
    /// `@conda`, `@pypi` and `--environment` of a flow are not obeyed: its tasks run in its interpreter as it is.
    pub ignore_environments: bool,
    /// Arguments by which the keeper's program becomes [`sandbox::run`](crate::sandbox::run), usually `["sandbox"]`.
    /// Empty: files are probed with fewer fences.
    pub sandbox: Vec<OsString>,
    /// How much may wait for a metadata service that is down.
    pub spool: SpoolLimits,
}

impl MetaflowConfig {
    /// Where the data of flows is kept that name no other place.
    pub fn storage(&self) -> Storage {
        self.storage
            .clone()
            .unwrap_or_else(|| self.storage_by(|name| std::env::var(name).ok()))
    }

    /// The user of tasks whose flow names none: of the configuration, else that of `METAFLOW_USER`, `SUDO_USER`,
    /// `USERNAME` or `USER`, else the one whose process this is. For root that is `dalsegno`.
    pub fn user(&self) -> String {
        self.user_by(|name| std::env::var(name).ok(), own_name)
    }

    /// What Metaflow's client needs in its environment to see what the tasks of a flow did: user and place of data, as the
    /// tasks have them. `None`: what counts for flows that name none.
    pub fn client_settings(
        &self,
        user: Option<&str>,
        storage: Option<&Storage>,
    ) -> BTreeMap<String, String> {
        let user = user.filter(|it| !it.is_empty() && *it != "root");
        let user = user.map_or_else(|| self.user(), str::to_owned);
        let storage = storage.cloned().unwrap_or_else(|| self.storage());
        settings(&user, &storage)
    }

    fn storage_by(&self, variable: impl Fn(&str) -> Option<String>) -> Storage {
        let set = |name: &str| variable(name).filter(|it| !it.is_empty());
        let datastore = set("METAFLOW_DEFAULT_DATASTORE").unwrap_or_else(|| "local".into());
        let root = match datastore.as_str() {
            "local" => {
                let root = set("METAFLOW_DATASTORE_SYSROOT_LOCAL")
                    .map_or_else(|| self.flows_dir.clone(), PathBuf::from);
                let root = std::path::absolute(&root).unwrap_or(root);
                local_root(&root).display().to_string()
            }
            // Without a root Metaflow's own configuration counts.
            other => {
                let name = format!("METAFLOW_DATASTORE_SYSROOT_{}", other.to_ascii_uppercase());
                set(name.as_str()).unwrap_or_default()
            }
        };
        let metadata = set("METAFLOW_DEFAULT_METADATA").unwrap_or_else(|| "local".into());
        Storage {
            datastore,
            root,
            metadata,
        }
    }

    fn user_by(
        &self,
        variable: impl Fn(&str) -> Option<String>,
        own: impl FnOnce() -> Option<String>,
    ) -> String {
        let named = self.user.clone();
        let names = ["METAFLOW_USER", "SUDO_USER", "USERNAME", "USER"];
        named
            .into_iter()
            .chain(names.into_iter().filter_map(variable))
            .chain(std::iter::once_with(own).flatten())
            .find(|it| !it.is_empty() && it != "root")
            .unwrap_or_else(|| USER_DEFAULT.into())
    }
}

/// Who and where, as Metaflow reads it when it is imported.
pub(super) fn settings(user: &str, storage: &Storage) -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([
        ("METAFLOW_USER".into(), user.to_owned()),
        (
            "METAFLOW_DEFAULT_DATASTORE".into(),
            storage.datastore.clone(),
        ),
        ("METAFLOW_DEFAULT_METADATA".into(), storage.metadata.clone()),
    ]);
    let root = Path::new(&storage.root);
    match (storage.datastore.as_str(), root.parent()) {
        // It means the folder in which `.metaflow` lies.
        ("local", Some(parent)) => {
            let parent = parent.display().to_string();
            env.insert("METAFLOW_DATASTORE_SYSROOT_LOCAL".into(), parent);
        }
        (other, _) if !storage.root.is_empty() => {
            let name = format!("METAFLOW_DATASTORE_SYSROOT_{}", other.to_ascii_uppercase());
            env.insert(name, storage.root.clone());
        }
        _ => {}
    }
    env
}

/// What the system calls the user whose process this is: services often have none of the variables.
fn own_name() -> Option<String> {
    let uid = rustix::process::getuid().as_raw();
    name_in(&std::fs::read_to_string("/etc/passwd").ok()?, uid)
}

/// Lines are `name:password:uid:…`.
fn name_in(passwd: &str, uid: u32) -> Option<String> {
    let mut lines = passwd.lines().map(|it| it.split(':'));
    lines.find_map(|mut words| {
        let name = words.next()?;
        (words.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// Metaflow keeps local data in a folder of this name, which its `--datastore-root` includes.
pub(super) fn local_root(folder: &Path) -> PathBuf {
    if folder.ends_with(".metaflow") {
        folder.to_owned()
    } else {
        folder.join(".metaflow")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_and_user_are_what_the_environment_says_to_metaflow_itself() {
        let config = MetaflowConfig {
            flows_dir: "/flows".into(),
            ..MetaflowConfig::default()
        };
        let storage = |variables: &[(&str, &str)]| {
            let found = config.storage_by(|name| {
                let found = variables.iter().find(|(it, _)| *it == name);
                found.map(|(_, value)| (*value).to_owned())
            });
            format!("{} {} {}", found.datastore, found.root, found.metadata)
        };
        assert_eq!(storage(&[]), "local /flows/.metaflow local");
        assert_eq!(
            storage(&[("METAFLOW_DATASTORE_SYSROOT_LOCAL", "/mnt")]),
            "local /mnt/.metaflow local"
        );
        assert_eq!(
            storage(&[
                ("METAFLOW_DEFAULT_DATASTORE", "s3"),
                ("METAFLOW_DATASTORE_SYSROOT_S3", "s3://bucket/metaflow"),
                ("METAFLOW_DEFAULT_METADATA", "service"),
            ]),
            "s3 s3://bucket/metaflow service"
        );
        let user = |variable: &str, value: &str, own: Option<&str>| {
            let variable = |name: &str| (name == variable).then(|| value.to_owned());
            config.user_by(variable, || own.map(str::to_owned))
        };
        assert_eq!(user("USER", "ann", Some("bob")), "ann");
        assert_eq!(user("USER", "root", Some("root")), "dalsegno");
        assert_eq!(user("USER", "root", Some("bob")), "bob");
        assert_eq!(
            user("SHELL", "sh", Some("bob")),
            "bob",
            "a service has no USER"
        );
        assert_eq!(user("SHELL", "sh", None), "dalsegno");
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000:Bob:/home/bob:/bin/sh\n";
        assert_eq!(name_in(passwd, 1000).as_deref(), Some("bob"));
        assert_eq!(name_in(passwd, 1001), None);
    }
}
