//! Damaged files never panic: whatever happens to a good file, there is a flow or a finding.

use dalsegno_flowfile::parse;
use proptest::prelude::*;
use std::time::{Duration, Instant};

const FILES: [&str; 4] = [
    include_str!("complete.yaml"),
    include_str!("../../flows/ingest_orders.yaml"),
    include_str!("../../flows/nested_grid.yaml"),
    include_str!("../../flows/morning_brief.yaml"),
];

/// Pieces that mean something to YAML, to expressions or to the reader.
const PIECES: [&str; 40] = [
    "\n",
    "\t",
    "  ",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "|",
    ">",
    "#",
    "&a ",
    "*a",
    "<<: *a",
    "!!str ",
    "---\n",
    "~",
    "-1",
    "1e999",
    ".nan",
    "0x",
    "${{",
    "}}",
    "params.",
    "steps.",
    "[0]",
    "(",
    "foreach: ",
    "steps: ",
    "after: ",
    "flow: ",
    "µ",
    "\u{feff}",
    "\u{0}",
    "99999999999999999999d",
    "🎼",
    "\r",
];

#[derive(Clone, Debug)]
enum Change {
    Insert(prop::sample::Index, usize),
    Remove(prop::sample::Index, usize),
    Double(prop::sample::Index, usize),
    Swap(prop::sample::Index, prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), 0..PIECES.len()).prop_map(|(at, piece)| Change::Insert(at, piece)),
        (at(), 1..40usize).prop_map(|(at, length)| Change::Remove(at, length)),
        (at(), 1..80usize).prop_map(|(at, length)| Change::Double(at, length)),
        (at(), at()).prop_map(|(a, b)| Change::Swap(a, b)),
    ]
}

fn apply(text: &str, change: &Change) -> String {
    let mut signs: Vec<char> = text.chars().collect();
    if signs.is_empty() {
        return String::new();
    }
    let end = |at: usize, length: usize| (at + length).min(signs.len());
    match change {
        Change::Insert(at, piece) => {
            let at = at.index(signs.len());
            signs.splice(at..at, PIECES[*piece].chars());
        }
        Change::Remove(at, length) => {
            let at = at.index(signs.len());
            signs.drain(at..end(at, *length));
        }
        Change::Double(at, length) => {
            let at = at.index(signs.len());
            let part = signs[at..end(at, *length)].to_vec();
            signs.splice(at..at, part);
        }
        Change::Swap(a, b) => {
            let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
            let (a, b) = (a.index(lines.len()), b.index(lines.len()));
            lines.swap(a, b);
            return lines.concat();
        }
    }
    signs.into_iter().collect()
}

#[test]
fn a_damaged_file_gives_a_flow_or_findings_with_places() {
    let start = Instant::now();
    let cases = (0..FILES.len(), prop::collection::vec(change(), 1..6));
    let config = ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |((file, changes) in cases)| {
        // The bound on time, not on cases, keeps slow machines patient.
        if start.elapsed() < Duration::from_secs(2) {
            let text = changes.iter().fold(FILES[file].to_owned(), |text, it| apply(&text, it));
            if let Err(found) = parse("flow.yaml", &text) {
                prop_assert!(found.has_errors());
                let lines = text.lines().count();
                for it in &found {
                    prop_assert!(it.line >= 1 && it.line <= lines + 1 && it.column >= 1, "{:?}", it);
                    prop_assert!(it.help.is_some(), "{:?}", it);
                }
                prop_assert!(!found.render(true).is_empty());
            }
        }
    });
}
