//! Stopping attempts, and what they leave behind.

use crate::world::{World, id, is_alive, pid};
use dalsegno_engine::Executor;
use dalsegno_executor::Stream;
use dalsegno_scheduler::Span;
use std::time::{Duration, Instant};

/// Tells the process id of its parent, and sleeps. By then it has no handler for signals that it might have
/// inherited, so a polite stop ends it.
const SLEEPER: &str = "sh -c 'echo $PPID > $DIR/up; exec sleep 60'";

#[tokio::test]
async fn a_polite_stop_lets_the_task_finish_what_it_does() {
    let mut world = World::new().await;
    let up = world.pipe("up");
    let line = format!("trap 'echo saved > $DIR/saved; exit 0' TERM; {SLEEPER} & wait");
    world.submit("1/a/1", &line);
    up.said().await;
    world.local().stop(id("1/a/1"), Span::from_secs(60));
    assert_eq!(world.ended().await, "1/a/1: stopped");
    assert_eq!(
        std::fs::read_to_string(world.path("saved")).expect("saved"),
        "saved\n"
    );
}

#[tokio::test]
async fn after_the_grace_it_is_killed() {
    let mut world = World::new().await;
    let up = world.pipe("up");
    let line = format!("trap 'echo no > $DIR/no' TERM; {SLEEPER}; while :; do sleep 60; done");
    world.submit("1/a/1", &line);
    let task = pid(&up.said().await);
    let begun = Instant::now();
    world.local().stop(id("1/a/1"), Span::from_secs(2));
    assert_eq!(world.ended().await, "1/a/1: stopped");
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert!(!is_alive(task));
    assert!(world.path("no").exists(), "it was asked first");
}

#[tokio::test]
async fn grandchildren_have_the_grace_of_their_attempt_too() {
    let mut world = World::new().await;
    let up = world.pipe("up");
    // The shell dies of the signal at once, the one it started puts things in order first.
    let gate = world.gate("gate");
    let child = "trap 'cat $DIR/gate; echo saved > $DIR/saved; exit' TERM";
    std::fs::write(
        world.path("flows/child"),
        format!("{child}; {SLEEPER} & wait"),
    )
    .expect("written");
    world.submit("1/a/1", "sh ./child & wait");
    up.said().await;
    world.local().stop(id("1/a/1"), Span::from_secs(60));
    gate.open().await;
    assert_eq!(world.ended().await, "1/a/1: stopped");
    assert!(world.path("saved").exists());
}

#[tokio::test]
async fn what_a_task_leaves_running_in_its_group_is_dead_when_its_end_is_told() {
    let mut world = World::new().await;
    let (ended, out) = world
        .play("1/a/1", "sleep 60 & echo $!; (sleep 61 & echo $!)")
        .await;
    assert_eq!(ended, "1/a/1: succeeded");
    let left: Vec<_> = out.lines().map(pid).collect();
    assert_eq!(left.len(), 2);
    assert!(left.into_iter().all(|pid| !is_alive(pid)));
}

#[tokio::test]
async fn a_process_in_a_session_of_its_own_is_killed_unless_it_took_off_its_mark() {
    let mut world = World::new().await;
    let (escaped, released) = (world.pipe("escaped"), world.pipe("released"));
    let up = world.pipe("up");
    // The first holds its pipe open as long as it lives.
    let line = "setsid sh -c 'exec > $DIR/escaped; echo > $DIR/up; exec sleep 60' & \
                env -u DALSEGNO_KEEPER setsid sh -c 'echo $$ > $DIR/released; exec sleep 60' & \
                cat $DIR/gate";
    let gate = world.gate("gate");
    world.submit("1/a/1", line);
    up.said().await;
    let released = pid(&released.said().await);
    gate.open().await;
    assert_eq!(world.ended().await, "1/a/1: succeeded");
    escaped.said().await;
    assert!(is_alive(released));
    rustix::process::kill_process(released, rustix::process::Signal::KILL).expect("killed");
}

#[tokio::test]
async fn an_attempt_that_was_stopped_before_it_was_submitted_never_runs() {
    let mut world = World::new().await;
    world.local().stop(id("1/a/1"), Span::ZERO);
    world.submit("1/a/1", "echo ran");
    assert_eq!(world.ended().await, "1/a/1: stopped");
    world.submit("1/a/1", "echo ran");
    assert_eq!(world.ended().await, "1/a/1: stopped");
    world.watch("1/a/1");
    assert_eq!(world.ended().await, "1/a/1: stopped");
    // The keeper takes orders in turn, and opens the log of an attempt before it starts it.
    assert_eq!(world.play("1/b/1", "true").await.0, "1/b/1: succeeded");
    let log = world.local().layout().log_path(&id("1/a/1"), Stream::Out);
    assert!(!log.exists());
}

#[tokio::test]
async fn stopping_what_is_not_known_or_has_ended_is_answered_at_once() {
    let mut world = World::new().await;
    world.local().stop(id("1/a/1"), Span::ZERO);
    assert_eq!(world.ended().await, "1/a/1: stopped");
    assert_eq!(
        world.play("1/b/1", "exit 4").await.0,
        "1/b/1: exit: exit code 4"
    );
    world.local().stop(id("1/b/1"), Span::ZERO);
    assert_eq!(world.ended().await, "1/b/1: exit: exit code 4");
}
