//! Tables without lines, which give up columns before they break words.

use super::screen::Screen;
use super::tone::Tone;
use comfy_table::{Cell, ColumnConstraint, ContentArrangement, Table, presets};

/// Between columns.
const GAP: u16 = 2;

/// A heading, and what happens to its column where there is no room.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    /// Always there, in one line.
    Firm(&'static str),
    /// Broken into lines.
    Soft(&'static str),
    /// Left out, the last one first.
    Extra(&'static str),
}

/// The text of a member; nothing where it has none.
pub(super) fn text<'a>(it: &'a serde_json::Value, name: &str) -> &'a str {
    it[name].as_str().unwrap_or_default()
}

/// Rows below their headings, no wider than a person's screen. Columns with nothing in them are left out.
pub(crate) fn table(screen: &Screen, columns: &[Column], rows: Vec<Vec<Cell>>) -> String {
    let is_filled = |at: usize| {
        rows.iter()
            .any(|row| row.get(at).is_some_and(|it| !it.content().is_empty()))
    };
    let mut kept: Vec<usize> = (0..columns.len()).filter(|at| is_filled(*at)).collect();
    loop {
        let mut table = draft(columns, &rows, &kept);
        let widths = table.column_max_content_widths();
        let fits = widths.iter().map(|it| usize::from(it + GAP)).sum::<usize>()
            <= screen.width + usize::from(GAP);
        let extra = kept
            .iter()
            .rposition(|at| matches!(columns[*at], Column::Extra(_)));
        match extra {
            Some(extra) if !fits => {
                kept.remove(extra);
            }
            _ => {
                if !fits {
                    squeeze(&mut table, screen, columns, &kept);
                }
                return render(&table);
            }
        }
    }
}

fn draft(columns: &[Column], rows: &[Vec<Cell>], kept: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).enforce_styling();
    table.style_text_only();
    let heading = |at: &usize| match columns[*at] {
        Column::Firm(name) | Column::Soft(name) | Column::Extra(name) => {
            Tone::Quiet.cell(name.to_uppercase())
        }
    };
    table.set_header(kept.iter().map(heading).collect::<Vec<_>>());
    table.add_rows(rows.iter().map(|row| {
        kept.iter()
            .filter_map(|at| row.get(*at).cloned())
            .collect::<Vec<_>>()
    }));
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    table
}

fn squeeze(table: &mut Table, screen: &Screen, columns: &[Column], kept: &[usize]) {
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(screen.width).unwrap_or(u16::MAX));
    for (column, at) in table.column_iter_mut().zip(kept) {
        if matches!(columns[*at], Column::Firm(_)) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
}

fn render(table: &Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
