//! Files in Python can be parsed. What they mean, their tests tell.

use super::problem::Problem;
use super::walk;
use anyhow::Result;
use std::path::Path;

/// Files of tests that are no Python on purpose begin so …
const BROKEN: &str = "broken_";
/// … or lie in a folder of this name.
const REFUSED: &str = "refused";

pub(super) fn check(root: &Path) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for file in walk::files(root, "py")? {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let is_refused = file.parent().is_some_and(|it| it.ends_with(REFUSED));
        if name.starts_with(BROKEN) || is_refused {
            continue;
        }
        problems.extend(check_text(&file, &walk::read(&file)?));
    }
    Ok(problems)
}

fn check_text(file: &Path, text: &str) -> Option<Problem> {
    let error = ruff_python_parser::parse_module(text).err()?;
    let line = text[..error.location.start().into()].matches('\n').count() + 1;
    Some(Problem::new(
        file,
        line,
        format!("this is not Python: {}", error.error),
        format!("mend it, or name it {BROKEN}… when a test needs it so"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_does_not_parse_is_found_with_its_line() {
        let text = "def fine():\n    pass\n\n\ndef broken(:\n";
        let problem = check_text(Path::new("a.py"), text).expect("it is broken");
        assert_eq!(problem.line, 5);
        assert!(
            problem.what.contains("this is not Python"),
            "{}",
            problem.what
        );
    }

    #[test]
    fn ordinary_python_passes() {
        let text = "async def f(x: int) -> str:\n    match x:\n        case 1: return f'{x!r}'\n";
        assert_eq!(check_text(Path::new("a.py"), text), None);
    }
}
