//! Daemons and keepers that go and come.

use crate::world::{World, id, is_alive, keeper_program, pid};
use dalsegno_engine::{Executor, Reporter};
use dalsegno_executor::{LocalConfig, LocalExecutor, StartError};
use dalsegno_scheduler::{Report, Span};
use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

#[tokio::test]
async fn a_process_survives_its_daemon_and_is_adopted_by_the_next() {
    let mut world = World::new().await;
    let (up, gate) = (world.pipe("up"), world.gate("gate"));
    world.submit("1/a/1", "echo $$ > $DIR/up; read _ < $DIR/gate; exit 5");
    let task = pid(&up.said().await);
    let keeper = world.keeper();

    world.kill_daemon();
    world.start_daemon(&["1/a/1"]).await;
    assert_eq!(world.keeper(), keeper);
    world.watch("1/a/1");
    let (_, report) = world.report().await;
    assert!(
        matches!(&report, Report::Started { external_id, .. } if **external_id == *format!("pid {task}"))
    );
    gate.open().await;
    assert_eq!(world.ended().await, "1/a/1: exit: exit code 5");
}

#[tokio::test]
async fn an_end_while_no_daemon_was_there_is_told_to_the_next_one() {
    let mut world = World::new().await;
    let (up, gate, down) = (world.pipe("up"), world.gate("gate"), world.pipe("down"));
    world.submit(
        "1/a/1",
        "echo > $DIR/up; read _ < $DIR/gate; exec 3> $DIR/down; exit 202",
    );
    up.said().await;
    world.kill_daemon();
    gate.open().await;
    down.said().await;
    world.start_daemon(&["1/a/1"]).await;
    world.watch("1/a/1");
    assert_eq!(
        world.ended().await,
        "1/a/1: do_not_retry: exit code 202, which means: do not retry"
    );
}

#[tokio::test]
async fn a_success_that_is_found_when_it_should_be_stopped_has_its_outputs_or_has_failed() {
    let mut world = World::new().await;
    for (attempt, line) in [
        ("1/a/1", "true"),
        ("1/b/1", "echo auc=1 > $DALSEGNO_OUTPUT"),
    ] {
        let mut submission = world.shell(attempt, line);
        submission.outputs = vec!["auc".into()];
        world.local().submit(vec![submission]);
        world.ended().await;
    }
    // The keeper remembers what to expect, and so does the one that comes after it.
    for _ in 0..2 {
        world.kill_daemon();
        world.start_daemon(&["1/a/1", "1/b/1"]).await;
        world.local().stop(id("1/a/1"), Span::ZERO);
        let ended = world.ended().await;
        let expected = "1/a/1: bad_output: outputs are not usable: declared but not written: auc";
        assert!(ended.starts_with(expected), "{ended}");
        world.local().stop(id("1/b/1"), Span::ZERO);
        assert_eq!(world.ended().await, r#"1/b/1: {"auc":1}"#);
        world.kill_daemon();
        world.kill_keeper();
        world.start_daemon(&["1/a/1", "1/b/1"]).await;
    }
}

#[tokio::test]
async fn what_the_next_daemon_does_not_want_is_stopped() {
    let mut world = World::new().await;
    let up = world.pipe("up");
    // The pipe ends when its last writer does.
    let life = world.pipe("life");
    world.submit("1/a/1", "exec 3> $DIR/life; echo $$ > $DIR/up; sleep 60");
    let task = pid(&up.said().await);
    world.kill_daemon();
    world.start_daemon(&[]).await;
    life.said().await;
    world.watch("1/a/1");
    let ended = world.ended().await;
    assert!(ended.starts_with("1/a/1: "), "{ended}");
    assert!(!is_alive(task));
}

#[tokio::test]
async fn what_the_same_daemon_does_not_want_any_more_is_stopped_and_forgotten() {
    let mut world = World::new().await;
    let (up, life) = (world.pipe("up"), world.pipe("life"));
    world.submit("1/a/1", "exec 3> $DIR/life; echo > $DIR/up; sleep 60");
    up.said().await;
    for attempt in ["1/b/1", "1/c/1"] {
        let line = "echo x=1 > $DALSEGNO_OUTPUT; exit 0";
        assert_eq!(
            world.play(attempt, line).await.0,
            format!(r#"{attempt}: {{"x":1}}"#)
        );
    }
    // It reads its state again: the end of b was durable, the one of c was not.
    world.local().reconcile(BTreeSet::from([id("1/c/1")]));
    life.said().await;
    world.watch("1/c/1");
    assert_eq!(world.ended().await, r#"1/c/1: {"x":1}"#);
    world.watch("1/b/1");
    let missing = "1/b/1: lost: the keeper on this machine does not know it";
    assert_eq!(world.ended().await, missing);
    let output = |attempt| world.local().layout().output_path(&id(attempt)).exists();
    assert_eq!([output("1/b/1"), output("1/c/1")], [false, true]);
}

#[tokio::test]
async fn attempts_of_a_keeper_that_died_are_lost_and_dead() {
    let mut world = World::new().await;
    let (up, escaped) = (world.pipe("up"), world.pipe("escaped"));
    let line = "setsid sh -c 'echo $$ > $DIR/escaped; exec sleep 60' & \
                sleep 60 & echo $$ $! > $DIR/up; wait";
    world.submit("1/a/1", line);
    assert_eq!(
        world.play("1/b/1", "exit 6").await.0,
        "1/b/1: exit: exit code 6"
    );
    let mut all: Vec<_> = up.said().await.split(' ').map(pid).collect();
    all.push(pid(&escaped.said().await));
    assert!(all.iter().all(|pid| is_alive(*pid)));

    let before = world.keeper();
    world.kill_keeper();
    // The daemon finds out by itself, and starts another one.
    assert_eq!(
        world.ended().await,
        "1/a/1: lost: the keeper that ran it died; what was left of it was killed"
    );
    assert!(all.iter().all(|pid| !is_alive(*pid)));
    assert_ne!(world.keeper(), before);

    world.watch("1/b/1");
    assert_eq!(world.ended().await, "1/b/1: exit: exit code 6");
    assert_eq!(world.play("1/c/1", "echo on").await.1, "on\n");
}

#[tokio::test]
async fn daemon_and_keeper_may_both_die() {
    let mut world = World::new().await;
    let up = world.pipe("up");
    world.submit("1/a/1", "echo $$ > $DIR/up; sleep 60");
    let task = pid(&up.said().await);
    world.kill_daemon();
    world.kill_keeper();
    assert!(is_alive(task));
    world.start_daemon(&["1/a/1"]).await;
    assert!(!is_alive(task));
    world.watch("1/a/1");
    assert!(world.ended().await.starts_with("1/a/1: lost: "));
}

#[tokio::test]
async fn a_keeper_leaves_with_its_daemon_when_nothing_runs_and_remembers_what_is_not_durable() {
    let mut world = World::new().await;
    world.play("1/a/1", "exit 7").await;
    let keeper = world.keeper();
    world.local().leave().await;
    world.kill_daemon();
    let lock = std::fs::File::open(world.path("data/keeper/lock")).expect("a lock");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("it left");
    drop(lock);
    assert!(!world.path("data/keeper/keeper.sock").exists());

    world.start_daemon(&["1/a/1"]).await;
    assert_ne!(world.keeper(), keeper);
    world.watch("1/a/1");
    assert_eq!(world.ended().await, "1/a/1: exit: exit code 7");
}

#[tokio::test]
async fn a_daemon_can_leave_while_no_keeper_can_be_started() {
    let mut world = World::new().await;
    world.kill_daemon();
    world.kill_keeper();
    let mut config = world.config();
    config.program = world.path("program");
    std::os::unix::fs::symlink(keeper_program(), &config.program).expect("linked");
    let (reporter, _reports) = Reporter::channel();
    let local = LocalExecutor::start(config, reporter)
        .await
        .expect("an executor");

    // The program is replaced by one that is no keeper, and tells that it was tried.
    let tried = world.pipe("tried");
    let pipe = world.path("tried").display().to_string();
    let script = format!("#!/bin/sh\n[ -p {pipe} ] && exec 3> {pipe} && rm {pipe}\nexit 1\n");
    std::fs::write(world.path("broken"), script).expect("written");
    let all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(world.path("broken"), all).expect("made executable");
    std::fs::rename(world.path("broken"), world.path("program")).expect("replaced");
    world.kill_keeper();
    tried.said().await;
    tokio::time::timeout(Duration::from_secs(20), local.leave())
        .await
        .expect("it does not wait for a keeper");
}

#[tokio::test]
async fn there_is_one_keeper_per_directory() {
    let world = World::new().await;
    let dir = world.path("data/keeper");
    let second = std::process::Command::new(keeper_program())
        .arg("--dir")
        .arg(&dir)
        .stdin(Stdio::null())
        .output()
        .expect("ran");
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(
        said.trim(),
        format!("another keeper works in {}", dir.display())
    );
}

#[tokio::test]
async fn a_keeper_that_cannot_be_started_says_why() {
    let world = World::new().await;
    let start = async |change: fn(&mut LocalConfig)| {
        let mut config = world.config();
        config.data_dir = world.path("other");
        change(&mut config);
        let (reporter, _reports) = Reporter::channel();
        LocalExecutor::start(config, reporter)
            .await
            .expect_err("no keeper")
    };
    let error = start(|it| it.program = "/none/dalsegno".into()).await;
    assert!(matches!(error, StartError::Spawn { .. }), "{error}");
    let error = start(|it| it.args = vec!["too".into(), "much".into()]).await;
    let text = error.to_string();
    assert!(text.contains("usage: keeper --dir DIRECTORY"), "{text}");
    let error = start(|it| it.data_dir = "/proc/none".into()).await;
    assert!(
        error
            .to_string()
            .starts_with("cannot use the data directory /proc/none"),
        "{error}"
    );
}
