//! Metaflow's metadata service goes away and comes back: tasks go on, and it gets to know all, once and in order.

use dalsegno_tests::{Daemon, HEAD, House, MetadataService, Metaflow};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A foreach of two, one of which needs a second attempt; `middle` waits at the gate where the house has one.
const SHOP: &str = r#"

class Shop(FlowSpec):
    @step
    def start(self):
        self.items = ["salt", "oil"]
        self.next(self.pack, foreach="items")

    @retry(times=1, minutes_between_retries=0)
    @step
    def pack(self):
        if self.input == "oil" and current.retry_count == 0:
            raise ValueError("it leaks")
        self.weight = len(self.input)
        self.next(self.middle)

    @step
    def middle(self, inputs):
        if os.path.exists("{house}/gate"):
            wait()
        self.weight = sum(each.weight for each in inputs)
        self.next(self.end)

    @step
    def end(self):
        say(f"end {self.weight}")


if __name__ == "__main__":
    Shop()
"#;

#[test]
fn a_service_that_is_there_is_told_as_ever_and_nothing_waits() {
    let (house, service) = shop();
    let daemon = up(&house, &service);
    let run = daemon.succeeds("Shop", &json!({}));
    is_whole(&house, &service, &run);
    assert_eq!(spooled(&house), [""; 0], "nothing waits");
    let seen = MetadataService::seen_by(&daemon);
    assert_eq!(
        (&seen["state"], &seen["counts"]["waiting"]),
        (&json!("ok"), &json!(0))
    );
    assert!(!daemon.why(&run).contains("wait on disk"));
}

#[test]
fn what_a_service_that_is_down_from_the_start_is_told_is_what_it_would_have_been_told() {
    let (house, mut service) = shop();
    let daemon = up(&house, &service);
    let before = daemon.succeeds("Shop", &json!({}));
    service.down();
    let run = daemon.succeeds("Shop", &json!({}));
    assert_eq!(house.read("journal"), "end 7\nend 7\n");

    let count = spooled(&house).concat().lines().count();
    assert!(count > 20, "{count}");
    dalsegno_tests::eventually("all that waits is counted", || {
        let seen = MetadataService::seen_by(&daemon);
        (seen["counts"]["waiting"] == count && seen["state"] == "unreachable").then_some(())
    });
    let why = daemon.why(&run);
    let words = format!("{count} updates of it wait on disk for Metaflow's metadata service since");
    assert!(why.contains(&words), "{why}");
    let metrics = daemon.api().get("/metrics").text;
    let gauge = "dalsegno_source_waiting{kind=\"metadata_service\",source=\"metaflow\"}";
    assert!(metrics.contains(&format!("{gauge} {count}")), "{metrics}");
    let doctor = daemon.cli(&["doctor"]).all();
    assert!(doctor.contains("tasks go on meanwhile"), "{doctor}");
    let logs = daemon
        .cli(&["logs", run["id"].as_str().expect("an id")])
        .all();
    assert!(logs.contains("is told later"), "{logs}");

    service.up();
    all_is_told(&house, &service, &daemon);
    is_whole(&house, &service, &run);
    assert_eq!(spooled(&house), [""; 0], "all has arrived");
    let (now, then) = (values(&service, &run), values(&service, &before));
    let new = |it: &&String| !then.contains(*it);
    assert_eq!(
        now.iter().filter(new).collect::<Vec<_>>(),
        [""; 0],
        "nothing else"
    );
    let gone = |it: &&String| !now.contains(*it);
    assert_eq!(
        then.iter().filter(gone).collect::<Vec<_>>(),
        [""; 0],
        "nothing less"
    );
}

#[test]
fn a_service_that_dies_in_the_middle_and_loses_answers_has_each_update_once() {
    let (house, mut service) = shop();
    let mut witness = house.witness("witness");
    let gate = house.gate("gate");
    let daemon = up(&house, &service);
    let id = daemon.api().start("Shop", &json!({}));
    // Done, and not answered: the task cannot know, and what it keeps is in doubt.
    witness.wait_for("waits");
    service.fails(&json!({"status": "lose", "paths": "metadata$|artifact$", "times": 1}));
    gate.open();
    let run = daemon.api().wait_for_run(&id);
    assert_eq!(run["state"], "succeeded", "{}", daemon.why(&run));
    all_is_told(&house, &service, &daemon);
    is_whole(&house, &service, &run);

    let id = daemon.api().start("Shop", &json!({}));
    witness.wait_for("waits");
    service.down();
    gate.open();
    let run = daemon.api().wait_for_run(&id);
    assert_eq!(run["state"], "succeeded", "{}", daemon.why(&run));
    service.up();
    service.fails(&json!({"status": "lose", "paths": "metadata$|artifact$|/task$", "times": 3}));
    all_is_told(&house, &service, &daemon);
    is_whole(&house, &service, &run);
}

#[test]
fn what_waits_outlives_the_daemon_and_tasks_need_no_daemon_to_keep_it() {
    let (house, mut service) = shop();
    let mut witness = house.witness("witness");
    let gate = house.gate("gate");
    let daemon = up(&house, &service);
    service.down();
    let id = daemon.api().start("Shop", &json!({}));
    witness.wait_for("waits");
    let waiting = spooled(&house);
    daemon.kill_nine();
    gate.open();
    dalsegno_tests::eventually("more that waits", || {
        (spooled(&house) != waiting).then_some(())
    });

    let daemon = up(&house, &service);
    let run = daemon.api().wait_for_run(&id);
    assert_eq!(run["state"], "succeeded", "{}", daemon.why(&run));
    daemon.kill_nine();
    service.up();
    let daemon = up(&house, &service);
    all_is_told(&house, &service, &daemon);
    is_whole(&house, &service, &run);
}

#[test]
fn a_kill_of_the_daemon_in_the_middle_of_sending_doubles_nothing() {
    let (house, mut service) = shop();
    let mut daemon = up(&house, &service);
    service.down();
    let run = daemon.succeeds("Shop", &json!({}));
    service.up();
    // What arrives from now on is not known to the daemon, which is killed over it.
    for paths in ["metadata$", "artifact$", "/task$"] {
        service.fails(&json!({"status": "lose", "paths": paths}));
        let told = service.told().len();
        for verb in ["close", "auto"] {
            let path = format!("/api/v1/breakers/metadata/{verb}");
            daemon.api().post(&path, &json!({})).expect(200);
        }
        dalsegno_tests::eventually("an update without an answer", || {
            (service.told().len() > told).then_some(())
        });
        daemon.kill_nine();
        service.fails(&Value::Null);
        daemon = up(&house, &service);
    }
    all_is_told(&house, &service, &daemon);
    is_whole(&house, &service, &run);
}

#[test]
fn a_service_that_is_slow_or_answers_with_errors_fails_no_task() {
    let (house, service) = shop();
    Metaflow::configure(&house, "metadata_answer_seconds = 1");
    let daemon = up(&house, &service);
    for how in [json!(503), json!(500), json!(429), json!("hang")] {
        service.fails(&json!({ "status": how }));
        let run = daemon.succeeds("Shop", &json!({}));
        service.fails(&Value::Null);
        all_is_told(&house, &service, &daemon);
        is_whole(&house, &service, &run);
    }
}

#[test]
fn where_no_room_is_left_a_task_fails_with_the_reason_and_nothing_that_was_kept_is_lost() {
    let (house, mut service) = shop();
    Metaflow::configure(&house, "metadata_spool_entries = 12");
    house.configure(&format!(
        "network_retries = 0\n{}",
        house.read("dalsegno.toml")
    ));
    let mut variables = service.variables();
    variables.push(("METAFLOW_SERVICE_RETRY_COUNT", "1".to_owned()));
    let daemon = up_in(&house, &variables);
    service.down();
    let run = daemon.fails("Shop", &json!({}));
    let id = run["id"].as_str().expect("an id");
    let logs = daemon.cli(&["logs", id]).all();
    assert!(
        logs.contains("can neither be sent nor kept: 12 updates of run"),
        "{logs}"
    );
    let attempts = daemon
        .api()
        .get(&format!("/api/v1/runs/{id}/attempts"))
        .text;
    assert!(attempts.contains("says network"), "{attempts}");
    let seen = dalsegno_tests::eventually("word of it", || {
        let seen = MetadataService::seen_by(&daemon);
        (seen["state"] == "broken").then_some(seen)
    });
    assert!(
        seen["cure"]
            .as_str()
            .expect("a cure")
            .contains("metadata_spool_entries"),
        "{seen}"
    );
    assert_eq!(seen["counts"]["waiting"], 12, "{seen}");

    service.up();
    all_is_told(&house, &service, &daemon);
    assert_eq!(
        service
            .told()
            .iter()
            .filter(|it| it["status"] == 200)
            .count(),
        12
    );
    let resumed = daemon.cli(&["resume", "--yes", "--wait", id]);
    assert_eq!(resumed.code, 0, "{resumed}");
    let seen = service.run(&house.metaflow(), &run);
    assert!(seen.is_successful(), "{:?}", seen.0);
}

fn shop() -> (House, MetadataService) {
    let house = Metaflow::house(&[("shop.py", &format!("{HEAD}{SHOP}"))]);
    let service = MetadataService::start(&house);
    (house, service)
}

fn up(house: &House, service: &MetadataService) -> Daemon {
    up_in(house, &service.variables())
}

fn up_in(house: &House, variables: &[(&str, String)]) -> Daemon {
    let variables: Vec<(&str, &str)> = variables.iter().map(|(k, v)| (*k, v.as_str())).collect();
    house.up_in(&variables)
}

#[track_caller]
fn all_is_told(house: &House, service: &MetadataService, daemon: &Daemon) {
    service.is_told_all_by(daemon, || spooled(house).is_empty());
}

/// Files of updates that wait, with what they have.
fn spooled(house: &House) -> Vec<String> {
    let folder = house.data().join("metaflow/spool");
    let files = std::fs::read_dir(folder).expect("a folder").flatten();
    let files = files.filter(|it| it.path().extension().is_some_and(|it| it == "spool"));
    files
        .map(|it| std::fs::read_to_string(it.path()).unwrap_or_default())
        .filter(|it| !it.is_empty())
        .collect()
}

/// Metaflow's client finds the whole run at the service, and the service has nothing twice and nothing before its parent.
#[track_caller]
fn is_whole(house: &House, service: &MetadataService, run: &Value) {
    let seen = service.run(&house.metaflow(), run);
    assert!(seen.is_successful(), "{:?}", seen.0);
    assert_eq!(seen.data("end")["weight"], 7, "{:?}", seen.0);
    assert_eq!(seen.tasks("pack").len(), 2, "{:?}", seen.0);
    let all = values(service, run);
    let once: BTreeSet<&String> = all.iter().collect();
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    for it in &all {
        *counts.entry(it).or_default() += 1;
    }
    counts.retain(|_, count| *count > 1);
    assert_eq!(
        all.len(),
        once.len(),
        "these are there more than once: {counts:?}"
    );
    for it in service.told() {
        let status = it["status"].as_u64().unwrap_or(0);
        assert!(status == 200 || status == 409, "before its parent: {it}");
    }
}

/// Each registration, artifact and value of metadata of a run that the service took, without what differs between two runs.
fn values(service: &MetadataService, run: &Value) -> Vec<String> {
    let id = run["metaflow"]["run_id"].as_str().expect("text");
    let mut all = Vec::new();
    for told in service.told().iter().filter(|it| it["status"] == 200) {
        let path = told["path"].as_str().expect("text").to_owned();
        let is_of_run = path.contains(id) || told["body"]["run_number"] == id;
        if !is_of_run {
            continue;
        }
        let path = path.replace(id, "RUN");
        match &told["body"] {
            Value::Array(items) => {
                let of = |it: &Value| match it["name"].as_str() {
                    Some(name) => format!("{path} {name} {}", it["attempt_id"]),
                    None => format!("{path} {} {} {}", it["field_name"], it["value"], it["tags"])
                        .replace(id, "RUN"),
                };
                // By its key an artifact is there once, however often it is told.
                let is_keyed = path.ends_with("/artifact");
                for it in items.iter().map(of) {
                    if !(is_keyed && all.contains(&it)) {
                        all.push(it);
                    }
                }
            }
            body => all.push(format!("{path} {}", body["task_id"])),
        }
    }
    all
}
