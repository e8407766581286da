//! Migrations are twins: the same files for SQLite and for PostgreSQL, numbered without a gap.

use super::problem::Problem;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::Path;

const TWINS: [(&str, &str); 2] = [("sqlite", "postgres"), ("postgres", "sqlite")];

pub(super) fn check(folder: &Path) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for (one, other) in TWINS {
        let (names, twins) = (names(&folder.join(one))?, names(&folder.join(other))?);
        for name in names.difference(&twins) {
            problems.push(Problem::new(
                &folder.join(one).join(name),
                1,
                format!("there is no twin migrations/{other}/{name}"),
                format!("write migrations/{other}/{name}; when {other} needs nothing, a comment that says why"),
            ));
        }
        for (index, name) in names.iter().enumerate() {
            let number = format!("{:04}_", index + 1);
            if !name.starts_with(&number) || !name.ends_with(".sql") {
                problems.push(Problem::new(
                    &folder.join(one).join(name),
                    1,
                    format!("expected {number}….sql in this place"),
                    "number migrations 0001, 0002, … without a gap; never renumber one that was released",
                ));
            }
        }
    }
    Ok(problems)
}

fn names(folder: &Path) -> Result<BTreeSet<String>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut names = BTreeSet::new();
    for entry in entries {
        names.insert(entry?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests_folder::Folder;

    #[test]
    fn twins_pass() {
        let folder = Folder::with(&[
            ("sqlite/0001_first.sql", ""),
            ("postgres/0001_first.sql", ""),
        ]);
        assert_eq!(check(folder.path()).expect("readable"), []);
    }

    #[test]
    fn a_migration_without_its_twin_is_found() {
        let folder = Folder::with(&[
            ("sqlite/0001_first.sql", ""),
            ("postgres/0001_first.sql", ""),
            ("sqlite/0002_more.sql", ""),
        ]);
        let problems = check(folder.path()).expect("readable");
        assert_eq!(problems.len(), 1);
        assert_eq!(
            problems[0].what,
            "there is no twin migrations/postgres/0002_more.sql"
        );
    }

    #[test]
    fn a_gap_in_the_numbers_is_found() {
        let folder = Folder::with(&[("sqlite/0002_more.sql", ""), ("postgres/0002_more.sql", "")]);
        let problems = check(folder.path()).expect("readable");
        assert_eq!(problems.len(), 2);
        assert!(
            problems[0].what.contains("expected 0001_"),
            "{}",
            problems[0].what
        );
    }
}
