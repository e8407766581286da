//! The page in a real browser, and without scripts.

use dalsegno_tests::{Daemon, House, Metaflow, flow_file};
use serde_json::json;
use std::process::Command;

const FLOW: &str = r#"
flow: show_me
description: Two steps to look at.
schedule: { cron: "0 6 * * *", timezone: Europe/Berlin }
steps:
  brew: { run: echo hello from brew }
  pour: { after: brew, run: "true" }
"#;

#[test]
fn pages_say_what_matters_without_scripts() {
    let house = House::with(&[("show_me.yaml", FLOW)]);
    let daemon = house.up();
    let id = daemon.api().start("show_me", &json!({}));
    daemon.api().wait_for_run(&id);
    for (path, words) in [
        ("/".to_owned(), &["show_me"][..]),
        (
            "/flows/show_me".to_owned(),
            &[
                "show_me",
                "Two steps to look at.",
                "brew",
                "pour",
                "0 6 * * *",
                "<svg",
            ],
        ),
        (
            format!("/runs/{id}"),
            &["show_me", "brew", "pour", "succeeded", "<svg"],
        ),
    ] {
        let page = daemon.api().get(&path).expect(200);
        assert!(
            page.content_type.starts_with("text/html"),
            "{path}: {}",
            page.content_type
        );
        for word in words {
            assert!(page.text.contains(word), "{path} does not say `{word}`");
        }
    }
    let missing = daemon.api().get_page("/flows/no_such_flow").expect(404);
    assert!(
        missing.content_type.starts_with("text/html"),
        "people get a page: {missing:?}"
    );
}

#[test]
fn names_from_files_are_text_on_the_page_never_markup() {
    let flow = FLOW.replace("Two steps to look at.", "\"<script>alert(1)</script>\"");
    let house = House::with(&[("show_me.yaml", &flow)]);
    let daemon = house.up();
    let page = daemon.api().get("/flows/show_me").expect(200);
    assert!(
        !page.text.contains("<script>alert(1)"),
        "markup came through"
    );
}

#[test]
fn a_browser_shows_the_run_and_reports_no_error() {
    let house = House::with(&[("show_me.yaml", FLOW)]);
    let daemon = house.up();
    let id = daemon.api().start("show_me", &json!({}));
    daemon.api().wait_for_run(&id);
    let shown = browse(&house, &daemon, &format!("/runs/{id}"));
    for word in ["show_me", "brew", "pour", "succeeded"] {
        assert!(shown.contains(word), "the browser does not show `{word}`");
    }
}

#[test]
fn a_long_word_in_an_error_does_not_make_the_page_of_a_phone_wider() {
    let word = "/srv/warehouse".repeat(12);
    let text = flow_file("Story", "", "", &format!("raise ValueError('{word}')"));
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    let run = daemon.fails("Story", &json!({}));
    let id = run["id"].as_str().expect("an id");
    // Live pages are never at rest; this one stands still and measures itself.
    let page = daemon.api().get_page(&format!("/runs/{id}")).text;
    assert!(page.contains(&word), "{page}");
    let still = page.replace(" data-live", "").replace(
        "<head>",
        &format!("<head><base href=\"{}/\">", daemon.url()),
    );
    let measure = "<script>addEventListener('load', () => { const it = document.documentElement; \
                   document.body.dataset.wider = it.scrollWidth > it.clientWidth; });</script>";
    let file = house.path("still.html");
    std::fs::write(&file, format!("{still}{measure}")).expect("the house can be written to");
    let shown = open(&house, &format!("file://{}", file.display()));
    assert!(shown.contains("data-wider=\"false\""), "{shown}");
}

/// The page as it stands in Chromium after its scripts have run.
///
/// # Panics
/// When there is no Chromium, or when a script of the page fails.
fn browse(house: &House, daemon: &Daemon, path: &str) -> String {
    open(house, &format!("{}{path}", daemon.url()))
}

/// The same by its whole address, in a window as narrow as there is.
fn open(house: &House, address: &str) -> String {
    let chromium = std::env::var_os("DALSEGNO_TEST_CHROMIUM")
        .expect("DALSEGNO_TEST_CHROMIUM names a Chromium; run `cargo xtask test`, which finds or installs one");
    let output = Command::new("timeout")
        .args(["--kill-after=5", "80"])
        .arg(chromium)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ])
        .args(["--enable-logging=stderr", "--dump-dom"])
        .arg(format!(
            "--user-data-dir={}",
            house.path("browser").display()
        ))
        .args(["--window-size=420,2000", address])
        .output()
        .expect("`timeout` of coreutils is installed");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "Chromium failed: {log}");
    let errors: Vec<_> = log
        .lines()
        .filter(|it| it.contains("CONSOLE") && it.contains("rror"))
        .collect();
    assert!(errors.is_empty(), "scripts failed: {errors:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
