//! Links in documents lead somewhere: relative ones to a file that exists, with an anchor it has.

use super::problem::Problem;
use super::slug::anchors;
use super::walk;
use anyhow::Result;
use std::path::Path;

pub(super) fn check(root: &Path) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for file in walk::files(root, "md")? {
        let text = walk::read(&file)?;
        for (line, link) in links(&text) {
            if let Some(what) = broken(&file, &text, &link)? {
                let cure = "name a file that exists, as seen from the folder of this one, or remove the link";
                problems.push(Problem::new(&file, line, what, cure));
            }
        }
    }
    Ok(problems)
}

/// What is wrong with a link, if anything.
fn broken(file: &Path, text: &str, link: &str) -> Result<Option<String>> {
    let elsewhere = link.contains("://") || link.starts_with("mailto:");
    if elsewhere {
        return Ok(None);
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let folder = file.parent().expect("a file has a folder");
    let target = if path.is_empty() {
        file.to_owned()
    } else {
        folder.join(path)
    };
    if !target.exists() {
        return Ok(Some(format!("the link `{link}` leads nowhere")));
    }
    if anchor.is_empty() || target.extension().is_none_or(|it| it != "md") {
        return Ok(None);
    }
    let known = if target == file {
        anchors(text)
    } else {
        anchors(&walk::read(&target)?)
    };
    if known.iter().any(|it| it == anchor) {
        return Ok(None);
    }
    Ok(Some(format!(
        "the link `{link}` names a heading that {} does not have",
        target.display()
    )))
}

/// The targets of `[text](target)` and `[name]: target`, each with its line. Code is left out.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        let prose = without_code(line);
        for piece in prose.split("](").skip(1) {
            if let Some(target) = piece.split([')', ' ']).next().filter(|it| !it.is_empty()) {
                found.push((index + 1, target.trim_matches(['<', '>']).to_owned()));
            }
        }
        let definition = prose.strip_prefix('[').and_then(|it| it.split_once("]: "));
        if let Some((_, target)) = definition.filter(|(name, _)| !name.starts_with('^')) {
            found.push((index + 1, target.trim().to_owned()));
        }
    }
    found
}

fn without_code(line: &str) -> String {
    // Every second piece between backticks is code.
    line.split('`')
        .enumerate()
        .map(|(index, piece)| if index % 2 == 0 { piece } else { "code" })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests_folder::Folder;

    #[test]
    fn links_that_lead_somewhere_pass() {
        let folder = Folder::with(&[
            (
                "README.md",
                "# Top\n[a](docs/a.md#part-two) [self](#top) [out](https://example.org/x) ![p](p.svg)\n",
            ),
            (
                "docs/a.md",
                "## Part two\n[back](../README.md)\n[folder](../docs)\n",
            ),
            ("p.svg", ""),
        ]);
        assert_eq!(check(folder.path()).expect("readable"), []);
    }

    #[test]
    fn a_missing_file_and_a_missing_heading_are_found_with_their_lines() {
        let folder = Folder::with(&[(
            "a.md",
            "# Top\n\n[x](no.md)\n[y](#nowhere)\n\n[z]: gone.md\n",
        )]);
        let problems = check(folder.path()).expect("readable");
        let lines: Vec<_> = problems.iter().map(|it| it.line).collect();
        assert_eq!(lines, [3, 4, 6]);
        assert_eq!(problems[0].what, "the link `no.md` leads nowhere");
        assert!(
            problems[1].what.contains("names a heading"),
            "{}",
            problems[1].what
        );
    }

    #[test]
    fn code_is_not_searched_for_links() {
        let text = "`[x](no.md)`\n```\n[y](no.md)\n```\n";
        assert_eq!(links(text), []);
    }
}
