//! What lies beside a Metaflow flow, or was kept of it: configs, requirements, interpreters, answers and code of the past.

use dalsegno_tests::{Daemon, House, Metaflow, eventually, flow_file};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

/// A flow that a config schedules.
fn scheduled_by(config: &str) -> String {
    let above = "from metaflow import config_expr\n@schedule(cron=config_expr('cfg.cron'))";
    let parameter = format!("cfg = Config('cfg', default='{config}')");
    flow_file("Story", above, &parameter, "say(self.cfg.cron)")
}

#[track_caller]
fn is_scheduled(daemon: &Daemon, cron: &str) {
    daemon
        .api()
        .wait_until(&format!("the schedule {cron}"), || {
            let row = daemon.api().get("/api/v1/flows/Story").json();
            row["schedules"].to_string().contains(cron).then_some(())
        });
}

#[test]
fn a_config_that_is_saved_is_a_new_version_whether_the_daemon_runs_or_not() {
    for config in ["cfg.json", "../cfg.json"] {
        let house = Metaflow::house(&[("flow.py", &scheduled_by(config))]);
        let save = |text: &str| {
            std::fs::write(house.flows().join(config), text).expect("the house can be written to");
        };
        save(r#"{"cron": "1 3 * * *"}"#);
        let daemon = house.up();
        is_scheduled(&daemon, "1 3 * * *");
        save(r#"{"cron": "2 3 * * *"}"#);
        is_scheduled(&daemon, "2 3 * * *");
        assert_eq!(daemon.stop(), 0);
        save(r#"{"cron": "3 3 * * *"}"#);
        let daemon = house.up();
        is_scheduled(&daemon, "3 3 * * *");
        daemon.succeeds("Story", &json!({}));
        assert_eq!(house.read("journal"), "3 3 * * *\nend\n");
    }
}

#[test]
fn a_config_that_is_repaired_is_read_again() {
    let house = Metaflow::house(&[("flow.py", &scheduled_by("cfg.json"))]);
    let daemon = house.up();
    daemon.api().wait_until("the missing file to be told", || {
        let row = daemon.api().get("/api/v1/flows/Story").json();
        let told = row["metaflow"]["dynamic"].to_string();
        told.contains("could not be read").then_some(())
    });
    house.write_flow("cfg.json", r#"{"cron": "4 3 * * *"}"#);
    is_scheduled(&daemon, "4 3 * * *");
}

#[test]
fn promises_beside_a_flow_count_and_broken_ones_leave_the_last_good_version() {
    const BESIDE: &str = "story.dalsegno.yaml";
    let text = flow_file("Story", "", "", "pass");
    let house = Metaflow::house(&[("story.py", &text), (BESIDE, "owner: growth\n")]);
    let daemon = house.up();
    let api = daemon.api();
    let flow = || api.get("/api/v1/flows/Story").expect(200).json();
    let first = flow()["active_version"].clone();
    let text = "sla: [{ fresh_within: 1s }]\nsteps: { start: { sla: [{ max_duration: 1h }] } }\n";
    house.write_flow(BESIDE, text);
    let other_than = |version: Value| {
        api.wait_until("a new version", || {
            Some(flow()["active_version"].clone()).filter(|it| *it != version)
        })
    };
    let second = other_than(first);
    house.write_flow(BESIDE, &format!("{text}# so says the boss\n"));
    let second = other_than(second);
    let missed = api.wait_until("the promise is missed", || {
        api.list("/api/v1/slas?flow=Story&state=missed").pop()
    });
    assert_eq!(missed["promise"], "fresh_within");

    house.write_flow(
        BESIDE,
        "steps: { strat: { sla: [{ max_duration: 1h }] } }\n",
    );
    let told = api.wait_until("the mistake is told", || {
        flow()["invalid"].as_str().map(str::to_owned)
    });
    assert!(
        told.contains(BESIDE) && told.contains("did you mean `start`?"),
        "{told}"
    );
    assert_eq!(flow()["active_version"], second);
    let words = [BESIDE, "has no step `strat`"];
    house.dalsegno(&["check", "flows"]).failed(1, &words);
    daemon.succeeds("Story", &json!({}));
    let met = api.list("/api/v1/slas?flow=Story&state=met");
    let met: Vec<_> = met.iter().map(|it| &it["promise"]).collect();
    assert_eq!(met, ["max_duration@start"]);

    house.write_flow("gone.dalsegno.yaml", text);
    api.wait_until("the lone file is told", || {
        let flows = api.list("/api/v1/flows");
        let alone = flows.iter().find(|it| it["name"] == "gone.dalsegno")?;
        alone["invalid"]
            .as_str()?
            .contains("`gone.py`")
            .then_some(())
    });
}

#[test]
fn an_environment_that_could_not_be_made_is_tried_again_when_something_is_saved() {
    let text = flow_file("Story", "", "", "pass");
    let house = House::with(&[("flow.py", &text), ("requirements.txt", "pandas\n")]);
    let uv = house.path("bin/uv");
    std::fs::create_dir(house.path("bin")).expect("the house can be written to");
    let script = format!(
        "#!/bin/sh\necho asked >> {}\nexit 1\n",
        house.path("asked").display()
    );
    std::fs::write(&uv, script).expect("the house can be written to");
    std::fs::set_permissions(&uv, std::fs::Permissions::from_mode(0o755)).expect("executable");
    let path = format!("{}:/usr/bin:/bin", house.path("bin").display());
    let nothing = [
        ("PATH", path.as_str()),
        ("VIRTUAL_ENV", ""),
        ("CONDA_PREFIX", ""),
    ];
    let daemon = house.up_in(&nothing);
    let asked = |times: usize| {
        eventually(&format!("{times} tries"), || {
            let log = std::fs::read_to_string(house.path("asked")).unwrap_or_default();
            (log.lines().count() >= times).then_some(())
        });
    };
    asked(1);
    let why = eventually("the reason", || {
        let why = daemon.why(&json!("Story"));
        why.contains("no environment").then_some(why)
    });
    assert!(why.contains("flows/requirements.txt"), "{why}");
    house.write_flow("flow.py", &text.replace("pass", "..."));
    asked(2);
    house.write_flow("requirements.txt", "pandas>2\n");
    asked(3);
}

#[test]
fn an_interpreter_that_is_gone_is_told_before_a_task_misses_it() {
    let house = Metaflow::house(&[("flow.py", &flow_file("Story", "", "", "pass"))]);
    let daemon = house.up();
    daemon.succeeds("Story", &json!({}));
    std::fs::remove_file(house.path("flows/.venv")).expect("a link");
    let why = daemon.why(&json!("Story"));
    assert!(why.contains("flows/.venv/bin/python is gone"), "{why}");
    let page = daemon.api().get_page("/flows/Story").text;
    assert!(page.contains("is gone"), "{page}");
}

#[test]
fn answers_and_code_of_the_past_go_at_the_next_start_and_what_versions_name_stays() {
    let house = Metaflow::house(&[("flow.py", &scheduled_by("cfg.json"))]);
    house.write_flow("cfg.json", r#"{"cron": "5 3 * * *"}"#);
    let daemon = house.up();
    is_scheduled(&daemon, "5 3 * * *");
    assert_eq!(daemon.stop(), 0);
    let count = |name: &str| {
        let entries = std::fs::read_dir(house.data().join(name)).expect("a folder");
        entries.count()
    };
    let (code, probes) = (count("code"), count("probes"));
    let data = house.data();
    std::fs::create_dir(data.join("code/0123abcd")).expect("the house can be written to");
    std::fs::write(data.join("code/0123abcd/flow.py"), "").expect("the house can be written to");
    std::fs::write(data.join("probes/flow.0123.json"), "{}").expect("the house can be written to");
    let daemon = house.up();
    assert!(!data.join("code/0123abcd").exists());
    assert!(!data.join("probes/flow.0123.json").exists());
    assert_eq!((count("code"), count("probes")), (code, probes));
    daemon.succeeds("Story", &json!({}));
}

#[test]
fn a_project_is_named_after_the_same_user_wherever_it_is_read() {
    let text = flow_file("Story", "@project(name='kit')", "", "pass");
    let house = House::with(&[("flow.py", &text)]);
    let checked = house.dalsegno(&["check", "flows"]).succeeded();
    let daemon = house.up();
    let flows = daemon.api().list("/api/v1/flows");
    let name = flows[0]["name"].as_str().expect("a name");
    assert!(
        name.starts_with("kit.user.") && !name.contains("None"),
        "{name}"
    );
    assert!(checked.all().contains(name), "{name}: {checked}");
    // A configuration that cannot be used makes no other user.
    house.configure("nonsense = true\n");
    let checked = house.dalsegno(&["check", "flows"]).succeeded();
    assert!(checked.all().contains(name), "{name}: {checked}");
}
