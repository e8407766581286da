//! What is wrong with a flow, said with its line and cure.

use crate::text::{NAMES, findings, graph, small, tried};
use std::fmt::Write;
use std::path::Path;

/// The single finding.
fn one(text: &str) -> String {
    let found = findings(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    found.into_iter().next().expect("one")
}

#[test]
fn every_refusal_reads_well() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metaflow/refused");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|it| it.expect("an entry").path())
        .collect();
    paths.sort();
    let mut all = String::new();
    for path in paths
        .iter()
        .filter(|it| it.extension().is_some_and(|it| it == "py"))
    {
        let text = std::fs::read_to_string(path).expect("readable");
        let found = tried(&text).expect_err("refused");
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        writeln!(all, "--- {name}").expect("a string takes all");
        for it in &found {
            let help = it.help.as_deref().unwrap_or_default();
            writeln!(
                all,
                "{}:{} {}\n  {}\n  help: {help}",
                it.line, it.column, it.code, it.message
            )
            .expect("a string takes all");
        }
    }
    insta::assert_snapshot!(all);
}

#[test]
fn an_excerpt_shows_the_place_and_what_belongs_to_it() {
    let text = graph(&["start: self.a, self.b", "a: self.end", "b: self.end", "end"]);
    insta::assert_snapshot!(tried(&text).expect_err("refused").render(false));
}

#[test]
fn crons_and_time_zones_are_checked_where_they_stand() {
    let found = one(&small("@schedule(cron='0 25 * * ? *')", ""));
    assert!(
        found.starts_with("3 metaflow.schedule: cron \"0 25 * * ? *\": the hour `25` is not valid"),
        "{found}"
    );
    let found = one(&small("@schedule(cron='not a cron')", ""));
    assert!(found.contains("has 3 fields"), "{found}");
    let found = one(&small("@schedule(cron='0 0 12 * * ? *')", ""));
    assert!(found.contains("has 7 fields"), "{found}");
    let found = one(&small("@schedule(daily=True, timezone='Europe/Berln')", ""));
    assert_eq!(
        found,
        "3 metaflow.time_zone: unknown time zone `Europe/Berln`"
    );
}

#[test]
fn a_schedule_needs_a_default_for_what_is_required() {
    let members = "    a = Parameter('a', required=True)\n";
    let found = one(&small("@schedule(daily=True)", members));
    assert_eq!(
        found,
        "5 metaflow.required_param: the flow has a schedule, and its Parameter `a` has no default"
    );
    assert!(findings(&small("", members)).is_empty());
}

#[test]
fn misspelt_names_get_a_suggestion() {
    let text = small("", "").replace(
        "    @step\n    def start",
        "    @retyr(times=2)\n    @step\n    def start",
    );
    let found = tried(&text).expect_err("refused");
    let first = found.iter().next().expect("one");
    assert_eq!(first.help.as_deref(), Some("did you mean `@retry`?"));
    let text = small(
        "@trigger(event={'name': 'x', 'parameters': {'alhpa': 'a'}})",
        "    alpha = Parameter('alpha', default=1)\n",
    );
    let found = tried(&text).expect_err("refused");
    let first = found.iter().next().expect("one");
    assert_eq!(first.code, "metaflow.unknown_param");
    assert_eq!(first.help.as_deref(), Some("did you mean `alpha`?"));
}

#[test]
fn what_metaflow_runs_and_we_cannot_is_named() {
    let text = graph(&[
        "start: {'x': self.p, 'y': self.q}, condition='c'",
        "p: self.work, foreach='xs'",
        "q: self.work, foreach='ys'",
        "work: self.join",
        "join(inputs): self.end",
        "end",
    ]);
    assert!(one(&text).contains("metaflow.unsupported_graph: `work` is reached within the foreach of `p` and within the foreach of `q`"));
    let deep = [
        "start: self.b, foreach='x'",
        "b: self.c, foreach='x'",
        "c: self.d, foreach='x'",
        "d: self.e, foreach='x'",
        "e: self.f, foreach='x'",
        "f: self.j1",
        "j1(inputs): self.j2",
        "j2(inputs): self.j3",
        "j3(inputs): self.j4",
        "j4(inputs): self.j5",
        "j5(inputs): self.end",
        "end",
    ];
    assert!(one(&graph(&deep)).contains(
        "metaflow.nesting: the foreach of `e` is the 5th within another, and 4 may nest"
    ));
}

#[test]
fn which_flow_a_file_runs_must_be_clear() {
    let flow = |name: &str| {
        format!(
            "class {name}(FlowSpec):\n    @step\n    def start(self):\n        self.next(self.end)\n    @step\n    def end(self):\n        pass\n\n"
        )
    };
    let both = format!("{NAMES}{}{}", flow("One"), flow("Two"));
    assert!(
        one(&format!("{both}One()\nTwo()\n"))
            .contains("metaflow.two_flows: the file runs several flows, `One` and `Two`")
    );
    assert!(one(&both).contains("has several flows, `One` and `Two`, and runs none of them"));
    assert!(findings(&format!("{both}Two()\n")).is_empty());
    let alone = format!("{NAMES}{}", flow("One"));
    assert!(
        one(&alone).contains("metaflow.not_instantiated: nothing in the file runs the flow `One`")
    );
    assert!(one("print('hello')\n").contains("metaflow.no_flow"));
}

#[test]
fn packages_and_remote_steps_get_a_word() {
    let text = small("", "").replace(
        "    @step\n    def start",
        "    @conda(packages={})\n    @step\n    def start",
    );
    assert!(one(&text).contains("metaflow.packages: what `@conda` asks for is not installed"));
}

#[test]
fn relative_imports_of_a_script_are_told() {
    let text = small("", "").replace("\nclass", "\nfrom .base import x\nclass");
    assert!(one(&text).contains("metaflow.relative_import"));
}

#[test]
fn a_branch_that_is_nothing_but_the_join_is_refused() {
    let text = graph(&[
        "start: self.a, self.join",
        "a: self.join",
        "join(inputs): self.end",
        "end",
    ]);
    assert!(
        one(&text)
            .contains("metaflow.unbalanced: `join` must join exactly the branches of `start`")
    );
}

#[test]
fn bases_that_double_each_other_come_to_an_end() {
    let mut text = format!("{NAMES}class A0(FlowSpec): pass\nclass B0(FlowSpec): pass\n");
    for it in 1..60 {
        for side in ["A", "B"] {
            writeln!(text, "class {side}{it}(A{0}, B{0}): pass", it - 1)
                .expect("a string takes all");
        }
    }
    assert!(!findings(&format!("{text}A59()\n")).is_empty());
}

#[test]
fn text_that_nests_without_end_is_refused() {
    for text in [
        format!("x = {}1\n", "-".repeat(200_000)),
        format!("x = {}\n", "(".repeat(100_000)),
        format!("x = a{}\n", ".b".repeat(100_000)),
        format!("x = a{}\n", "()".repeat(100_000)),
        format!("x = {}\n", "f'{".repeat(50_000)),
        format!("x = {}1\n", "lambda: ".repeat(50_000)),
        (0..2000)
            .map(|it| format!("{}if x:\n", " ".repeat(it)))
            .collect(),
    ] {
        let found = findings(&format!("import metaflow\n{text}"));
        assert_eq!(found.len(), 1, "{found:?}");
    }
}

#[test]
fn constants_that_double_each_other_come_to_an_end() {
    let mut text = String::from("v0 = ['x', 'y']\n");
    for it in 1..60 {
        writeln!(text, "v{it} = [v{0}, v{0}]", it - 1).expect("a string takes all");
    }
    let text = small("@schedule(cron=v59)", "").replacen(
        "\n@schedule",
        &format!("\n{text}\n@schedule"),
        1,
    );
    let about = tried(&text).expect("valid").metaflow.expect("Metaflow");
    assert!(about.needs_probe);
}

#[test]
fn a_tangle_of_branches_comes_to_an_end() {
    let mut steps = vec!["start: self.a0, self.b0".to_owned()];
    for it in 0..40 {
        for side in ["a", "b"] {
            steps.push(format!("{side}{it}: self.a{0}, self.b{0}", it + 1));
        }
    }
    steps.extend(["a40: self.end", "b40: self.end", "end"].map(str::to_owned));
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    assert!(!findings(&graph(&steps)).is_empty());
}
