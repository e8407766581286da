//! Input that is wrong: each ends in a clear message, with nothing lost.

use dalsegno_tests::House;
use serde_json::json;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

const GOOD: &str = "flow: good\nsteps:\n  go: { run: \"echo one > '{house}/witness'\" }\n";

#[test]
fn check_passes_good_files_and_ends_with_0() {
    let house = House::with(&[("good.yaml", GOOD)]);
    house.dalsegno(&["check", "flows"]).succeeded();
    house.dalsegno(&["check", "flows/good.yaml"]).succeeded();
}

#[test]
fn check_ends_with_1_and_names_file_line_and_cure() {
    let house = House::with(&[
        ("good.yaml", GOOD),
        (
            "bad.yaml",
            "flow: bad\nsteps:\n  go:\n    run: 'true'\n    aftr: start\n",
        ),
    ]);
    let said = house.dalsegno(&["check", "flows"]);
    said.failed(1, &["bad.yaml", "5", "aftr", "after"]);
}

#[test]
fn check_gives_the_schema_for_editors() {
    let house = House::with(&[]);
    let schema = house.dalsegno(&["check", "--schema"]).succeeded().json();
    assert!(schema["properties"]["steps"].is_object(), "{schema}");
}

#[test]
fn hostile_files_are_refused_quickly_and_in_words() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let _ = writeln!(
            bomb,
            "a{level}: &a{level} [{}]",
            vec![format!("*a{}", level - 1); 9].join(", ")
        );
    }
    let huge = format!(
        "flow: huge\ndescription: {}\nsteps:\n  go: {{ run: 'true' }}\n",
        "x".repeat(10 << 20)
    );
    let deep = format!("flow: {}", "[".repeat(100_000));
    for (name, text) in [
        ("bomb.yaml", bomb.as_str()),
        ("huge.yaml", &huge),
        ("deep.yaml", &deep),
        ("empty.yaml", ""),
    ] {
        let house = House::with(&[(name, text)]);
        house.dalsegno(&["check", "flows"]).failed(1, &[name]);
    }
}

#[test]
fn binary_and_unreadable_files_are_refused_by_name() {
    let house = House::with(&[]);
    std::fs::write(house.path("flows/noise.yaml"), [0_u8, 159, 146, 150, 255])
        .expect("the house can be written to");
    house
        .dalsegno(&["check", "flows"])
        .failed(1, &["noise.yaml"]);
    // A folder by a flow file's name cannot be read as a file, not even by root.
    let house = House::with(&[]);
    std::os::unix::fs::symlink("nowhere", house.path("flows/gone.yaml"))
        .expect("the house can be written to");
    house
        .dalsegno(&["check", "flows"])
        .failed(1, &["gone.yaml"]);
    house
        .dalsegno(&["check", "no-such-file.yaml"])
        .failed(1, &["no-such-file.yaml"]);
}

#[test]
fn a_bad_file_does_not_keep_the_others_from_running() {
    let house = House::with(&[("good.yaml", GOOD), ("bad.yaml", "flow: bad\nsteps: 7\n")]);
    let mut witness = house.witness("witness");
    let daemon = house.up();
    daemon.api().start("good", &json!({}));
    assert_eq!(witness.line(), "one");
    assert!(daemon.said().contains("bad.yaml"), "{}", daemon.said());
}

#[test]
fn a_flow_that_becomes_invalid_keeps_its_last_good_version() {
    let house = House::with(&[("good.yaml", GOOD)]);
    let mut witness = house.witness("witness");
    let daemon = house.up();
    house.write_flow("good.yaml", "flow: good\nsteps: 7\n");
    let flow = daemon
        .api()
        .wait_until("the word that the file is invalid", || {
            let flow = daemon.api().get("/api/v1/flows/good").expect(200).json();
            (!flow["invalid"].is_null()).then_some(flow)
        });
    assert!(flow["invalid"].to_string().contains("steps"), "{flow}");
    let page = daemon.api().get("/flows/good").expect(200);
    assert!(page.text.contains("last good version"), "the page says so");
    daemon.api().start("good", &json!({}));
    assert_eq!(witness.line(), "one");

    house.write_flow("good.yaml", &GOOD.replace("echo one", "echo two"));
    daemon
        .api()
        .wait_until("the word that the file is valid again", || {
            daemon.api().get("/api/v1/flows/good").expect(200).json()["invalid"]
                .is_null()
                .then_some(())
        });
    daemon.api().start("good", &json!({}));
    assert_eq!(witness.line(), "two");
}

#[test]
fn bad_bodies_are_refused_with_a_code() {
    let house = House::with(&[("good.yaml", GOOD)]);
    let daemon = house.up();
    let api = daemon.api();
    let json_type = [("content-type", "application/json")];
    let start = "/api/v1/flows/good/runs";
    api.post_with(start, &json_type, b"{not json").problem(400);
    api.post_with(start, &json_type, br#"{"params": 7}"#)
        .problem(400);
    api.post_with(start, &json_type, br#"{"parms": {}}"#)
        .problem(400);
    let oversize = format!(r#"{{"params": {{"x": "{}"}}}}"#, "x".repeat(1 << 20));
    // Asking first, so that the answer is not lost when the daemon does not read on.
    let asks_first = [
        ("content-type", "application/json"),
        ("expect", "100-continue"),
    ];
    api.post_with(start, &asks_first, oversize.as_bytes())
        .problem(413);
    // And a client that just sends 16 MiB hears the answer too.
    let huge = vec![b' '; 16 << 20];
    api.post_with(start, &json_type, &huge).problem(413);
    api.get("/api/v1/no-such-thing").problem(404);
    api.get("/api/v1/runs?limit=many").problem(400);
    api.get("/api/v1/runs?cursor=nonsense").problem(400);
    assert_eq!(api.list("/api/v1/runs").len(), 0, "nothing was started");
}

#[test]
fn other_sites_and_other_names_of_this_machine_are_refused() {
    let house = House::with(&[("good.yaml", GOOD)]);
    let daemon = house.up();
    let api = daemon.api();
    let start = "/api/v1/flows/good/runs";
    let from_page = [
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
    ];
    let problem = api.post_with(start, &from_page, b"{}").problem(403);
    assert_eq!(problem["code"], "cross_site");
    let rebound = [("host", "evil.example")];
    let problem = api.post_with(start, &rebound, b"{}").problem(403);
    assert_eq!(problem["code"], "forbidden_host");
    assert_eq!(api.list("/api/v1/runs").len(), 0, "nothing was started");
}

#[test]
fn wrong_arguments_end_with_2_and_a_hint() {
    let house = House::with(&[]);
    for arguments in [
        &["rnus"][..],
        &["run"],
        &["up", "--port", "many"],
        &["runs", "--limit", "x"],
    ] {
        let said = house.dalsegno(arguments);
        assert_eq!(said.code, 2, "{said}");
        assert!(said.stderr.contains("--help"), "{said}");
    }
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let house = House::with(&[("good.yaml", GOOD)]);
    assert_eq!(house.up().stop(), 0);
    let database = database(&house);
    for suffix in ["-wal", "-shm"] {
        let beside = PathBuf::from(format!("{}{suffix}", database.display()));
        if beside.exists() {
            std::fs::remove_file(beside).expect("the house can be written to");
        }
    }
    std::fs::write(&database, "this is not a database, ".repeat(400))
        .expect("the house can be written to");
    house
        .run(&house.up_command())
        .failed(6, &[&database.to_string_lossy()]);
}

#[test]
fn a_database_newer_than_the_binary_is_left_as_it_is() {
    let house = House::with(&[("good.yaml", GOOD)]);
    assert_eq!(house.up().stop(), 0);
    let script = "import sqlite3, sys\n\
                  with sqlite3.connect(sys.argv[1]) as it: it.execute(\"INSERT INTO schema_migration VALUES (9999, 'later')\")";
    let python = std::env::var_os("DALSEGNO_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let status = Command::new(python)
        .args(["-c", script])
        .arg(database(&house))
        .status()
        .expect("Python starts");
    assert!(status.success(), "the database can be marked as newer");
    house.run(&house.up_command()).failed(6, &["9999", "newer"]);
}

/// The SQLite file in the data folder, by what it begins with.
fn database(house: &House) -> PathBuf {
    let entries = std::fs::read_dir(house.data()).expect("the data folder was made");
    let mut files = entries
        .filter_map(|it| Some(it.ok()?.path()))
        .filter(|it| it.is_file());
    let is_database =
        |file: &PathBuf| std::fs::read(file).is_ok_and(|it| it.starts_with(b"SQLite format 3"));
    files
        .find(is_database)
        .expect("the data folder holds the database")
}
