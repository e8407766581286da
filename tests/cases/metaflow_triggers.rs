//! What starts Metaflow flows by themselves: `@schedule`, `@trigger`, `@trigger_on_finish`; and what a run knows of it.

use dalsegno_tests::{Daemon, House, Metaflow, flow_file};
use serde_json::{Value, json};

#[test]
fn schedules_are_due_when_metaflow_says() {
    let flow = |class: &str, schedule: &str| flow_file(class, schedule, "", "pass");
    let house = Metaflow::house(&[
        ("bare.py", &flow("Bare", "@schedule")),
        ("hourly.py", &flow("Hourly", "@schedule(hourly=True)")),
        ("weekly.py", &flow("Weekly", "@schedule(weekly=True)")),
        ("never.py", &flow("Never", "@schedule(daily=False)")),
        (
            "here.py",
            &flow(
                "Here",
                "@schedule(cron='30 6 * * ? *', timezone='Asia/Kolkata')",
            ),
        ),
        (
            "sunday.py",
            &flow("Sunday", "@schedule(cron='0 9 ? * 1 *')"),
        ),
        ("monday.py", &flow("Monday", "@schedule(cron='0 9 * * 1')")),
    ]);
    let daemon = house.up();
    let next = |flow: &str| {
        let row = daemon
            .api()
            .get(&format!("/api/v1/flows/{flow}"))
            .expect(200)
            .json();
        row["next_at"].as_str().map(str::to_owned)
    };
    let due = |flow: &str| next(flow).unwrap_or_else(|| panic!("{flow} is never due"));
    assert!(due("Bare").ends_with("T00:00:00Z"), "{}", due("Bare"));
    assert!(due("Hourly").ends_with(":00:00Z"), "{}", due("Hourly"));
    assert!(due("Weekly").ends_with("T00:00:00Z"));
    assert_eq!(weekday(&due("Weekly")), "Sunday");
    assert_eq!(next("Never"), None);
    assert!(
        due("Here").ends_with("T01:00:00Z"),
        "half past six in Kolkata: {}",
        due("Here")
    );
    assert!(due("Sunday").ends_with("T09:00:00Z"));
    assert_eq!(
        weekday(&due("Sunday")),
        "Sunday",
        "six fields count days from Sunday"
    );
    assert_eq!(
        weekday(&due("Monday")),
        "Monday",
        "five fields count them as Unix does"
    );
}

#[test]
fn a_schedule_that_is_none_is_refused_when_the_file_is_read() {
    let text = flow_file("Story", "@schedule(cron='not a cron')", "", "pass");
    let house = Metaflow::house(&[("flow.py", &text)]);
    house
        .dalsegno(&["check", "flows"])
        .failed(1, &["flow.py", "cron"]);
}

#[test]
fn a_scheduled_flow_needs_defaults_for_its_parameters() {
    let declared = "must = Parameter('must', required=True)";
    let text = flow_file("Story", "@schedule", declared, "pass");
    let house = Metaflow::house(&[("flow.py", &text)]);
    house
        .dalsegno(&["check", "flows"])
        .failed(1, &["flow.py", "must"]);
}

const PARAMETERS: &str =
    "day = Parameter('day', default='none')\nsize = Parameter('size', default=1)";
const TELLS: &str = "say(f'{self.day} {self.size}')";

#[test]
fn an_event_published_by_metaflow_starts_the_flow_with_its_fields() {
    let text = flow_file("Story", "@trigger(event='orders.in')", PARAMETERS, TELLS);
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    publish(
        &daemon,
        &house,
        "orders.in",
        &json!({"day": "monday", "size": 3}),
    );
    ends(&daemon, "Story", 1);
    assert_eq!(house.read("journal"), "monday 3\nend\n");
    publish(&daemon, &house, "orders.out", &json!({"day": "tuesday"}));
    publish(&daemon, &house, "orders.in", &json!({}));
    ends(&daemon, "Story", 2);
    assert!(
        house.read("journal").ends_with("none 1\nend\n"),
        "fields that are missing leave the default"
    );
}

#[test]
fn fields_are_mapped_in_every_form_that_metaflow_knows() {
    for (mapping, payload, told) in [
        (
            "{'day': 'date', 'size': 'bytes'}",
            json!({"date": "monday", "bytes": 2}),
            "monday 2",
        ),
        ("['day']", json!({"day": "monday", "size": 9}), "monday 1"),
        (
            "['size', ('day', 'date')]",
            json!({"date": "monday", "size": 9}),
            "monday 9",
        ),
    ] {
        let above = format!("@trigger(event={{'name': 'orders.in', 'parameters': {mapping}}})");
        let house = Metaflow::house(&[("flow.py", &flow_file("Story", &above, PARAMETERS, TELLS))]);
        let daemon = house.up();
        publish(&daemon, &house, "orders.in", &payload);
        ends(&daemon, "Story", 1);
        assert_eq!(house.read("journal"), format!("{told}\nend\n"), "{mapping}");
    }
}

#[test]
fn an_event_without_a_field_that_is_required_starts_nothing() {
    let above = "@trigger(event={'name': 'orders.in', 'parameters': {'day': 'date'}})";
    let text = flow_file(
        "Story",
        above,
        "day = Parameter('day', required=True)",
        "say(self.day)",
    );
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    publish(&daemon, &house, "orders.in", &json!({"other": 1}));
    publish(&daemon, &house, "orders.in", &json!({"date": "monday"}));
    ends(&daemon, "Story", 1);
    assert_eq!(house.read("journal"), "monday\nend\n");
}

#[test]
fn several_events_are_waited_for_and_each_gives_its_fields() {
    let above = "@trigger(events=[{'name': 'left', 'parameters': {'day': 'date'}}, {'name': 'right', 'parameters': ['size']}])";
    let text = flow_file("Story", above, PARAMETERS, TELLS);
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    publish(&daemon, &house, "left", &json!({"date": "monday"}));
    let why = daemon.why(&json!("Story"));
    assert!(why.contains("right"), "it says what it waits for: {why}");
    assert!(runs_of(&daemon, "Story").is_empty());
    publish(&daemon, &house, "right", &json!({"size": 5}));
    ends(&daemon, "Story", 1);
    assert_eq!(house.read("journal"), "monday 5\nend\n");
    publish(&daemon, &house, "right", &json!({"size": 6}));
    assert_eq!(
        runs_of(&daemon, "Story").len(),
        1,
        "the next time both are needed again"
    );
}

#[test]
fn when_partial_arrivals_are_forgotten_is_shown() {
    let above = "@trigger(events=['left', 'right'], options={'reset_at': {'cron': '0 4 * * *', 'timezone': 'America/Los_Angeles'}})";
    let text = flow_file("Story", above, "", "pass");
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    let flow = daemon.api().get("/api/v1/flows/Story").expect(200).text;
    assert!(flow.contains("America/Los_Angeles"), "{flow}");
}

#[test]
fn a_run_knows_the_event_that_started_it() {
    let body = "self.told = [current.trigger.event.name, current.trigger.event.type, current.trigger.event.id]";
    let text = flow_file("Story", "@trigger(event='orders.in')", "", body);
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    let id = publish(&daemon, &house, "orders.in", &json!({}));
    let run = ends(&daemon, "Story", 1);
    let run = house.metaflow().of_run(&run[0]);
    assert_eq!(run.data("end")["told"], json!(["orders.in", "event", id]));
    let trigger = &run.0["trigger"][0];
    assert_eq!(
        (&trigger["name"], &trigger["type"]),
        (&json!("orders.in"), &json!("event"))
    );
}

#[test]
fn a_run_that_a_person_started_has_no_trigger() {
    let body = "self.told = getattr(current, 'trigger', None) is None";
    let text = flow_file("Story", "@trigger(event='orders.in')", "", body);
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    let run = daemon.succeeds("Story", &json!({}));
    let run = house.metaflow().of_run(&run);
    assert_eq!(run.data("end")["told"], true);
    assert_eq!(run.0["trigger"], Value::Null);
}

#[test]
fn a_finished_flow_starts_another_which_reads_its_data() {
    let first = flow_file(
        "First",
        "",
        "fail = Parameter('fail', default=False)",
        "self.harvest = [1, 2, 3]\nif self.fail:\n    raise ValueError('no harvest')",
    );
    let body = "self.eaten = current.trigger.run.data.harvest\nself.source = current.trigger.run.pathspec\n\
                self.all = [it.pathspec for it in current.trigger.runs]\nself.by_name = current.trigger['First'].pathspec";
    let second = flow_file("Second", "@trigger_on_finish(flow='First')", "", body);
    let house = Metaflow::house(&[("first.py", &first), ("second.py", &second)]);
    let daemon = house.up();
    daemon.fails("First", &json!({"fail": true}));
    let upstream = daemon.succeeds("First", &json!({}));
    let runs = ends(&daemon, "Second", 1);
    let run = house.metaflow().of_run(&runs[0]);
    let data = run.data("end");
    assert_eq!(
        data["eaten"],
        json!([1, 2, 3]),
        "a failed run starts nothing"
    );
    assert_eq!(data["source"], upstream["metaflow"]["pathspec"]);
    assert_eq!(data["all"], json!([upstream["metaflow"]["pathspec"]]));
    assert_eq!(data["by_name"], upstream["metaflow"]["pathspec"]);
    assert_eq!(run.0["trigger"][0]["type"], "run", "{run:?}");
}

#[test]
fn flows_of_a_project_hear_those_of_the_same_branch() {
    let first = flow_file("First", "@project(name='coda')", "", "self.x = 7");
    let alone = flow_file("Alone", "", "", "self.x = 8");
    let second = flow_file(
        "Second",
        "@project(name='coda')\n@trigger_on_finish(flow='First')",
        "",
        "say(f'second {current.trigger.run.data.x}')",
    );
    let third = flow_file(
        "Third",
        "@trigger_on_finish(flow='coda.user.tester.First')",
        "",
        "say(f'third {current.trigger.run.data.x}')",
    );
    let fourth = flow_file(
        "Fourth",
        "@trigger_on_finish(flow={'name': 'First', 'project': 'coda', 'project_branch': 'prod'})",
        "",
        "say('fourth')",
    );
    let house = Metaflow::house(&[
        ("first.py", &first),
        ("alone.py", &alone),
        ("second.py", &second),
        ("third.py", &third),
        ("fourth.py", &fourth),
    ]);
    let daemon = house.up();
    daemon.succeeds("coda.user.tester.First", &json!({}));
    ends(&daemon, "coda.user.tester.Second", 1);
    ends(&daemon, "Third", 1);
    let mut lines: Vec<_> = house
        .read("journal")
        .lines()
        .filter(|it| *it != "end")
        .map(str::to_owned)
        .collect();
    lines.sort();
    assert_eq!(lines, ["second 7", "third 7"]);
    assert!(
        runs_of(&daemon, "Fourth").is_empty(),
        "it wants another branch"
    );
}

#[test]
fn two_finished_flows_are_waited_for() {
    let flow = |class: &str| flow_file(class, "", "", "self.x = current.flow_name");
    let both = flow_file(
        "Both",
        "@trigger_on_finish(flows=['Left', 'Right'])",
        "",
        "say(sorted(it.data.x for it in current.trigger.runs))",
    );
    let house = Metaflow::house(&[
        ("left.py", &flow("Left")),
        ("right.py", &flow("Right")),
        ("both.py", &both),
    ]);
    let daemon = house.up();
    daemon.succeeds("Left", &json!({}));
    assert!(runs_of(&daemon, "Both").is_empty());
    daemon.succeeds("Right", &json!({}));
    ends(&daemon, "Both", 1);
    assert!(
        house.read("journal").contains("['Left', 'Right']\n"),
        "{}",
        house.read("journal")
    );
}

#[test]
fn a_flow_may_have_both_triggers_and_either_starts_it() {
    let first = flow_file("First", "", "", "pass");
    let above = "@trigger(event='orders.in')\n@trigger_on_finish(flow='First')";
    let text = flow_file(
        "Story",
        above,
        "",
        "say('event' if current.trigger.event and current.trigger.event.type == 'event' else 'run')",
    );
    let house = Metaflow::house(&[("first.py", &first), ("flow.py", &text)]);
    let daemon = house.up();
    publish(&daemon, &house, "orders.in", &json!({}));
    ends(&daemon, "Story", 1);
    daemon.succeeds("First", &json!({}));
    ends(&daemon, "Story", 2);
    let journal = house.read("journal");
    assert!(
        journal.contains("event\n") && journal.contains("run\n"),
        "{journal}"
    );
}

#[test]
fn a_step_publishes_events_that_start_other_flows() {
    let first = flow_file(
        "First",
        "",
        "",
        "from metaflow.integrations import ArgoEvent\nArgoEvent('orders.in').safe_publish({'day': 'monday'})",
    );
    let second = flow_file("Second", "@trigger(event='orders.in')", PARAMETERS, TELLS);
    let house = Metaflow::house(&[("first.py", &first), ("second.py", &second)]);
    let daemon = house.up();
    daemon.succeeds("First", &json!({}));
    ends(&daemon, "Second", 1);
    assert!(
        house.read("journal").contains("monday 1\n"),
        "{}",
        house.read("journal")
    );
}

#[test]
fn the_end_of_a_run_is_an_event_as_metaflow_sends_it() {
    let text = flow_file("Story", "@project(name='coda')", "", "pass");
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    let run = daemon.succeeds("coda.user.tester.Story", &json!({}));
    let kind = "metaflow.coda.user.tester.Story.end";
    let events = daemon.api().list(&format!("/api/v1/events?type={kind}"));
    let data = &events.first().unwrap_or_else(|| panic!("no {kind}"))["data"];
    let pathspec = run["metaflow"]["pathspec"].as_str().expect("text");
    assert_eq!(data["flow_name"], "Story", "{data}");
    assert_eq!(data["run_id"], run["metaflow"]["run_id"]);
    assert_eq!(data["step_name"], "end");
    assert_eq!(data["project_name"], "coda");
    assert_eq!(data["branch_name"], "user.tester");
    assert_eq!(data["auto-generated-by-metaflow"], "True");
    assert!(
        data["pathspec"]
            .as_str()
            .is_some_and(|it| it.starts_with(pathspec)),
        "{data}"
    );
}

#[test]
fn the_same_event_twice_is_one() {
    let text = flow_file("Story", "@trigger(event='orders.in')", "", "pass");
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    let event = json!({"name": "orders.in", "payload": {"name": "orders.in", "id": "one", "timestamp": 1_700_000_000}});
    for _ in 0..3 {
        daemon
            .api()
            .post("/api/v1/metaflow/events", &event)
            .expect(200);
    }
    ends(&daemon, "Story", 1);
    daemon
        .api()
        .post("/api/v1/metaflow/events", &json!({"payload": {}}))
        .problem(400);
}

/// Publishes an event from a process of Metaflow; gives the event's id.
#[track_caller]
fn publish(daemon: &Daemon, house: &House, name: &str, payload: &Value) -> String {
    let code = "import json, sys; from metaflow.integrations import ArgoEvent; \
                print(ArgoEvent(sys.argv[1]).publish(json.loads(sys.argv[2]), ignore_errors=False))";
    let mut command = house
        .metaflow()
        .command(&["-c", code, name, &payload.to_string()]);
    let url = format!("{}/api/v1/metaflow/events", daemon.url());
    command.env("METAFLOW_ARGO_EVENTS_WEBHOOK_URL", url);
    house.run(&command).succeeded().stdout.trim().to_owned()
}

/// Waits until so many runs of a flow have succeeded; gives them.
#[track_caller]
fn ends(daemon: &Daemon, flow: &str, count: usize) -> Vec<Value> {
    let runs = daemon
        .api()
        .wait_until(&format!("{count} runs of {flow}"), || {
            let runs = runs_of(daemon, flow);
            let over = runs
                .iter()
                .filter(|it| !it["finished_at"].is_null())
                .count();
            (over >= count).then_some(runs)
        });
    for run in &runs {
        let id = run["id"].as_str().expect("an id");
        assert_eq!(
            run["state"],
            "succeeded",
            "{}\n{}",
            daemon.why(run),
            daemon.cli(&["logs", id])
        );
    }
    assert_eq!(runs.len(), count, "{runs:?}");
    runs
}

fn runs_of(daemon: &Daemon, flow: &str) -> Vec<Value> {
    daemon.api().list(&format!("/api/v1/runs?flow={flow}"))
}

/// The day of the week of a time as the API writes it.
fn weekday(time: &str) -> &'static str {
    let numbers: Vec<i64> = time[..10]
        .split('-')
        .map(|it| it.parse().expect("a date"))
        .collect();
    let [year, month, day] = numbers[..] else {
        panic!("{time} is no date")
    };
    // Zeller: January and February count as months 13 and 14 of the year before.
    let (year, month) = if month < 3 {
        (year - 1, month + 12)
    } else {
        (year, month)
    };
    let place = (day + 13 * (month + 1) / 5 + year + year / 4 - year / 100 + year / 400) % 7;
    [
        "Saturday",
        "Sunday",
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
    ][place as usize]
}
