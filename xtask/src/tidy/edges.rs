//! Who may depend on whom.
//!
//! ```text
//! scheduler <- { flowfile, predict }
//! scheduler <- store <- engine <- { alerts <- alerts-sns, triggers, executor <- executor-aws, web } <- daemon       sim -> scheduler, store
//! ```

use super::problem::{Problem, line_where};
use super::walk;
use anyhow::Result;
use cargo_metadata::{DependencyKind, Metadata};

/// Our crates, each with those of ours that it may depend on. The name stands for the package
/// `dalsegno-<name>`. Tests, benchmarks and tools may use what they need, but for the daemon.
const OURS: [(&str, &[&str]); 16] = [
    ("scheduler", &[]),
    ("flowfile", &["scheduler"]),
    ("predict", &["scheduler"]),
    ("store", &["scheduler"]),
    ("engine", &["scheduler", "store"]),
    ("alerts", &["scheduler", "store", "engine"]),
    ("alerts-sns", &["alerts"]),
    ("triggers", &["scheduler", "store", "engine"]),
    ("executor", &["scheduler", "store", "engine"]),
    (
        "executor-aws",
        &["scheduler", "store", "engine", "executor"],
    ),
    ("web", &["scheduler", "store", "engine"]),
    (
        "daemon",
        &[
            "scheduler",
            "flowfile",
            "predict",
            "store",
            "engine",
            "alerts",
            "alerts-sns",
            "triggers",
            "executor",
            "executor-aws",
            "web",
        ],
    ),
    ("sim", &["scheduler", "store"]),
    ("tests", BELOW_DAEMON),
    ("bench", BELOW_DAEMON),
    ("xtask", &[]),
];

const BELOW_DAEMON: &[&str] = &[
    "alerts",
    "alerts-sns",
    "scheduler",
    "flowfile",
    "predict",
    "store",
    "engine",
    "triggers",
    "executor",
    "executor-aws",
    "web",
    "sim",
];

/// Other people's crates (a final `*` stands for any ending) that only some of ours may use, and why.
const RESERVED: [(&str, &[&str], &str); 7] = [
    (
        "sqlx*",
        &["store", "tests", "bench"],
        "only the store knows SQL",
    ),
    ("askama*", &["web"], "only the web knows HTML"),
    ("dagre", &["web"], "only the web draws"),
    (
        "aws-*",
        &["alerts-sns", "executor-aws", "triggers"],
        "only executors, triggers and one channel know AWS",
    ),
    (
        "tokio*",
        ALL_BUT_PURE,
        "the core, the reader of flow files and predictions are pure",
    ),
    (
        "axum*",
        &["triggers", "web", "daemon", "tests", "bench"],
        "the rest of the house knows no HTTP",
    ),
    (
        "rand*",
        &["sim", "tests", "bench"],
        "randomness outside of tests cannot be replayed",
    ),
];

const ALL_BUT_PURE: &[&str] = &[
    "alerts",
    "alerts-sns",
    "store",
    "engine",
    "triggers",
    "executor",
    "executor-aws",
    "web",
    "daemon",
    "sim",
    "tests",
    "bench",
];

pub(super) fn check(metadata: &Metadata) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for package in metadata.workspace_packages() {
        let file = package.manifest_path.as_std_path();
        let text = walk::read(file)?;
        let Some(name) = ours(&package.name) else {
            problems.push(Problem::new(
                file,
                line_where(&text, |line| line.starts_with("name")),
                format!("`{}` is not in the table of crates", package.name),
                format!("add it to OURS in {}", file!()),
            ));
            continue;
        };
        for dependency in &package.dependencies {
            if let Some((what, cure)) = forbidden(name, &dependency.name, dependency.kind) {
                let line = line_where(&text, |line| line.starts_with(dependency.name.as_str()));
                problems.push(Problem::new(file, line, what, cure));
            }
        }
    }
    Ok(problems)
}

/// Why `from` must not depend on `to`, and what to do instead; `None` when it may.
fn forbidden(from: &str, to: &str, kind: DependencyKind) -> Option<(String, String)> {
    let in_tests = kind == DependencyKind::Development;
    if let Some(ours) = ours(to) {
        let (_, allowed) = OURS.iter().find(|(name, _)| *name == from)?;
        let may = allowed.contains(&ours) || (in_tests && ours != "daemon");
        return (!may).then(|| {
            let list = if allowed.is_empty() { "none of ours".to_owned() } else { allowed.join(", ") };
            (
                format!("`{from}` must not depend on `{ours}`; it may depend on {list}"),
                "move the shared type down, or turn the call around with a trait in the lower crate".to_owned(),
            )
        });
    }
    let (_, who, why) = RESERVED.iter().find(|(pattern, ..)| matches(pattern, to))?;
    (!in_tests && !who.contains(&from)).then(|| {
        (
            format!("`{from}` must not depend on `{to}`: {why}"),
            format!("let {} do it, and call that", who[0]),
        )
    })
}

/// The name in the table of one of our packages.
fn ours(package: &str) -> Option<&'static str> {
    let folder = package
        .strip_prefix("dalsegno-")
        .or_else(|| (package == "xtask").then_some(package))?;
    OURS.iter()
        .map(|(name, _)| *name)
        .find(|name| *name == folder)
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DependencyKind::{Development, Normal};

    #[test]
    fn allowed_edges_pass() {
        for (from, to) in [
            ("flowfile", "dalsegno-scheduler"),
            ("engine", "dalsegno-store"),
            ("web", "dalsegno-engine"),
            ("daemon", "dalsegno-web"),
            ("sim", "dalsegno-store"),
            ("store", "sqlx"),
            ("scheduler", "petgraph"),
        ] {
            assert_eq!(forbidden(from, to, Normal), None, "{from} -> {to}");
        }
    }

    #[test]
    fn forbidden_edges_are_found() {
        for (from, to) in [
            ("scheduler", "dalsegno-store"),
            ("store", "dalsegno-engine"),
            ("web", "dalsegno-executor"),
            ("flowfile", "dalsegno-store"),
            ("tests", "dalsegno-daemon"),
            ("engine", "sqlx-core"),
            ("daemon", "askama"),
            ("web", "aws-sdk-sqs"),
            ("scheduler", "tokio"),
            ("scheduler", "axum"),
        ] {
            assert!(forbidden(from, to, Normal).is_some(), "{from} -> {to}");
        }
    }

    #[test]
    fn tests_of_a_crate_may_look_sideways_but_not_at_the_daemon() {
        assert_eq!(
            forbidden("executor", "dalsegno-flowfile", Development),
            None
        );
        assert!(forbidden("executor", "dalsegno-daemon", Development).is_some());
    }
}
