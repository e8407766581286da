//! Objects that arrive: through queues of AWS, and in a folder that stands for a bucket.

use dalsegno_tests::{Aws, Daemon, House, Queue, eventually};
use serde_json::{Value, json};

/// A run for each `_SUCCESS`, with the day in its key.
fn flow(bucket: &str) -> String {
    format!(
        r#"
flow: arrived
run: {{ strategy: {{ parallel: 20 }} }}
params:
  day: {{ type: string, default: none }}
triggers:
  - s3: s3://{bucket}/orders/dt=*/_SUCCESS
    params: {{ day: "${{{{ event.match[0] }}}}" }}
steps:
  hear: {{ run: "echo \"$DAY\" >> '{{house}}/witness'" }}
"#
    )
}

fn house_for(bucket: &str, queue: &Queue) -> House {
    let house = House::with(&[("arrived.yaml", &flow(bucket))]);
    house.configure(&configuration(queue));
    house
}

fn configuration(queue: &Queue) -> String {
    format!(
        "[[queues]]\nname = \"{}\"\nurl = \"{}\"\nregion = \"us-east-1\"\n",
        queue.name, queue.url
    )
}

fn up(house: &House) -> Daemon {
    house.up_in(&Aws::variables())
}

#[track_caller]
fn source(daemon: &Daemon, name: &str) -> Value {
    let all = daemon.api().list("/api/v1/sources");
    let found = all.iter().find(|it| it["name"] == name);
    found
        .unwrap_or_else(|| panic!("no source {name}: {all:?}"))
        .clone()
}

/// Waits until a source is as wanted; gives it.
#[track_caller]
fn until(daemon: &Daemon, name: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("source {name} as wanted"), || {
        let now = source(daemon, name);
        is_it(&now).then_some(now)
    })
}

fn runs(daemon: &Daemon) -> Vec<Value> {
    daemon.api().list("/api/v1/runs?flow=arrived")
}

#[test]
fn an_object_starts_a_run_with_what_its_key_says() {
    let aws = Aws::emulator();
    let queue = aws.queue();
    let bucket = aws.bucket_for(&queue);
    let house = house_for(&bucket, &queue);
    let mut witness = house.witness("witness");
    let daemon = up(&house);
    aws.put(&bucket, "orders/dt=2026-11-22/part-1.csv");
    aws.put(&bucket, "orders/dt=2026-11-22%20a%2Bb/_SUCCESS");
    assert_eq!(witness.line(), "2026-11-22 a+b");
    aws.is_empty_soon(&queue);
    // The test event that S3 sends first is no event.
    let now = until(&daemon, &queue.name, |it| it["counts"]["events"] == 2);
    assert_eq!(
        (&now["state"], &now["counts"]["passed_over"]),
        (&json!("ok"), &json!(1)),
        "{now}"
    );
    assert_eq!(
        daemon
            .api()
            .list("/api/v1/events?type=object.created")
            .len(),
        2
    );
    assert_eq!(runs(&daemon).len(), 1);
    assert!(
        daemon.said().contains(&format!("queue  {}", queue.name)),
        "{}",
        daemon.said()
    );
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn arrivals_come_through_topics_and_through_eventbridge() {
    let aws = Aws::emulator();
    let queue = aws.queue();
    let bucket = aws.bucket();
    let house = house_for(&bucket, &queue);
    let mut witness = house.witness("witness");
    let _daemon = up(&house);
    let to_topic = |topic: String| {
        format!(
            "<TopicConfiguration><Id>n</Id><Topic>{topic}</Topic><Event>s3:ObjectCreated:*</Event></TopicConfiguration>"
        )
    };
    aws.notify(&bucket, &to_topic(aws.topic_to(&queue, false)));
    aws.put(&bucket, "orders/dt=enveloped/_SUCCESS");
    assert_eq!(witness.line(), "enveloped");

    aws.notify(&bucket, &to_topic(aws.topic_to(&queue, true)));
    aws.put(&bucket, "orders/dt=raw/_SUCCESS");
    assert_eq!(witness.line(), "raw");

    aws.rule_to(
        &queue,
        &json!({ "source": ["aws.s3"], "detail": { "bucket": { "name": [bucket] } } }),
    );
    aws.notify(
        &bucket,
        "<EventBridgeConfiguration></EventBridgeConfiguration>",
    );
    aws.put(&bucket, "orders/dt=bridged%20%2B/_SUCCESS");
    assert_eq!(witness.line(), "bridged +");
    aws.is_empty_soon(&queue);
}

#[test]
fn events_of_eventbridge_cloud_events_and_mapped_messages_start_runs() {
    let listens = r#"
flow: listens
run: { strategy: { parallel: 20 } }
params:
  what: { type: string, default: none }
triggers:
  - any_of:
      - event: Batch-Job-State-Change
        params: { what: "${{ event.data.status }}" }
      - event: orders.ready
        params: { what: "${{ event.data.day }}" }
      - event: legacy.loaded
        params: { what: "${{ event.subject }}" }
steps:
  hear: { run: "echo \"$WHAT\" >> '{house}/witness'" }
"#;
    let aws = Aws::emulator();
    let queue = aws.queue();
    let house = House::with(&[("listens.yaml", listens)]);
    house.configure(&format!(
        "{}[[queues.mapping]]\ntype = \"legacy.loaded\"\nid = \"${{{{ message.body.load }}}}\"\nsubject = \"${{{{ message.body.table }}}}\"\n",
        configuration(&queue)
    ));
    let mut witness = house.witness("witness");
    let _daemon = up(&house);
    let own = aws.name("batch");
    aws.rule_to(&queue, &json!({ "source": [own] }));
    aws.put_event(
        &own,
        "Batch Job State Change",
        &json!({ "status": "SUCCEEDED" }),
    );
    assert_eq!(witness.line(), "SUCCEEDED");
    aws.send(&queue, r#"{"specversion":"1.0","id":"1","source":"/shop","type":"orders.ready","data":{"day":"monday"}}"#);
    assert_eq!(witness.line(), "monday");
    aws.send(&queue, r#"{"load": 17, "table": "customers"}"#);
    assert_eq!(witness.line(), "customers");
    aws.is_empty_soon(&queue);
}

#[test]
fn a_message_that_comes_again_and_out_of_order_starts_one_run() {
    let aws = Aws::emulator();
    let (told, queue) = (aws.queue(), aws.queue());
    let bucket = aws.bucket_for(&told);
    for day in ["monday", "tuesday"] {
        aws.put(&bucket, &format!("orders/dt={day}/_SUCCESS"));
    }
    // What S3 told another queue is told to ours, by hand.
    let body = |of: &str| {
        eventually("a notification", || {
            let message = aws.message(&told);
            let body = message["Body"].as_str().expect("a body").to_owned();
            body.contains(of).then_some(body)
        })
    };
    let (monday, tuesday) = (body("monday"), body("tuesday"));
    for it in [&tuesday, &monday, &tuesday, &monday, &monday] {
        aws.send(&queue, it);
    }
    let house = house_for(&bucket, &queue);
    let mut witness = house.witness("witness");
    let daemon = up(&house);
    let mut days = [witness.line(), witness.line()];
    days.sort();
    assert_eq!(days, ["monday", "tuesday"]);
    aws.is_empty_soon(&queue);
    let now = until(&daemon, &queue.name, |it| it["counts"]["deliveries"] == 5);
    assert_eq!(now["counts"]["duplicates"], 3, "{now}");
    assert_eq!(runs(&daemon).len(), 2);
}

#[test]
fn a_message_that_cannot_be_read_goes_to_the_dead_letter_queue_with_the_reason() {
    let aws = Aws::emulator();
    let dead = aws.queue();
    let policy = json!({ "deadLetterTargetArn": dead.arn, "maxReceiveCount": "100" }).to_string();
    let queue = aws.queue_with(&aws.name("queue"), &json!({ "RedrivePolicy": policy }));
    let bucket = aws.bucket_for(&queue);
    let house = house_for(&bucket, &queue);
    let mut witness = house.witness("witness");
    let daemon = up(&house);
    aws.send(&queue, "this is no event");
    let letter = aws.message(&dead);
    assert_eq!(letter["Body"], "this is no event");
    let reason = &letter["MessageAttributes"]["dalsegno-reason"]["StringValue"];
    assert!(
        reason.as_str().is_some_and(|it| it.contains("not JSON")),
        "{letter}"
    );
    // And it does not stand in the way of others.
    aws.put(&bucket, "orders/dt=after/_SUCCESS");
    assert_eq!(witness.line(), "after");
    aws.is_empty_soon(&queue);
    let now = source(&daemon, &queue.name);
    assert_eq!(
        (&now["state"], &now["counts"]["refused"]),
        (&json!("ok"), &json!(1)),
        "{now}"
    );
}

#[test]
fn without_a_dead_letter_queue_it_stays_and_that_is_told() {
    let aws = Aws::emulator();
    let queue = aws.queue();
    let house = house_for("nowhere", &queue);
    let daemon = up(&house);
    aws.send(&queue, "this is no event");
    let now = until(&daemon, &queue.name, |it| it["notes"][0].is_string());
    assert!(
        now["notes"][0]
            .as_str()
            .is_some_and(|it| it.contains("dead_letter_url")),
        "{now}"
    );
    assert_eq!(aws.count(&queue), 1);
    let doctor = daemon.cli(&["doctor"]).all();
    assert!(doctor.contains("no dead-letter queue"), "{doctor}");
}

#[test]
fn a_queue_that_is_deleted_is_missing_until_it_is_made_again() {
    let aws = Aws::emulator();
    let queue = aws.queue();
    let bucket = aws.bucket_for(&queue);
    let house = house_for(&bucket, &queue);
    let mut witness = house.witness("witness");
    let daemon = up(&house);
    until(&daemon, &queue.name, |it| it["counts"]["passed_over"] == 1);
    aws.delete_queue(&queue);
    let now = until(&daemon, &queue.name, |it| it["state"] == "missing");
    assert!(now["cure"].is_string(), "{now}");
    let doctor = daemon.cli(&["doctor"]);
    assert_eq!(doctor.code, 1, "{doctor}");
    assert!(
        doctor.all().contains("the queue does not exist"),
        "{doctor}"
    );
    aws.queue_with(&queue.name, &json!({}));
    until(&daemon, &queue.name, |it| it["state"] == "ok");
    aws.put(&bucket, "orders/dt=again/_SUCCESS");
    assert_eq!(witness.line(), "again");
    let said = daemon.said();
    assert_eq!(
        said.matches("is missing").count(),
        1,
        "once for each change of state:\n{said}"
    );
}

#[test]
fn a_queue_that_throttles_denies_or_is_silent_is_told_and_asked_again() {
    let aws = Aws::emulator();
    let queue = aws.queue();
    let bucket = aws.bucket_for(&queue);
    let house = house_for(&bucket, &queue);
    let mut witness = house.witness("witness");
    let daemon = up(&house);
    until(&daemon, &queue.name, |it| it["state"] == "ok");
    for (kind, state) in [
        ("throttle", "throttled"),
        ("denied", "denied"),
        ("503", "unreachable"),
    ] {
        aws.fault(&json!({ "op": "ReceiveMessage", "with": queue.name, "kind": kind, "times": 1 }));
        // A request that already waits is answered first.
        aws.put(&bucket, &format!("orders/dt={kind}/_SUCCESS"));
        assert_eq!(witness.line(), kind);
        eventually(&format!("a line that it is {state}"), || {
            daemon.said().contains(&format!("is {state}")).then_some(())
        });
        until(&daemon, &queue.name, |it| it["state"] == "ok");
    }
}

#[test]
fn killed_between_receiving_and_deleting_it_starts_one_run() {
    let aws = Aws::emulator();
    let queue = aws.queue();
    let bucket = aws.bucket_for(&queue);
    let house = house_for(&bucket, &queue);
    let mut witness = house.witness("witness");
    let daemon = up(&house);
    until(&daemon, &queue.name, |it| it["counts"]["passed_over"] == 1);
    aws.is_empty_soon(&queue);
    let rule = json!({ "op": "DeleteMessage*", "with": queue.name, "kind": "delay", "times": -1, "ms": 60_000 });
    aws.fault(&rule);
    aws.put(&bucket, "orders/dt=once/_SUCCESS");
    assert_eq!(witness.line(), "once");
    daemon.kill_nine();
    aws.no_faults(&queue.name);
    let daemon = up(&house);
    let now = until(&daemon, &queue.name, |it| it["counts"]["deliveries"] == 1);
    assert_eq!(now["counts"]["events"], 0, "{now}");
    aws.is_empty_soon(&queue);
    assert_eq!(runs(&daemon).len(), 1);
}

#[test]
fn many_objects_are_batches() {
    const OBJECTS: usize = 200;
    let aws = Aws::emulator();
    let queue = aws.queue();
    let bucket = aws.bucket_for(&queue);
    let many = format!(
        r#"
flow: arrived
triggers:
  - s3: s3://{bucket}/in/*
    consume: {{ batch: {{ max: {OBJECTS}, window: 10m }} }}
steps:
  hear: {{ run: "echo done >> '{{house}}/witness'" }}
"#
    );
    let house = House::with(&[("many.yaml", &many)]);
    house.configure(&configuration(&queue));
    for number in 0..OBJECTS {
        aws.put(&bucket, &format!("in/{number}"));
    }
    let mut witness = house.witness("witness");
    let daemon = up(&house);
    assert_eq!(witness.line(), "done");
    aws.is_empty_soon(&queue);
    assert_eq!(runs(&daemon).len(), 1);
}

#[test]
fn files_in_a_folder_arrive_as_objects_do() {
    let house = House::with(&[("arrived.yaml", &flow("shop-data"))]);
    house.configure("[[directories]]\nbucket = \"shop-data\"\npath = \"shop\"\n");
    let mut witness = house.witness("witness");
    let daemon = house.up();
    until(&daemon, "shop-data", |it| it["state"] == "missing");
    let folder = |day: &str| house.path(&format!("shop/orders/dt={day}"));
    // All of it at once: what is put into a folder that is watched already arrives.
    let old = house.path("before/orders/dt=old");
    std::fs::create_dir_all(&old).expect("the house can be written to");
    std::fs::write(old.join("_SUCCESS"), "").expect("the house can be written to");
    std::fs::rename(house.path("before"), house.path("shop")).expect("the house can be written to");
    until(&daemon, "shop-data", |it| it["state"] == "ok");

    // A new folder with its file, and a file that is renamed when it is whole.
    std::fs::create_dir_all(folder("monday")).expect("the house can be written to");
    std::fs::write(folder("monday").join("_SUCCESS"), "x").expect("the house can be written to");
    assert_eq!(witness.line(), "monday");
    std::fs::create_dir_all(folder("tuesday")).expect("the house can be written to");
    std::fs::write(folder("tuesday").join("_SUCCESS.tmp"), "x")
        .expect("the house can be written to");
    std::fs::rename(
        folder("tuesday").join("_SUCCESS.tmp"),
        folder("tuesday").join("_SUCCESS"),
    )
    .expect("the house can be written to");
    assert_eq!(witness.line(), "tuesday");

    // What came while nobody looked is found.
    daemon.kill_nine();
    std::fs::create_dir_all(folder("wednesday")).expect("the house can be written to");
    std::fs::write(folder("wednesday").join("_SUCCESS"), "x").expect("the house can be written to");
    let daemon = house.up();
    assert_eq!(witness.line(), "wednesday");
    assert_eq!(
        runs(&daemon).len(),
        3,
        "what lay there at first is no arrival"
    );
    let events = daemon.api().list("/api/v1/events?type=object.created");
    assert!(
        events.iter().all(|it| it["source"] == "s3://shop-data"),
        "{events:?}"
    );
}

#[test]
fn a_wrong_configuration_is_told_before_anything_starts() {
    let house = House::with(&[]);
    house.configure("[[queues]]\nname = \"arrivals\"\nurl = \"arrivals\"\n");
    let up = house.run(&house.up_command());
    up.failed(6, &["queue `arrivals`", "not the URL of a queue"]);
}
