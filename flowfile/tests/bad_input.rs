//! Files that are no flow files at all, and folders of files.

use dalsegno_flowfile::{FILE_BYTES_MAX, parse, read, read_dir};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const FLOW: &str = "flow: shop\nsteps: { a: { run: x } }\n";

/// `code: message` of each finding.
fn findings(found: &dalsegno_flowfile::Diagnostics) -> String {
    let lines: Vec<String> = found
        .iter()
        .map(|it| format!("{}: {}", it.code, it.message))
        .collect();
    lines.join("\n")
}

fn refused(path: &Path, content: &[u8]) -> String {
    fs::write(path, content).expect("a file");
    findings(&read(path).expect_err("not a flow file"))
}

#[test]
fn files_that_are_not_text_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("flow.yaml");
    assert_eq!(
        refused(&path, b"\x7fELF\0\x01\xff"),
        "flow.not_utf8: the file is binary"
    );
    assert_eq!(
        refused(&path, b"\xff\xfef\0l\0"),
        "flow.not_utf8: the file is in UTF-16"
    );
    assert_eq!(
        refused(&path, b"flow: sh\xf6p\n"),
        "flow.not_utf8: the byte 0xf6 is not UTF-8"
    );
    let found = read(&path).expect_err("not UTF-8");
    let place = found.iter().next().map(|it| (it.line, it.column));
    assert_eq!(place, Some((1, 9)), "the place of the byte is named");
    assert!(refused(&path, b"flow: shop\0\n").starts_with("flow."));
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = read(&folder.path().join("none.yaml")).expect_err("missing");
    assert_eq!(
        findings(&missing),
        "flow.unreadable: there is no such file or folder"
    );
    let no_file = read(folder.path()).expect_err("a folder");
    assert_eq!(
        findings(&no_file),
        "flow.unreadable: this is not a regular file"
    );
    let device = read(Path::new("/dev/zero")).expect_err("a device");
    assert_eq!(
        findings(&device),
        "flow.unreadable: this is not a regular file"
    );
    let text = missing.render(false);
    assert!(
        text.contains("none.yaml") && text.contains("check the path"),
        "{text}"
    );
}

#[test]
fn a_huge_file_is_refused_quickly() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("flow.yaml");
    let huge = "- a\n".repeat(2_600_000);
    let start = Instant::now();
    assert_eq!(
        refused(&path, huge.as_bytes()),
        format!(
            "flow.too_large: the file has 10400000 bytes, and at most {FILE_BYTES_MAX} are read"
        )
    );
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_large_file_of_any_shape_is_refused_in_time() {
    let many = |text: &str| text.repeat(1_000_000 / text.len());
    let start = Instant::now();
    for text in [
        many("["),
        many("{a: "),
        many("a: 1\n"),
        many("- "),
        many("? "),
        many("\t"),
        many("\"x"),
        many("&a *a "),
        many("!x "),
        many("- [1,2,3]\n"),
        format!(
            "flow: x\nsteps: {{ a: {{ run: x, when: '{}' }} }}",
            many("(")
        ),
        format!(
            "flow: x\nsteps: {{ a: {{ run: x, foreach: '${{{{ {} }}}}' }} }}",
            many("!")
        ),
    ] {
        let found = parse("flow.yaml", &text).expect_err("no flow");
        assert!(found.has_errors());
        assert!(found.render(false).len() < 100_000);
    }
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn an_alias_bomb_is_refused_before_it_grows() {
    let mut bomb = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    let start = Instant::now();
    let found = parse("flow.yaml", &bomb).expect_err("a bomb");
    assert_eq!(
        findings(&found),
        "flow.too_large: the file is too large once its aliases are expanded"
    );
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn anchors_and_merged_keys_work() {
    let text = "flow: shop\nsteps:\n  a: &base { run: x, timeout: 5m, retry: 2 }\n  b: { <<: *base, retry: 1 }\n";
    let file = parse("flow.yaml", text).expect("valid");
    let b = file.flow.step("b").expect("there");
    assert_eq!((b.retry.times, b.timeout.is_some()), (1, true));
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_fine() {
    let text = format!("\u{feff}{}", FLOW.replace('\n', "\r\n"));
    assert!(parse("flow.yaml", &text).is_ok());
}

#[test]
fn the_version_follows_the_text() {
    let version = |text: &str| parse("flow.yaml", text).expect("valid").version;
    assert_eq!(version(FLOW), version(FLOW));
    assert_ne!(version(FLOW), version(&format!("{FLOW}# more\n")));
    assert_eq!(version(FLOW).as_str().len(), 16);
}

#[test]
fn a_folder_is_read_with_its_folders() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("a file");
    };
    write("b.yaml", "flow: b\nsteps: { a: { run: x } }\n");
    write("team/deep/a.yml", "flow: a\nsteps: { a: { run: x } }\n");
    write("team/values.yaml", "colour: blue\n");
    write("_old/b.yaml", FLOW);
    write(".hidden/b.yaml", FLOW);
    write("_draft.yaml", "flow:");
    write("notes.txt", "flow:");
    let files = read_dir(folder.path());
    let seen: Vec<String> = files
        .iter()
        .map(|(path, file)| {
            let path = path.strip_prefix(folder.path()).expect("below").display();
            let what = file
                .as_ref()
                .map_or_else(findings, |it| it.flow.name().to_string());
            format!("{path} -> {what}")
        })
        .collect();
    assert_eq!(
        seen,
        [
            "b.yaml -> b",
            "team/deep/a.yml -> a",
            "team/values.yaml -> flow.missing_key: this is not a flow file: the key `flow` is missing",
        ]
    );
}

#[test]
fn two_files_with_one_flow_name_are_both_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("one.yaml"), FLOW).expect("a file");
    fs::write(path("two.yaml"), FLOW).expect("a file");
    let files = read_dir(folder.path());
    for ((_, file), other) in files.iter().zip(["two.yaml", "one.yaml"]) {
        let found = file.as_ref().expect_err("twice");
        let other = path(other).display().to_string();
        assert_eq!(
            findings(found),
            format!("flow.same_flow: the flow `shop` is in {other} too")
        );
    }
}

#[test]
fn a_missing_folder_is_one_finding() {
    let files = read_dir(Path::new("/no/such/folder"));
    assert_eq!(files.len(), 1);
    assert_eq!(
        findings(files[0].1.as_ref().expect_err("missing")),
        "flow.unreadable: there is no such file or folder"
    );
}
