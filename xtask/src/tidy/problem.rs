//! What a check says: where, what, and the cure.

use std::path::{Path, PathBuf};

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    pub(crate) file: PathBuf,
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) what: String,
    pub(crate) cure: String,
}

impl Problem {
    pub(crate) fn new(
        file: &Path,
        line: usize,
        what: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            file: file.to_owned(),
            line,
            what: what.into(),
            cure: cure.into(),
        }
    }

    /// As a person reads it, with the path as seen from `root`.
    pub(crate) fn below(&self, root: &Path) -> String {
        let file = self.file.strip_prefix(root).unwrap_or(&self.file);
        format!(
            "{}:{}: {}\n    cure: {}",
            file.display(),
            self.line,
            self.what,
            self.cure
        )
    }
}

/// The number of the first line of `text` for which `is` holds, else 1.
pub(crate) fn line_where(text: &str, is: impl Fn(&str) -> bool) -> usize {
    text.lines().position(is).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_where_what_and_the_cure() {
        let problem = Problem::new(Path::new("/a/b/c.rs"), 7, "it is wrong", "right it");
        assert_eq!(
            problem.below(Path::new("/a")),
            "b/c.rs:7: it is wrong\n    cure: right it"
        );
    }
}
