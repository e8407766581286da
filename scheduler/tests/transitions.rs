//! The transition tables, as text and as the diagrams of `docs/states.md`: neither can lie.

use dalsegno_scheduler::row::{
    BackfillItemState, BackfillState, OccurrenceState, RunState, ScopeState, TaskState,
};
use std::fmt::{Display, Write as _};

/// One table: its states, and which may follow which.
struct Table {
    name: &'static str,
    states: Vec<String>,
    allowed: Vec<Vec<bool>>,
    terminal: Vec<bool>,
}

impl Table {
    fn new<S: Copy + Display>(
        name: &'static str,
        all: &[S],
        may_become: impl Fn(S, S) -> bool,
        terminal: impl Fn(S) -> bool,
    ) -> Self {
        let row = |from: &S| all.iter().map(|to| may_become(*from, *to)).collect();
        Self {
            name,
            states: all.iter().map(ToString::to_string).collect(),
            allowed: all.iter().map(row).collect(),
            terminal: all.iter().map(|it| terminal(*it)).collect(),
        }
    }

    /// One line for each state, one column for each that may follow; `—` where it may not.
    fn text(&self) -> String {
        let width = self.states.iter().map(String::len).max().unwrap_or(0) + 3;
        let mut text = format!("{:width$}", self.name);
        for (number, _) in self.states.iter().enumerate() {
            write!(text, " {number:>2}").expect("a string grows");
        }
        for (number, (state, row)) in self.states.iter().zip(&self.allowed).enumerate() {
            let label = format!("{number} {state}");
            write!(text, "\n{label:<0$}", width).expect("a string grows");
            for allowed in row {
                write!(text, "  {}", if *allowed { '→' } else { '—' }).expect("a string grows");
            }
        }
        text
    }

    fn diagram(&self) -> String {
        let mut text = String::from("```mermaid\nstateDiagram-v2\n");
        for (from, row) in self.states.iter().zip(&self.allowed) {
            for (to, _) in self.states.iter().zip(row).filter(|(_, allowed)| **allowed) {
                writeln!(text, "    {from} --> {to}").expect("a string grows");
            }
        }
        for (state, _) in self.states.iter().zip(&self.terminal).filter(|it| *it.1) {
            writeln!(text, "    {state} --> [*]").expect("a string grows");
        }
        text + "```"
    }
}

fn tables() -> Vec<Table> {
    vec![
        Table::new(
            "run",
            RunState::ALL,
            RunState::may_become,
            RunState::is_terminal,
        ),
        Table::new(
            "task",
            TaskState::ALL,
            TaskState::may_become,
            TaskState::is_terminal,
        ),
        Table::new("scope", ScopeState::ALL, ScopeState::may_become, |it| {
            !matches!(it, ScopeState::Waiting | ScopeState::Open)
        }),
        Table::new(
            "occurrence",
            OccurrenceState::ALL,
            OccurrenceState::may_become,
            |it| it != OccurrenceState::Expected,
        ),
        Table::new(
            "backfill",
            BackfillState::ALL,
            BackfillState::may_become,
            |it| matches!(it, BackfillState::Cancelled | BackfillState::Finished),
        ),
        Table::new(
            "backfill_item",
            BackfillItemState::ALL,
            BackfillItemState::may_become,
            |it| !matches!(it, BackfillItemState::Waiting | BackfillItemState::Running),
        ),
    ]
}

#[test]
fn which_state_may_follow_which() {
    let texts: Vec<String> = tables().iter().map(Table::text).collect();
    insta::assert_snapshot!(texts.join("\n\n"), @r"
    run            0  1  2  3  4  5  6
    0 queued       —  →  —  —  —  →  —
    1 running      —  —  →  →  →  —  —
    2 cancelling   —  —  —  —  →  →  →
    3 succeeded    →  —  —  —  —  —  —
    4 failed       →  —  —  —  —  —  —
    5 cancelled    →  —  —  —  —  —  —
    6 timed_out    →  —  —  —  —  —  —

    task            0  1  2  3  4  5  6  7  8  9 10
    0 waiting       —  →  —  —  —  —  —  —  —  →  →
    1 ready         —  —  →  —  —  —  —  →  →  →  —
    2 submitting    —  —  —  →  →  →  →  →  →  →  —
    3 running       —  —  —  —  →  →  →  →  →  →  —
    4 backing_off   —  →  —  —  —  —  —  —  —  →  —
    5 stopping      —  —  —  —  →  —  →  →  →  →  —
    6 succeeded     →  —  —  —  —  —  —  —  —  —  —
    7 caught        →  —  —  —  —  —  —  —  —  —  —
    8 failed        →  —  —  —  —  —  —  —  —  —  —
    9 cancelled     →  —  —  —  —  —  —  —  —  —  —
    10 skipped      →  —  —  —  —  —  —  —  —  —  —

    scope       0  1  2  3  4
    0 waiting   —  →  —  →  →
    1 open      →  →  →  —  —
    2 closed    →  →  —  —  —
    3 skipped   →  —  —  —  —
    4 failed    →  —  —  —  —

    occurrence    0  1  2  3  4
    0 expected    →  →  →  →  →
    1 ran         —  —  →  —  —
    2 coalesced   —  —  —  —  —
    3 skipped     →  —  —  —  —
    4 missed      —  —  —  —  —

    backfill       0  1  2  3  4
    0 running      —  →  →  —  →
    1 paused       →  —  →  —  →
    2 cancelling   —  —  —  →  —
    3 cancelled    —  —  —  —  —
    4 finished     —  —  —  —  —

    backfill_item  0  1  2  3  4
    0 waiting     —  →  —  →  →
    1 running     —  —  →  →  —
    2 succeeded   —  →  —  —  —
    3 failed      —  →  —  —  —
    4 skipped     →  —  —  —  —
    ");
}

#[test]
fn what_is_finished_goes_on_only_by_a_resume() {
    for from in RunState::ALL.iter().filter(|it| it.is_terminal()) {
        let next: Vec<_> = RunState::ALL
            .iter()
            .filter(|to| from.may_become(**to))
            .collect();
        assert_eq!(next, [&RunState::Queued]);
    }
    for from in TaskState::ALL.iter().filter(|it| it.is_terminal()) {
        let next: Vec<_> = TaskState::ALL
            .iter()
            .filter(|to| from.may_become(**to))
            .collect();
        assert_eq!(next, [&TaskState::Waiting]);
    }
}

#[test]
fn the_diagrams_in_the_documents_are_those_of_the_code() {
    let mut page = String::from(
        "# States\n\nWhat may follow what. These diagrams are written by \
         `scheduler/tests/transitions.rs` and checked by it.\nFinished runs and tasks go on only \
         by a resume.\n",
    );
    for table in tables() {
        write!(page, "\n## {}\n\n{}\n", table.name, table.diagram()).expect("a string grows");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/states.md");
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(path, &page).expect("docs/states.md can be written");
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == page,
        "docs/states.md is out of date: run `WRITE_DOCS=1 cargo test -p dalsegno-scheduler --test transitions`"
    );
}
