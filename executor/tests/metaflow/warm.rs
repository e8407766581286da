//! Tasks as copies of a process that has Metaflow loaded, and what dies between two steps of that.

use crate::steps::{ready_for_turn, turn};
use crate::world::{World, id, is_alive, pid, until};
use dalsegno_engine::Executor;
use dalsegno_executor::Stream;
use dalsegno_scheduler::Span;
use rustix::process::{Pid, Signal};
use serde_json::json;

#[tokio::test]
async fn tasks_are_copies_of_one_process_that_has_metaflow_loaded() {
    let mut world = World::new(false).await;
    ready_for_turn(&mut world).await;
    let servers = servers(&world);
    assert_eq!(servers.len(), 1, "{servers:?}");
    world.submit(turn(&world, "wait", 1));
    let task = pid(&world.said("ran").await);
    // Its program is the server's, and its mark its own.
    assert!(command_line(task).contains("warm.py"));
    assert!(environment(task).contains("#1/turn/1"));
    std::fs::write(world.path("go"), "").expect("written");
    assert!(world.ended().await.starts_with("1/turn/1: -> right"));
    assert_eq!(world.log("1/turn/1", Stream::Err), "");
}

#[tokio::test]
async fn a_server_that_dies_before_an_answer_is_replaced_and_nothing_runs_twice() {
    let mut world = World::new(false).await;
    ready_for_turn(&mut world).await;
    let [server] = servers(&world)[..] else {
        panic!("one server")
    };
    // It takes no orders any more, and then it dies with one.
    signal(server, Signal::STOP);
    world.submit(turn(&world, "wait", 1));
    asked(&world, "1/turn/1").await;
    signal(server, Signal::KILL);
    let task = pid(&world.said("ran").await);
    assert!(
        command_line(task).contains("warm.py"),
        "{}",
        world.log("1/turn/1", Stream::Err)
    );
    std::fs::write(world.path("go"), "").expect("written");
    assert!(world.ended().await.starts_with("1/turn/1: -> right"));
    assert_eq!(ran(&world), 1);
}

#[tokio::test]
async fn a_task_goes_on_when_its_server_dies() {
    let mut world = World::new(false).await;
    ready_for_turn(&mut world).await;
    world.submit(turn(&world, "wait", 1));
    let task = pid(&world.said("ran").await);
    signal(servers(&world)[0], Signal::KILL);
    until(|| servers(&world).is_empty().then_some(())).await;
    assert!(is_alive(task));
    std::fs::write(world.path("go"), "").expect("written");
    assert!(world.ended().await.starts_with("1/turn/1: -> right"));
    assert_eq!(ran(&world), 1);
}

#[tokio::test]
async fn an_attempt_that_is_stopped_while_it_waits_for_its_server_never_runs() {
    let mut world = World::new(false).await;
    ready_for_turn(&mut world).await;
    let server = servers(&world)[0];
    signal(server, Signal::STOP);
    world.submit(turn(&world, "wait", 1));
    asked(&world, "1/turn/1").await;
    world.local().stop(id("1/turn/1"), Span::from_secs(10));
    assert_eq!(world.ended().await, "1/turn/1: stopped");
    signal(server, Signal::CONT);
    // The server has dealt with what came before this one.
    std::fs::write(world.path("go"), "").expect("written");
    let mut second = turn(&world, "wait", 2);
    second.metaflow.as_mut().expect("a task").retry_count = 0;
    world.submit(second);
    assert!(world.ended().await.starts_with("1/turn/2: -> right"));
    assert_eq!(ran(&world), 1);
}

#[tokio::test]
async fn when_the_keeper_dies_its_servers_and_their_tasks_die_and_what_waited_never_runs() {
    let mut world = World::new(false).await;
    ready_for_turn(&mut world).await;
    let server = servers(&world)[0];
    world.submit(turn(&world, "wait", 1));
    let task = pid(&world.said("ran").await);
    let journal = std::fs::read_to_string(world.path("data/keeper/journal"));
    // Noted before it was told to go.
    let started = r#"{"started":{"attempt":"1/turn/1""#;
    assert!(journal.expect("a journal").contains(started));
    signal(server, Signal::STOP);
    let mut second = turn(&world, "wait", 2);
    second.metaflow.as_mut().expect("a task").task_id = "t-other".into();
    world.submit(second);
    asked(&world, "1/turn/2").await;

    world.kill_keeper();
    let lost = "lost: the keeper that ran it died; what was left of it was killed";
    let mut ends = [world.ended().await, world.ended().await];
    ends.sort();
    assert_eq!(
        ends,
        [format!("1/turn/1: {lost}"), format!("1/turn/2: {lost}")]
    );
    assert!(!is_alive(task) && !is_alive(server));
    assert_eq!(ran(&world), 1);
}

#[tokio::test]
async fn a_task_that_was_done_when_its_keeper_died_has_succeeded() {
    let mut world = World::new(false).await;
    ready_for_turn(&mut world).await;
    world.kill_daemon();
    world.start_daemon(&["1/turn/1"]).await;
    world.submit(turn(&world, "wait", 1));
    let task = pid(&world.said("ran").await);
    // Nobody hears of the end.
    let keeper = world.keeper();
    signal(keeper, Signal::STOP);
    std::fs::write(world.path("go"), "").expect("written");
    until(|| (!is_alive(task)).then_some(())).await;
    world.kill_keeper();
    assert!(world.ended().await.starts_with("1/turn/1: -> right"));
}

#[tokio::test]
async fn whatever_a_task_leaves_is_dead_when_its_end_is_told_also_what_was_only_forked() {
    let mut world = World::new(false).await;
    ready_for_turn(&mut world).await;
    // Another copy of the same process is left alone meanwhile.
    let mut other = turn(&world, "wait", 2);
    other.metaflow.as_mut().expect("a task").task_id = "t-other".into();
    world.submit(other);
    let other = pid(&world.said("ran").await);
    world.submit(turn(&world, "leave-things", 1));
    let left = world.said("left").await;
    assert!(world.ended().await.starts_with("1/turn/1: -> right"));
    for process in left.split(' ').map(pid) {
        until(|| (!is_alive(process)).then_some(())).await;
    }
    assert!(is_alive(other));
    std::fs::write(world.path("go"), "").expect("written");
    assert!(world.ended().await.starts_with("1/turn/2: -> right"));
}

#[tokio::test]
async fn whatever_a_task_leaves_is_dead_when_its_keeper_has_a_successor() {
    let mut world = World::new(false).await;
    ready_for_turn(&mut world).await;
    std::fs::write(world.path("stay"), "").expect("written");
    world.submit(turn(&world, "leave-things", 1));
    let left = world.said("left").await;
    world.kill_keeper();
    assert!(world.ended().await.starts_with("1/turn/1: lost"));
    for process in left.split(' ').map(pid) {
        assert!(!is_alive(process));
    }
}

#[tokio::test]
async fn a_copy_is_held_to_its_memory_and_can_be_stopped() {
    let mut world = World::new(false).await;
    ready_for_turn(&mut world).await;
    let mut greedy = turn(&world, "grow", 1);
    greedy.memory_bytes = Some(300 << 20);
    assert_eq!(
        world.play(greedy).await,
        "1/turn/1: out_of_memory: out of memory: the limit is 300 MiB"
    );
    world.submit(turn(&world, "wait", 2));
    let task = pid(&world.said("ran").await);
    world.local().stop(id("1/turn/2"), Span::from_secs(10));
    assert_eq!(world.ended().await, "1/turn/2: stopped");
    assert!(!is_alive(task));
    assert_eq!(servers(&world).len(), 1);
}

#[tokio::test]
async fn what_an_interpreter_reads_when_it_starts_is_given_to_a_new_one() {
    let mut world = World::new(false).await;
    ready_for_turn(&mut world).await;
    let mut own = turn(&world, "wait", 1);
    own.env.insert("PYTHONHASHSEED".into(), "7".into());
    world.submit(own);
    let task = pid(&world.said("ran").await);
    assert!(!command_line(task).contains("warm.py"));
    std::fs::write(world.path("go"), "").expect("written");
    assert!(world.ended().await.starts_with("1/turn/1: -> right"));
}

#[tokio::test]
async fn a_daemon_that_dies_between_leaves_the_attempt_to_the_next_one() {
    let mut world = World::new(false).await;
    ready_for_turn(&mut world).await;
    let server = servers(&world)[0];
    signal(server, Signal::STOP);
    world.submit(turn(&world, "wait", 1));
    asked(&world, "1/turn/1").await;
    world.kill_daemon();
    signal(server, Signal::CONT);
    world.said("ran").await;
    world.start_daemon(&["1/turn/1"]).await;
    world.submit(turn(&world, "wait", 1));
    std::fs::write(world.path("go"), "").expect("written");
    assert!(world.ended().await.starts_with("1/turn/1: -> right"));
    assert_eq!(ran(&world), 1);
}

#[tokio::test]
async fn an_interpreter_that_cannot_be_kept_warm_is_started_for_each_attempt() {
    let mut world = World::new(false).await;
    // A server that cannot start: Metaflow is broken for it, and only for it.
    let broken = world.path("broken");
    std::fs::create_dir(&broken).expect("a folder");
    let python = crate::world::python();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *warm.py*) exit 3;; esac\nexec {} \"$@\"\n",
        python.display()
    );
    std::fs::write(broken.join("python"), script).expect("written");
    let all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(broken.join("python"), all).expect("executable");
    let mut start = world.start(json!({}));
    let flow = &mut start.metaflow.as_mut().expect("a task").flow;
    std::sync::Arc::make_mut(flow).python = Some(broken.join("python").display().to_string());
    let ended = world.play(start).await;
    assert!(ended.starts_with("1/start/1: -> each"), "{ended}");
    let errors = world.log("1/start/1", Stream::Err);
    assert!(
        errors.contains("this attempt has an interpreter of its own"),
        "{errors}"
    );
}

/// How often the step began.
fn ran(world: &World) -> usize {
    let text = std::fs::read_to_string(world.path("ran")).unwrap_or_default();
    text.lines().count()
}

/// Children of the keeper that are servers.
fn servers(world: &World) -> Vec<Pid> {
    let keeper = world.keeper();
    let path = format!("/proc/{keeper}/task/{keeper}/children");
    let children = std::fs::read_to_string(path).unwrap_or_default();
    let children = children.split_ascii_whitespace().map(pid);
    children
        .filter(|it| is_alive(*it) && environment(*it).contains("#warm:"))
        .collect()
}

fn command_line(process: Pid) -> String {
    read(process, "cmdline")
}

fn environment(process: Pid) -> String {
    read(process, "environ")
}

fn read(process: Pid, what: &str) -> String {
    let bytes = std::fs::read(format!("/proc/{process}/{what}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Until the keeper has noted that the attempt is about to begin.
async fn asked(world: &World, attempt: &str) {
    let journal = world.path("data/keeper/journal");
    let line = format!("{{\"asked\":\"{attempt}\"}}");
    until(|| {
        std::fs::read_to_string(&journal)
            .ok()?
            .contains(&line)
            .then_some(())
    })
    .await;
}

fn signal(process: Pid, signal: Signal) {
    rustix::process::kill_process(process, signal).expect("it lives");
}
