//! Words that mean "not finished" or "does not count".

use super::problem::Problem;
use super::walk;
use anyhow::Result;
use std::path::Path;

/// Pieced together, so that this file does not hold what it forbids.
const FORBIDDEN: [(&str, &str); 6] = [
    (
        concat!("to", "do!("),
        "write it, or refuse the case with a clear error",
    ),
    (
        concat!("unimple", "mented!("),
        "write it, or refuse the case with a clear error",
    ),
    (concat!("db", "g!("), "remove it, or log with tracing"),
    (
        concat!("#[ig", "nore"),
        "make the test run everywhere, or delete it",
    ),
    (
        concat!("#[should_", "panic"),
        "return the error and assert on it",
    ),
    (
        concat!("FIX", "ME"),
        "mend it now, or open an issue and say what holds today",
    ),
];

/// The same for Python.
const FORBIDDEN_IN_PYTHON: [(&str, &str); 6] = [
    (
        concat!("FIX", "ME"),
        "mend it now, or open an issue and say what holds today",
    ),
    (
        concat!("Not", "ImplementedError"),
        "write it, or refuse the case with a clear error",
    ),
    (concat!("break", "point("), "remove it"),
    (concat!("import p", "db"), "remove it"),
    (
        concat!("unittest.sk", "ip("),
        "make the test run everywhere, or delete it",
    ),
    (
        concat!("self.sk", "ipTest("),
        "make the test run everywhere, or delete it",
    ),
];

pub(super) fn check(root: &Path) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for (ext, forbidden) in [("rs", FORBIDDEN), ("py", FORBIDDEN_IN_PYTHON)] {
        for file in walk::files(root, ext)? {
            problems.extend(check_text(&file, &walk::read(&file)?, &forbidden));
        }
    }
    Ok(problems)
}

fn check_text(file: &Path, text: &str, forbidden: &[(&str, &str)]) -> Vec<Problem> {
    let hits = text.lines().enumerate().flat_map(|(index, line)| {
        forbidden
            .iter()
            .filter(move |(word, _)| line.contains(word))
            .map(move |(word, cure)| {
                Problem::new(
                    file,
                    index + 1,
                    format!("`{word}` is not for this house"),
                    *cure,
                )
            })
    });
    hits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_forbidden_word_is_found_on_its_line() {
        for forbidden in [FORBIDDEN, FORBIDDEN_IN_PYTHON] {
            for (word, _) in forbidden {
                let text = format!("fine\n    {word}\n");
                let problems = check_text(Path::new("a"), &text, &forbidden);
                assert_eq!(problems.len(), 1, "{word}");
                assert_eq!(problems[0].line, 2, "{word}");
            }
        }
    }

    #[test]
    fn ordinary_code_passes() {
        assert_eq!(
            check_text(
                Path::new("a.rs"),
                "let dbg = todo(); // ignore\n",
                &FORBIDDEN
            ),
            []
        );
    }
}
