//! What a process finds, and what is said of it.

use crate::world::{World, id};
use dalsegno_engine::Executor;
use dalsegno_executor::Stream;
use dalsegno_scheduler::spec::Command;
use dalsegno_scheduler::{AttemptId, Report, Submission};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

#[tokio::test]
async fn it_is_told_when_a_process_starts_and_when_it_ends() {
    let mut world = World::new().await;
    let (up, gate) = (world.pipe("up"), world.gate("gate"));
    world.submit(
        "1/a/1",
        "echo $$ > $DIR/up; read _ < $DIR/gate; echo good; echo bad >&2; exit 3",
    );
    let pid = up.said().await;
    let (attempt, report) = world.report().await;
    let Report::Started { external_id, at } = report else {
        panic!("{report:?}");
    };
    assert_eq!(
        (attempt, &*external_id),
        (id("1/a/1"), &*format!("pid {pid}"))
    );
    gate.open().await;
    let (_, report) = world.report().await;
    let Report::Ended {
        started_at,
        at: end,
        ..
    } = report
    else {
        panic!("{report:?}");
    };
    assert_eq!(started_at, Some(at));
    assert!(end > at);
    assert_eq!(world.log("1/a/1", Stream::Out), "good\n");
    assert_eq!(world.log("1/a/1", Stream::Err), "bad\n");
}

#[tokio::test]
async fn it_does_not_have_what_was_open_when_the_daemon_was_started() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("of the shell");
    let file = std::fs::File::create(&path).expect("a file");
    // As by `dalsegno up 7>file`.
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).expect("inherited");
    let mut world = World::new().await;
    // Instead of the shell: one that starts others has files of its own open meanwhile.
    let (_, out) = world.play("1/a/1", "exec ls -l /proc/self/fd").await;
    assert!(!out.contains("of the shell"), "{out}");
    // The fourth is the folder that is listed.
    assert_eq!(out.matches(" -> ").count(), 4, "{out}");
}

#[tokio::test]
async fn a_short_process_is_told_of_once() {
    let mut world = World::new().await;
    world.submit("1/a/1", "true");
    let (_, report) = world.report().await;
    let Report::Ended { started_at, at, .. } = report else {
        panic!("{report:?}");
    };
    assert!(started_at.expect("it was started") < at);
}

#[tokio::test]
async fn it_runs_in_the_folder_of_its_flow_in_a_group_of_its_own_without_input() {
    let mut world = World::new().await;
    let line = "pwd; ps -o pgid= -p $$ | tr -d ' '; echo $$; cat; env | grep ^DALSEGNO | sort";
    let (ended, out) = world.play("7/fit[2.0]@1/3", line).await;
    assert_eq!(ended, "7/fit[2.0]@1/3: succeeded");
    let root = world.path("").display().to_string();
    let root = root.trim_end_matches('/');
    let [folder, group, pid, rest @ ..] = &*out.lines().collect::<Vec<_>>() else {
        panic!("{out}");
    };
    assert_eq!(*folder, format!("{root}/flows"));
    assert_eq!(group, pid);
    let expected = [
        "DALSEGNO_API_URL=http://127.0.0.1:7878/api/v1".into(),
        format!("DALSEGNO_CHECKPOINT_DIR={root}/data/checkpoints/7/fit.2.0@1"),
        format!("DALSEGNO_KEEPER={root}/data/keeper#7/fit[2.0]@1/3"),
        format!("DALSEGNO_OUTPUT={root}/data/outputs/7/fit.2.0@1.3"),
    ];
    assert_eq!(rest, expected);
}

#[tokio::test]
async fn the_event_that_started_the_run_is_a_file() {
    let mut world = World::new().await;
    let event = serde_json::json!({"type": "orders.corrected", "data": {"day": 3}});
    let submission = Submission {
        event: Some(Arc::new(event.clone())),
        ..world.shell("1/a/1", "cat $DALSEGNO_EVENT")
    };
    world.local().submit(vec![submission]);
    assert_eq!(world.ended().await, "1/a/1: succeeded");
    let found: serde_json::Value =
        serde_json::from_str(&world.log("1/a/1", Stream::Out)).expect("JSON");
    assert_eq!(found, event);
}

#[tokio::test]
async fn a_checkpoint_is_found_by_the_next_attempt() {
    let mut world = World::new().await;
    let line =
        "cat $DALSEGNO_CHECKPOINT_DIR/at 2> /dev/null; echo half > $DALSEGNO_CHECKPOINT_DIR/at";
    assert_eq!(world.play("1/a/1", line).await.1, "");
    assert_eq!(world.play("1/a/2", line).await.1, "half\n");
    assert_eq!(world.play("1/b/1", line).await.1, "");
    assert_eq!(world.play("2/a/1", line).await.1, "");
}

#[tokio::test]
async fn what_attempts_say_and_write_is_for_the_user_of_the_daemon_alone() {
    let mut world = World::new().await;
    let line = "echo x=1 > $DALSEGNO_OUTPUT";
    assert_eq!(world.play("1/a/1", line).await.0, r#"1/a/1: {"x":1}"#);
    for folder in [
        "logs",
        "logs/1",
        "outputs",
        "outputs/1",
        "checkpoints/1/a",
        "events",
        "keeper",
    ] {
        let found = std::fs::metadata(world.path("data").join(folder)).expect("a folder");
        assert_eq!(found.permissions().mode() & 0o777, 0o700, "{folder}");
    }
}

#[tokio::test]
async fn exit_codes_and_signals_mean_what_the_guide_says() {
    let mut world = World::new().await;
    let mut found = Vec::new();
    for line in [
        "exit 0",
        "exit 1",
        "exit 202",
        "exit 137",
        "kill -9 $$",
        "kill -11 $$",
    ] {
        found.push(
            world
                .play(&format!("1/a/{}", found.len() + 1), line)
                .await
                .0,
        );
    }
    assert_eq!(
        found.join("\n"),
        "\
1/a/1: succeeded
1/a/2: exit: exit code 1
1/a/3: do_not_retry: exit code 202, which means: do not retry
1/a/4: exit: exit code 137
1/a/5: signal: killed by signal 9
1/a/6: signal: killed by signal 11"
    );
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let mut world = World::new().await;
    std::fs::write(world.path("flows/plain"), "text").expect("written");
    std::fs::write(world.path("flows/script"), "#!/none/python\n").expect("written");
    let all = PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(world.path("flows/script"), all).expect("made executable");
    let path = world.path("").display().to_string();
    let mut found = Vec::new();
    let commands: [&[&str]; 7] = [
        &["no-such-program"],
        &["./missing"],
        &["."],
        &["/"],
        &["./plain"],
        &["./script"],
        &[],
    ];
    for argv in commands {
        let attempt = format!("1/a/{}", found.len() + 1);
        let mut submission = world.shell(&attempt, "");
        submission.command = Command::Argv(argv.iter().map(ToString::to_string).collect());
        submission.env.insert("PATH".into(), "/usr/bin".into());
        world.local().submit(vec![submission]);
        found.push(world.ended().await.replace(&path, ""));
    }
    let mut submission = world.shell("1/a/8", "true");
    submission.file = world.path("gone/flow.yaml").display().to_string();
    world.local().submit(vec![submission]);
    found.push(world.ended().await.replace(&path, ""));
    assert_eq!(
        found.join("\n").replace(": not_started", ""),
        "\
1/a/1: could not be started: there is no program `no-such-program` in PATH (/usr/bin); install it or give its path
1/a/2: could not be started: cannot run flows/./missing: No such file or directory (os error 2)
1/a/3: could not be started: there is no program `.` in PATH (/usr/bin); install it or give its path
1/a/4: could not be started: / is a folder, not a program
1/a/5: could not be started: cannot run flows/./plain in flows: Permission denied (os error 13); is it executable? (chmod +x)
1/a/6: could not be started: cannot run flows/./script: the interpreter its first line names does not exist
1/a/7: could not be started: the command is empty
1/a/8: could not be started: the working directory gone does not exist"
    );
}

#[tokio::test]
async fn many_attempts_with_large_environments_are_run_and_one_too_large_is_refused() {
    let mut world = World::new().await;
    let with = |attempt: &str, variables: usize, size: usize| {
        let mut submission = world.shell(attempt, "exit 3");
        let large = (0..variables).map(|it| (format!("V{it}"), "x".repeat(size)));
        submission.env.extend(large);
        submission
    };
    // 70 MB together, which is more than one message to the keeper may have.
    let many = (0..60).map(|it| with(&format!("1/a[{it}]/1"), 10, 120_000));
    let many: Vec<_> = many.collect();
    let too_large = with("1/b/1", 1, 1 << 20);
    world.local().submit(many);
    for _ in 0..60 {
        let ended = world.ended().await;
        assert!(ended.ends_with("/1: exit: exit code 3"), "{ended}");
    }
    world.local().submit(vec![too_large]);
    assert_eq!(
        world.ended().await,
        "1/b/1: not_started: could not be started: the variable V0 is too large: 1025 KiB, and the system takes \
         128 KiB; write the value to a file and hand over its path"
    );
}

#[tokio::test]
async fn the_same_attempt_submitted_twice_runs_once() {
    let mut world = World::new().await;
    let line = "echo ran >> $DIR/ran; echo $DALSEGNO_OUTPUT";
    let twice = vec![world.shell("1/a/1", line), world.shell("1/a/1", line)];
    world.local().submit(twice);
    assert_eq!(world.ended().await, "1/a/1: succeeded");
    world.submit("1/a/1", line);
    assert_eq!(world.ended().await, "1/a/1: succeeded");
    assert_eq!(
        std::fs::read_to_string(world.path("ran")).expect("it ran"),
        "ran\n"
    );
}

#[tokio::test]
async fn a_thousand_attempts_ten_at_a_time_all_end() {
    let mut world = World::new().await;
    let mut waiting: BTreeSet<AttemptId> = BTreeSet::new();
    let mut submitted = 0;
    let mut ended = 0;
    while ended < 1_000 {
        while submitted < 1_000 && waiting.len() < 10 {
            let mut submission = world.shell(&format!("1/a[{submitted}]/1"), "");
            submission.command = Command::Argv(vec!["true".into()]);
            waiting.insert(submission.attempt.clone());
            world.local().submit(vec![submission]);
            submitted += 1;
        }
        if let (attempt, Report::Ended { .. }) = world.report().await {
            assert!(waiting.remove(&attempt), "{attempt} ended twice");
            world.local().forget(vec![attempt]);
            ended += 1;
        }
    }
}

#[tokio::test]
async fn a_data_directory_may_be_deeper_than_socket_names_reach() {
    let deep = format!("{}/data", vec!["folder"; 40].join("/"));
    let mut world = World::below(&deep).await;
    assert_eq!(world.play("1/a/1", "echo fine").await.1, "fine\n");
}
