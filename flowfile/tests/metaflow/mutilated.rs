//! No text makes the reader panic.

use crate::text::options;
use dalsegno_flowfile::metaflow::read_text;
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

static TEXTS: LazyLock<Vec<(PathBuf, String)>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metaflow/flows");
    let entries = std::fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|it| it.expect("an entry").path());
    let mut texts: Vec<(PathBuf, String)> = paths
        .filter(|it| it.is_file())
        .map(|it| (it.clone(), std::fs::read_to_string(&it).expect("readable")))
        .collect();
    texts.sort();
    texts
});

const PIECES: [&str; 28] = [
    "",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "'",
    "\"",
    "\"\"\"",
    "\\",
    "\n",
    "\n    ",
    ":",
    ",",
    ".",
    "=",
    "**",
    "@",
    "self.next(",
    "@step\n",
    "f'{",
    "\0",
    "é",
    "None",
    "-",
    "lambda: ",
    "class ",
];

#[derive(Clone, Debug)]
enum Change {
    Cut(prop::sample::Index, usize),
    Put(prop::sample::Index, usize),
    Copy(prop::sample::Index, prop::sample::Index, usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<prop::sample::Index>(), 1..40usize).prop_map(|(at, size)| Change::Cut(at, size)),
        (any::<prop::sample::Index>(), 0..PIECES.len()).prop_map(|(at, it)| Change::Put(at, it)),
        (
            any::<prop::sample::Index>(),
            any::<prop::sample::Index>(),
            1..60usize
        )
            .prop_map(|(from, to, size)| Change::Copy(from, to, size)),
    ]
}

fn mutilate(text: &str, changes: &[Change]) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for it in changes {
        let size = letters.len() + 1;
        match it {
            Change::Cut(at, count) => {
                let at = at.index(size);
                let end = (at + count).min(letters.len());
                letters.drain(at..end);
            }
            Change::Put(at, piece) => {
                let at = at.index(size);
                letters.splice(at..at, PIECES[*piece].chars());
            }
            Change::Copy(from, to, count) => {
                let from = from.index(size);
                let end = (from + count).min(letters.len());
                let copied: Vec<char> = letters[from..end].to_vec();
                let to = to.index(size);
                letters.splice(to..to, copied);
            }
        }
    }
    letters.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutilated_flow_is_read_or_refused(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec(change(), 1..6),
    ) {
        let (path, text) = which.get(&TEXTS);
        let text = mutilate(text, &changes);
        match read_text(path, &text, &options()) {
            Ok(file) => prop_assert!(!file.flow.spec().steps.is_empty()),
            Err(found) => {
                prop_assert!(!found.is_empty());
                found.render(false);
            }
        }
    }
}
