//! Which Python a Metaflow flow runs with.

use dalsegno_tests::{House, Metaflow, flow_file};
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
    let wheels = std::env::var("DALSEGNO_TEST_WHEELS")
        .expect("DALSEGNO_TEST_WHEELS is a folder of Python packages; run `cargo xtask test`, which fetches them");
    // As if the machine's package index were this folder.
    let offline = [
        ("PIP_NO_INDEX", "1"),
        ("PIP_FIND_LINKS", &wheels),
        ("UV_NO_INDEX", "1"),
        ("UV_FIND_LINKS", &wheels),
        ("VIRTUAL_ENV", ""),
        ("CONDA_PREFIX", ""),
    ];
    let daemon = house.up_in(&offline);
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
