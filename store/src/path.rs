//! Index paths in a form that sorts as text, which both databases need for pages in order.

use crate::error::Error;
use dalsegno_scheduler::Path;

/// Each index gets one `~` before it for each digit after its first: `9` < `~10` < `~~100`, because
/// `~` comes after the digits and `.` before them.
pub(crate) fn sortable(path: &Path) -> String {
    let mut text = String::new();
    for (place, index) in path.as_slice().iter().enumerate() {
        if place > 0 {
            text.push('.');
        }
        let digits = index.to_string();
        text.extend(std::iter::repeat_n('~', digits.len() - 1));
        text.push_str(&digits);
    }
    text
}

pub(crate) fn parse(text: &str) -> Result<Path, Error> {
    let plain: String = text.chars().filter(|it| *it != '~').collect();
    plain.parse().map_err(|_| Error::Corrupt {
        place: "a task's path",
        expected: "an index path",
        value: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_sort_as_text_as_they_sort_as_numbers() {
        let indexes = [0, 1, 9, 10, 11, 99, 100, 1_000, 99_999, 100_000, u32::MAX];
        let mut paths = vec![Path::ROOT];
        for &outer in &indexes {
            paths.push(Path::ROOT.child(outer));
            paths.extend(
                indexes
                    .iter()
                    .map(|&inner| Path::ROOT.child(outer).child(inner)),
            );
        }
        let mut by_text = paths.clone();
        by_text.sort_by_key(sortable);
        paths.sort_by(|a, b| a.as_slice().cmp(b.as_slice()));
        assert_eq!(by_text, paths);
        for path in paths {
            assert_eq!(parse(&sortable(&path)).expect("valid"), path);
        }
    }
}
