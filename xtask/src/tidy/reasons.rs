//! Every dependency has its reason in the root manifest, and members take their versions from there.

use super::problem::Problem;
use super::walk;
use anyhow::Result;
use cargo_metadata::Metadata;
use std::path::Path;

pub(super) fn check(metadata: &Metadata, root: &Path) -> Result<Vec<Problem>> {
    let manifest = root.join("Cargo.toml");
    let mut problems = check_reasons(&manifest, &walk::read(&manifest)?);
    for package in metadata.workspace_packages() {
        let file = package.manifest_path.as_std_path();
        problems.extend(check_versions(file, &walk::read(file)?));
    }
    Ok(problems)
}

/// Lines of `[workspace.dependencies]` end in a reason, unless they are ours.
fn check_reasons(file: &Path, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut ours = false;
    for (number, section, line) in lines(text) {
        if section != "workspace.dependencies" {
            continue;
        }
        if line.is_empty() {
            ours = false;
        } else if line.starts_with("# Ours") {
            ours = true;
        } else if let Some(name) = dependency(line) {
            let has_reason = comment(line).is_some_and(|reason| !reason.is_empty());
            if !ours && !has_reason {
                let what = format!("`{name}` has no reason");
                problems.push(Problem::new(
                    file,
                    number,
                    what,
                    "end the line with `# why we need it`",
                ));
            }
        }
    }
    problems
}

/// Lines of a member's dependency tables name the workspace's version.
fn check_versions(file: &Path, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (number, section, line) in lines(text) {
        let is_table = section.ends_with("dependencies") && !section.starts_with("workspace");
        if let Some(name) =
            dependency(line).filter(|_| is_table && !line.contains("workspace = true"))
        {
            let what = format!("`{name}` has a version of its own");
            let cure = format!(
                "put the version and its reason in the root Cargo.toml, and `{name}.workspace = true` here"
            );
            problems.push(Problem::new(file, number, what, cure));
        }
    }
    problems
}

/// Each line with its number and the table it stands in.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    let mut section = "";
    text.lines().enumerate().map(move |(index, line)| {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            section = name;
        }
        (index + 1, section, line)
    })
}

/// The dependency that a line declares.
fn dependency(line: &str) -> Option<&str> {
    let (key, _) = line.split_once('=')?;
    let name = key.trim().split('.').next()?;
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    (!name.is_empty() && name.chars().all(is_name)).then_some(name)
}

/// What follows the `#` outside of strings.
fn comment(line: &str) -> Option<&str> {
    let mut quoted = false;
    let at = line.char_indices().find(|(_, letter)| {
        quoted ^= *letter == '"';
        !quoted && *letter == '#'
    })?;
    Some(line[at.0 + 1..].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_without_a_reason_is_found_on_its_line() {
        let text = "[workspace.dependencies]\n# Ours.\nhouse = { path = \"x\" }\n\n# Others.\n\
                    good = \"1\" # it does good things\nbad = \"1\"\nworse = { version = \"#\" }\n";
        let problems = check_reasons(Path::new("Cargo.toml"), text);
        let found: Vec<_> = problems
            .iter()
            .map(|it| (it.line, it.what.as_str()))
            .collect();
        assert_eq!(
            found,
            [(7, "`bad` has no reason"), (8, "`worse` has no reason")]
        );
    }

    #[test]
    fn a_member_takes_its_versions_from_the_workspace() {
        let text = "[package]\nname = \"x\"\nversion.workspace = true\n[dependencies]\na.workspace = true\n\
                    b = { workspace = true, features = [\"c\"] }\nd = \"1\"\n";
        let problems = check_versions(Path::new("Cargo.toml"), text);
        assert_eq!(problems.len(), 1);
        assert_eq!(
            (problems[0].line, problems[0].what.as_str()),
            (7, "`d` has a version of its own")
        );
    }
}
