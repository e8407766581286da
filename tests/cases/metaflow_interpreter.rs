//! Which Python a Metaflow flow runs with.

use dalsegno_tests::{Daemon, House, Metaflow, Said, flow_file};
use serde_json::json;

#[test]
fn a_machine_without_metaflow_gets_what_requirements_txt_names() {
    let text = flow_file(
        "Story",
        "",
        "",
        "import metaflow\nself.version = metaflow.__version__\nsay(sys.prefix)",
    );
    let house = House::with(&[
        ("flow.py", &text),
        ("requirements.txt", "metaflow==2.19.39\n"),
    ]);
    let wheels = wheels();
    let daemon = house.up_in(&offline(&wheels));
    let run = daemon.succeeds("Story", &json!({}));
    let prefix = house.read("journal");
    let made = house.data().join("environments");
    assert!(prefix.starts_with(&*made.to_string_lossy()), "{prefix}");
    let run = house.metaflow().of_run(&run);
    assert!(
        run.data("end")["version"].to_string().contains("2.19.39"),
        "{run:?}"
    );
}

#[test]
fn a_typo_in_requirements_stops_no_flow_that_had_an_environment() {
    let text = flow_file("Story", "", "", "self.word = 'kept'\nsay(sys.prefix)");
    let house = House::with(&[("requirements.txt", "metaflow==2.19.39\n")]);
    std::fs::create_dir(house.flows().join("team")).expect("the house can be written to");
    house.write_flow("team/story.py", &text);
    let wheels = wheels();
    let offline = offline(&wheels);
    let daemon = house.up_in(&offline);
    // The file above counts for the folder below.
    daemon.succeeds("Story", &json!({}));
    let prefix = house.read("journal");
    let prefix = prefix.lines().next().expect("a line").to_owned();
    let doctor = in_house(&house, &offline, &["doctor", "flows", "--data"]).all();
    let has = format!("{prefix}/bin/python has Metaflow 2.19.39");
    assert!(doctor.contains(&has), "{doctor}");
    assert!(doctor.contains("(Story)"), "{doctor}");

    house.write_flow("requirements.txt", "metaflow==2.19.39\npanda5\n");
    daemon.api().wait_until("the warning on the flow", || {
        let row = daemon.api().get("/api/v1/flows/Story").json();
        let told = row["metaflow"]["warnings"].to_string();
        (told.contains("distribution found for panda5") && told.contains("last good")).then_some(())
    });
    daemon.succeeds("Story", &json!({}));
    assert_eq!(
        house.read("journal"),
        format!("{prefix}\nend\n").repeat(2),
        "the same environment"
    );
    assert_eq!(warnings(&daemon).len(), 1, "{}", daemon.said());
    let page = daemon.api().get_page("/flows/Story").text;
    assert!(page.contains("last good environment"), "{page}");
    let doctor = in_house(&house, &offline, &["doctor", "flows", "--data"]).all();
    assert!(doctor.contains("but no environment for"), "{doctor}");

    let script =
        "from metaflow import Flow; print(Flow('Story').latest_run['start'].task.data.word)";
    let data = house.data().display().to_string();
    let words = ["python", "Story", "--data", &data, "--", "-c", script];
    let said = with(&house, &offline, &words).succeeded();
    assert_eq!(said.stdout.trim(), "kept");
    assert!(
        said.stderr.contains("warning: no environment for"),
        "{said}"
    );
    // At the top of the folder nothing was ever made.
    in_house(&house, &offline, &["python", "--data"])
        .failed(6, &["no environment for", "dalsegno doctor"]);
}

#[test]
fn python_is_that_of_the_folder_and_its_client_sees_the_runs() {
    let text = flow_file("Story", "", "", "self.word = 'seen'");
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    daemon.succeeds("Story", &json!({}));
    let script = "import sys; from metaflow import Flow; \
                  print(Flow('Story').latest_run['start'].task.data.word, sys.argv[1:]); sys.exit(7)";
    for flow in [&["python"][..], &["python", "Story"]] {
        let words = [flow, &["--", "-c", script, "--flag"]].concat();
        let said = house.dalsegno(&words).failed(7, &[]);
        assert_eq!(said.stdout.trim(), "seen ['--flag']");
    }
    house
        .dalsegno(&["python", "Storm"])
        .failed(3, &["no Metaflow flow `Storm`", "follow `--`"]);
}

#[test]
fn an_index_that_cannot_be_reached_is_told_once_and_in_few_words() {
    let text = |class: &str| flow_file(class, "", "", "pass");
    let house = House::with(&[
        ("one.py", &text("One")),
        ("two.py", &text("Two")),
        ("requirements.txt", "no-such-package-anywhere\n"),
    ]);
    let unreachable = [
        ("PIP_INDEX_URL", "http://127.0.0.1:9/"),
        ("PIP_RETRIES", "1"),
        ("UV_DEFAULT_INDEX", "http://127.0.0.1:9/"),
        ("UV_HTTP_RETRIES", "1"),
        ("VIRTUAL_ENV", ""),
        ("CONDA_PREFIX", ""),
    ];
    let daemon = house.up_in(&unreachable);
    let run = daemon.fails("One", &json!({}));
    daemon.fails("Two", &json!({}));
    let why = daemon.why(&run);
    let told = "the package index cannot be reached (http://127.0.0.1:9/";
    assert!(why.contains(told), "{why}");
    assert!(!why.contains("Retrying"), "{why}");
    let (_, log) = why.split_once("; /").expect("the place of the log");
    let (log, _) = log.split_once(" has all that was said").expect("a path");
    let log = std::fs::read_to_string(format!("/{log}")).expect("all that was said");
    assert!(log.contains("127.0.0.1"), "{log}");
    assert_eq!(warnings(&daemon).len(), 1, "{}", daemon.said());
    let doctor = in_house(&house, &unreachable, &["doctor", "flows", "--data"]);
    let doctor = doctor.failed(1, &["FAIL  metaflow", "One, Two: no environment"]);
    assert!(doctor.all().contains(told), "{doctor}");
}

#[test]
fn an_environment_beside_the_flow_is_taken() {
    let text = flow_file("Story", "", "", "say(sys.prefix)");
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    daemon.succeeds("Story", &json!({}));
    assert!(
        house.read("journal").contains("/flows/.venv\n"),
        "{}",
        house.read("journal")
    );
}

#[test]
fn an_environment_that_cannot_be_made_is_told_with_its_reason() {
    let text = flow_file("Story", "", "", "pass");
    let house = House::with(&[
        ("flow.py", &text),
        ("requirements.txt", "no-such-package-anywhere\n"),
    ]);
    let offline = [
        ("PIP_NO_INDEX", "1"),
        ("UV_NO_INDEX", "1"),
        ("VIRTUAL_ENV", ""),
        ("CONDA_PREFIX", ""),
    ];
    let daemon = house.up_in(&offline);
    let run = daemon.fails("Story", &json!({}));
    let why = daemon.why(&run);
    assert!(why.contains("flows/requirements.txt"), "{why}");
    assert!(why.contains("dalsegno.toml"), "the cure is told: {why}");
}

fn wheels() -> String {
    std::env::var("DALSEGNO_TEST_WHEELS")
        .expect("DALSEGNO_TEST_WHEELS is a folder of Python packages; run `cargo xtask test`, which fetches them")
}

/// As if the machine's package index were this folder.
fn offline(wheels: &str) -> [(&str, &str); 6] {
    [
        ("PIP_NO_INDEX", "1"),
        ("PIP_FIND_LINKS", wheels),
        ("UV_NO_INDEX", "1"),
        ("UV_FIND_LINKS", wheels),
        ("VIRTUAL_ENV", ""),
        ("CONDA_PREFIX", ""),
    ]
}

/// A command to its end, with the house's data folder as the last word.
fn in_house(house: &House, variables: &[(&str, &str)], words: &[&str]) -> Said {
    let data = house.data().display().to_string();
    with(house, variables, &[words, &[data.as_str()]].concat())
}

fn with(house: &House, variables: &[(&str, &str)], words: &[&str]) -> Said {
    let mut command = house.command(words);
    command.envs(variables.iter().copied());
    house.run(&command)
}

/// Lines of the log that warn of interpreters.
fn warnings(daemon: &Daemon) -> Vec<String> {
    let said = daemon.said();
    let lines = said.lines().filter(|it| it.contains("WARN"));
    lines
        .filter(|it| it.contains("no environment"))
        .map(str::to_owned)
        .collect()
}
