//! Which interpreter a flow gets.

use crate::world::python;
use dalsegno_executor::{Interpreters, MetaflowConfig, Origin};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

#[tokio::test]
async fn the_nearest_environment_counts_and_a_configured_one_before_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let flows = dir.path().join("flows");
    let above = environment(&flows.join(".venv"), "");
    let near = environment(&flows.join("team/venv"), "");
    let special = environment(&dir.path().join("special"), "");
    let config = MetaflowConfig {
        flows_dir: flows.clone(),
        environments: vec![("team/special.py".into(), dir.path().join("special"))],
        ..MetaflowConfig::default()
    };
    let interpreters = Interpreters::new(config, dir.path().join("environments"));
    for (file, expected, origin) in [
        ("flow.py", &above, Origin::Beside),
        ("other/deep/flow.py", &above, Origin::Beside),
        ("team/flow.py", &near, Origin::Beside),
        ("team/special.py", &special, Origin::Configured),
    ] {
        let found = interpreters.resolve(&flows.join(file), None).await;
        let found = found.expect("found");
        assert_eq!((&found.python, found.origin), (expected, origin), "{file}");
        assert!(found.metaflow_version.starts_with("2."));
    }
    let named = special.display().to_string();
    let found = interpreters
        .resolve(&flows.join("flow.py"), Some(&named))
        .await;
    assert_eq!(found.expect("found").python, special);
}

#[tokio::test]
async fn an_environment_without_metaflow_is_not_passed_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let bare = environment(&dir.path().join(".venv"), "-S");
    let config = MetaflowConfig {
        flows_dir: dir.path().into(),
        python: Some(python()),
        ..MetaflowConfig::default()
    };
    let interpreters = Interpreters::new(config, dir.path().join("environments"));
    let file = dir.path().join("flow.py");
    let error = interpreters
        .resolve(&file, None)
        .await
        .expect_err("no Metaflow");
    assert!(
        error.contains(&format!("{} -m pip install metaflow", bare.display())),
        "{error}"
    );
    // Cured, it is seen.
    environment(&dir.path().join(".venv"), "");
    let found = interpreters.resolve(&file, None).await.expect("cured");
    assert_eq!(found.python, bare);
    let gone = interpreters.resolve(&file, Some("/no/python")).await;
    let gone = gone.expect_err("not there");
    assert!(
        gone.starts_with("cannot run the interpreter /no/python"),
        "{gone}"
    );
}

#[tokio::test]
async fn many_who_want_the_same_interpreter_ask_it_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("asked");
    let options = format!("\"$@\"; echo asked >> {}; exit #", log.display());
    environment(&dir.path().join(".venv"), &options);
    let config = MetaflowConfig {
        flows_dir: dir.path().into(),
        ..MetaflowConfig::default()
    };
    let interpreters = Interpreters::new(config, dir.path().join("environments"));
    let all: Vec<_> = (0..20)
        .map(|_| {
            let (interpreters, file) = (interpreters.clone(), dir.path().join("flow.py"));
            tokio::spawn(async move { interpreters.resolve(&file, None).await })
        })
        .collect();
    for one in all {
        one.await.expect("a task").expect("found");
    }
    let asked = std::fs::read_to_string(&log).expect("a log");
    assert_eq!(asked, "asked\n");
}

/// A folder that looks like an environment; its interpreter is the one of the tests.
fn environment(folder: &Path, options: &str) -> PathBuf {
    let path = folder.join("bin/python");
    std::fs::create_dir_all(folder.join("bin")).expect("made");
    let script = format!("#!/bin/sh\n{} {options} \"$@\"\n", python().display());
    std::fs::write(&path, script).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
    path
}
