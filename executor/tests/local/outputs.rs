//! Outputs.

use crate::world::{World, id};
use dalsegno_engine::Executor;

#[tokio::test]
async fn outputs_are_reported_and_kept_until_they_are_durable() {
    let mut world = World::new().await;
    let mut submission = world.shell(
        "1/a/1",
        r#"echo 'regions=["eu", "us"]' >> "$DALSEGNO_OUTPUT""#,
    );
    submission.outputs = vec!["regions".into()];
    world.local().submit(vec![submission.clone()]);
    assert_eq!(world.ended().await, r#"1/a/1: {"regions":["eu","us"]}"#);

    world.kill_daemon();
    world.start_daemon(&["1/a/1"]).await;
    world.local().watch(submission);
    assert_eq!(world.ended().await, r#"1/a/1: {"regions":["eu","us"]}"#);

    let file = world.local().layout().output_path(&id("1/a/1"));
    assert!(file.exists());
    world.local().forget(vec![id("1/a/1")]);
    // Calls are handled in turn: when this one is answered, that one is done.
    world.watch("1/a/1");
    assert_eq!(
        world.ended().await,
        "1/a/1: lost: the keeper on this machine does not know it"
    );
    assert!(!file.exists());
}

#[tokio::test]
async fn a_task_that_succeeds_without_its_outputs_has_failed() {
    let mut world = World::new().await;
    let mut submission = world.shell("1/a/1", "echo auc: 0.9 >> $DALSEGNO_OUTPUT");
    submission.outputs = vec!["auc".into()];
    world.local().submit(vec![submission]);
    let ended = world.ended().await;
    assert!(
        ended.contains("bad_output") && ended.contains("line 1 of the output file is `auc: 0.9`"),
        "{ended}"
    );
}

#[tokio::test]
async fn only_a_plain_file_is_read_as_outputs() {
    let mut world = World::new().await;
    let expected = "bad_output: outputs are not usable: what is at $DALSEGNO_OUTPUT is not a plain file; \
                    append lines to that path, and make nothing else there";
    for (attempt, line) in [
        ("1/a/1", "mkfifo $DALSEGNO_OUTPUT"),
        ("1/a/2", "mkdir $DALSEGNO_OUTPUT"),
    ] {
        let ended = world.play(attempt, line).await.0;
        assert_eq!(ended, format!("{attempt}: {expected}"));
    }
    let line = "echo x=1 > $DIR/elsewhere; ln -s $DIR/elsewhere $DALSEGNO_OUTPUT";
    assert_eq!(world.play("1/a/3", line).await.0, r#"1/a/3: {"x":1}"#);
}
