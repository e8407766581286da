//! Memory limits.

use crate::world::World;
use dalsegno_engine::Executor;

#[tokio::test]
async fn an_attempt_that_uses_more_memory_than_it_may_is_out_of_memory() {
    let mut world = World::new().await;
    // Touches one page after the other, and would go on to 4 GB.
    let greedy = r#"python3 -c '
held = []
for _ in range(4000):
    held.append(b"x" * 1_000_000)
'; true"#;
    let mut submission = world.shell("1/a/1", greedy);
    submission.memory_bytes = Some(64 << 20);
    world.local().submit(vec![submission]);
    let ended = world.ended().await;
    assert!(
        ended.starts_with("1/a/1: out_of_memory: ") && ended.contains("64 MiB"),
        "{ended}"
    );
}

#[tokio::test]
async fn an_attempt_that_stays_below_its_limit_is_left_alone() {
    let mut world = World::new().await;
    let mut submission = world.shell("1/a/1", "python3 -c 'print(len(b\"x\" * 8_000_000))'");
    submission.memory_bytes = Some(256 << 20);
    world.local().submit(vec![submission]);
    assert_eq!(world.ended().await, "1/a/1: succeeded");
}
