//! Steps from their first to their last word.

use crate::world::{RUN, World, id};
use dalsegno_engine::Executor;
use dalsegno_executor::Stream;
use dalsegno_scheduler::Submission;
use dalsegno_scheduler::metaflow::Origin;
use serde_json::json;

#[tokio::test]
async fn a_run_goes_from_start_to_end_and_metaflows_client_sees_it() {
    for is_cold in [true, false] {
        let mut world = World::new(is_cold).await;
        let params = json!({"alpha": -1.5, "tag-name": "-dash it", "my_config": {"a": [1]}, "flag": true, "none": null});
        let labels = r#"{"labels":["a","b","c"]}"#;
        let ended = world.play(world.start(params)).await;
        assert_eq!(
            ended,
            format!("1/start/1: -> each x3 {labels}"),
            "{}",
            world.log("1/start/1", Stream::Err)
        );
        assert_eq!(
            world.log("1/start/1", Stream::Out).trim(),
            "alpha is -1.5 and -dash it {'a': [1]} True"
        );

        let each: Vec<Submission> = (0..3)
            .map(|index| {
                let mut each = world.task("each", &["start/t-a0"], &["collect"]);
                each.attempt = id(&format!("1/each[{index}]/1"));
                let task = each.metaflow.as_mut().expect("a task");
                task.task_id = format!("t-{index}-a0");
                task.split_index = Some(index);
                each
            })
            .collect();
        world.local().submit(each);
        let mut ends = [
            world.ended().await,
            world.ended().await,
            world.ended().await,
        ];
        ends.sort();
        assert_eq!(
            ends.join("; "),
            "1/each[0]/1: -> collect {}; 1/each[1]/1: -> collect {}; 1/each[2]/1: -> collect {}"
        );
        let inputs = ["each/t-0-a0", "each/t-1-a0", "each/t-2-a0"];
        let collect = world.task("collect", &inputs, &["turn"]);
        assert_eq!(world.play(collect).await, "1/collect/1: -> turn {}");
        let turn = world.task("turn", &["collect/t-a0"], &["left", "right"]);
        assert_eq!(world.play(turn).await, "1/turn/1: -> right {}");
        let right = world.task("right", &["turn/t-a0"], &["end"]);
        assert_eq!(world.play(right).await, "1/right/1: -> end {}");
        let end = world.task("end", &["right/t-a0"], &[]);
        assert_eq!(world.play(end).await, "1/end/1: ->  {}");

        let mut hook = world.task("exit-hook-tell", &[], &[]);
        hook.metaflow.as_mut().expect("a task").step.hook = Some("tell".into());
        assert_eq!(
            world.play(hook).await,
            "1/exit-hook-tell/1: ->  {}",
            "{}",
            world.log("1/exit-hook-tell/1", Stream::Err)
        );
        assert_eq!(world.said("told").await, format!("Story/{RUN}"));

        let said = world.client(
            "print(run.successful, run.data.all, sorted(run.user_tags), run['end'].task.stdout.strip())",
        );
        assert_eq!(said, "True ['aa', 'bb', 'cc'] ['nightly'] done");
    }
}

#[tokio::test]
async fn what_went_wrong_is_told_by_its_kind() {
    for is_cold in [true, false] {
        let mut world = World::new(is_cold).await;
        ready_for_turn(&mut world).await;
        for (number, (mood, expected)) in [
            ("bad", "user_error: ValueError: boom"),
            (
                "leave",
                "bad_output: outputs are not usable: the step ended with exit status 0",
            ),
            (
                "return",
                "bad_output: outputs are not usable: the step ended without self.next",
            ),
            ("no-retry", "do_not_retry: exit code 202"),
        ]
        .into_iter()
        .enumerate()
        {
            let turn = turn(&world, mood, number as u32 + 1);
            let ended = world.play(turn).await;
            let expected = format!("1/turn/{}: {expected}", number + 1);
            assert!(ended.starts_with(&expected), "{ended}");
        }
        let mut start = world.start(json!({"alpha": "many"}));
        start.attempt = id("2/start/1");
        start.metaflow.as_mut().expect("a task").run_id = format!("{RUN}-2");
        let ended = world.play(start).await;
        assert!(
            ended.starts_with("2/start/1: configuration: ") && ended.contains("many"),
            "{ended}"
        );
    }
}

#[tokio::test]
async fn requests_and_outcomes_are_gone_when_an_end_is_durable() {
    let mut world = World::cold().await;
    world.play(world.start(json!({}))).await;
    // As of a join of thousands: too long for an argument.
    let mut join = world.task("collect", &["each/t-0-a0"; 5_000], &["turn"]);
    join.attempt = id("1/collect/1");
    let ended = world.play(join).await;
    // Metaflow says it on its error output only.
    assert!(
        ended.starts_with("1/collect/1: user_error: exit code 1; the last line of its errors: ")
            && ended.contains("Expected: 5000"),
        "{ended}"
    );
    let errors = world.log("1/collect/1", Stream::Err);
    assert!(errors.contains("Expected: 5000"), "{errors}");
    let folder = world.path("data/outputs/1");
    let names = || {
        let all = std::fs::read_dir(&folder).expect("a folder");
        let mut names: Vec<_> = all
            .map(|it| it.expect("an entry").file_name().display().to_string())
            .collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(
        names(),
        "collect.1.inputs collect.1.request.json start.1.outcome.json start.1.request.json"
    );
    world
        .local()
        .forget(vec![id("1/start/1"), id("1/collect/1")]);
    // Calls are handled in turn.
    world.local().watch(world.start(json!({})));
    world.ended().await;
    assert_eq!(names(), "");
}

#[tokio::test]
async fn a_new_database_finds_nothing_of_what_another_one_left_in_the_same_folder() {
    let mut world = World::cold().await;
    ready_for_turn(&mut world).await;
    assert_eq!(
        world.play(turn(&world, "left", 1)).await,
        "1/turn/1: -> left {}"
    );
    let folder = world.path("data/outputs/1");
    let left = std::fs::read(folder.join("turn.1.outcome.json")).expect("an outcome");
    for run in ["dalsegno-1-second", "dalsegno-1-third"] {
        // It forgets all that its keeper knows, and all files whose attempts that knows.
        world.kill_daemon();
        world.start_daemon(&[]).await;
        let mut clone = world.task("turn", &["collect/t-a0"], &["left", "right"]);
        clone.env.insert("MOOD".into(), "vanish".into());
        let task = clone.metaflow.as_mut().expect("a task");
        task.run_id = run.into();
        task.origin = Some(Origin {
            run_id: RUN.into(),
            tasks: vec!["start/t-a0".to_owned(), "collect/t-a0".to_owned()].into(),
            params: serde_json::Map::new(),
        });
        // As if the keeper had lost it, too.
        std::fs::write(folder.join("turn.1.outcome.json"), &left).expect("written");
        let ended = world.play(clone).await;
        assert!(
            ended.starts_with("1/turn/1: bad_output: ") && ended.contains("before it was done"),
            "{ended}: {}",
            world.log("1/turn/1", Stream::Err)
        );
        let runs = world.client(&format!(
            "print(sorted(it.id for it in Run('Story/{run}')))"
        ));
        assert_eq!(runs, "['collect', 'start', 'turn']");
    }
}

#[tokio::test]
async fn our_python_of_another_version_is_gone_when_nothing_can_run_from_it() {
    let mut world = World::cold().await;
    world.play(world.start(json!({}))).await;
    let old = world.path("data/metaflow/ext-0123456789abcdef");
    std::fs::create_dir(&old).expect("a folder");
    world.kill_daemon();
    world.start_daemon(&["1/start/1"]).await;
    assert!(old.exists());
    world.local().forget(vec![id("1/start/1")]);
    // Calls are handled in turn.
    world.local().watch(world.start(json!({})));
    world.ended().await;
    world.kill_daemon();
    world.start_daemon(&[]).await;
    assert!(!old.exists());
    assert!(
        world
            .play(world.start(json!({})))
            .await
            .starts_with("1/start/1: -> each")
    );
}

#[tokio::test]
async fn logs_of_another_database_are_not_gone_on_with() {
    let mut world = World::cold().await;
    world.play(world.start(json!({}))).await;
    world.kill_daemon();
    world.start_daemon(&[]).await;
    let mut start = world.start(json!({"alpha": 2}));
    start.metaflow.as_mut().expect("a task").run_id = "dalsegno-1-second".into();
    world.play(start).await;
    assert_eq!(
        world.log("1/start/1", Stream::Out).trim(),
        "alpha is 2.0 and  {} False"
    );
    // Asked for again, it is the same attempt.
    let mut again = world.start(json!({"alpha": 2}));
    again.metaflow.as_mut().expect("a task").run_id = "dalsegno-1-second".into();
    assert!(world.play(again).await.starts_with("1/start/1: -> each"));
    assert_ne!(world.log("1/start/1", Stream::Out), "");
}

#[tokio::test]
async fn an_attempt_that_was_stopped_while_its_interpreter_was_looked_for_never_runs() {
    let mut world = World::cold().await;
    world.submit(world.start(json!({})));
    world
        .local()
        .stop(id("1/start/1"), dalsegno_scheduler::Span::ZERO);
    assert_eq!(world.ended().await, "1/start/1: stopped");
    world.local().forget(vec![id("1/start/1")]);
    let mut other = world.start(json!({}));
    other.attempt = id("1/start/2");
    assert!(world.play(other).await.starts_with("1/start/2: -> each"));
    assert_eq!(world.log("1/start/1", Stream::Out), "");
}

/// Everything before the step that does as it is told.
pub(crate) async fn ready_for_turn(world: &mut World) {
    world.play(world.start(json!({}))).await;
    for index in 0..3 {
        let mut each = world.task("each", &["start/t-a0"], &["collect"]);
        each.attempt = id(&format!("1/each[{index}]/1"));
        let task = each.metaflow.as_mut().expect("a task");
        task.task_id = format!("t-{index}-a0");
        task.split_index = Some(index);
        world.play(each).await;
    }
    let inputs = ["each/t-0-a0", "each/t-1-a0", "each/t-2-a0"];
    let ended = world.play(world.task("collect", &inputs, &["turn"])).await;
    assert_eq!(ended, "1/collect/1: -> turn {}");
}

pub(crate) fn turn(world: &World, mood: &str, number: u32) -> Submission {
    let mut turn = world.task("turn", &["collect/t-a0"], &["left", "right"]);
    turn.attempt = id(&format!("1/turn/{number}"));
    turn.env.insert("MOOD".into(), mood.into());
    turn.metaflow.as_mut().expect("a task").retry_count = number - 1;
    turn
}
