//! The table that people read, in Markdown.

use crate::figure::Figure;

const HEAD: [&str; 9] = [
    "",
    "figure",
    "measured",
    "limit",
    "ratio",
    "aim",
    "reached",
    "fsync p50",
    "load",
];

/// All figures as a Markdown table that is aligned as text, too.
pub(crate) fn render(figures: &[Figure]) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(figures.iter().map(row));
    let mut widths = [0; HEAD.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String; HEAD.len()]| {
        let cells = cells.iter().zip(widths);
        let padded = cells.map(|(cell, width)| format!("{cell:width$}"));
        format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
    };
    let mut text = line(&rows[0]);
    text.push_str(&line(&widths.map(|width| "-".repeat(width.max(3)))));
    rows[1..].iter().for_each(|row| text.push_str(&line(row)));
    text
}

/// What explains the figures, a line each.
pub(crate) fn details(figures: &[Figure]) -> String {
    let with_more = figures.iter().filter(|it| !it.more.is_empty());
    let lines = with_more.map(|figure| {
        let more = figure.more.iter();
        let more = more.map(|(name, value)| format!("{name} {}", number(*value)));
        let more = more.collect::<Vec<_>>().join(", ");
        format!("({}) {}: {more}\n", figure.id, figure.name)
    });
    lines.collect()
}

fn row(figure: &Figure) -> [String; HEAD.len()] {
    let limit = figure.limit.as_ref();
    let limit = limit.map(|it| format!("{} {} ({})", number(it.value), figure.unit, it.name));
    [
        format!("({})", figure.id),
        figure.name.clone(),
        format!("{} {}", number(figure.value), figure.unit),
        limit.unwrap_or_default(),
        figure.ratio.map(number).unwrap_or_default(),
        figure.aim.text(&figure.unit),
        match figure.reached {
            Some(true) => "yes".to_owned(),
            Some(false) => "no".to_owned(),
            None => String::new(),
        },
        format!("{} ms", number(figure.fsync_p50_us / 1_000.0)),
        number(figure.load),
    ]
}

/// Three significant digits; thousands apart.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 1_000.0 {
        let digits = format!("{value:.0}");
        let mut text = String::new();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) && !text.ends_with('-') {
                text.push(' ');
            }
            text.push(digit);
        }
        return text;
    }
    let places = match size {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        0.1.. => 3,
        _ => 4,
    };
    let text = format!("{value:.places$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.5, "0.5"),
            (0.123_45, "0.123"),
            (1.5, "1.5"),
            (23.45, "23.4"),
            (999.4, "999"),
            (100.0, "100"),
            (40_000.0, "40 000"),
            (1_234_567.0, "1 234 567"),
            (-1_234.0, "-1 234"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_figure_without_limit_leaves_its_cells_empty() {
        let table = render(&[Figure::new("i", "idle", 12.0, "MiB").judged(150.0)]);
        let line = table.lines().last().unwrap_or_default();
        assert!(line.contains("| 12 MiB "), "{table}");
        assert!(line.contains("0.15 ms"), "{table}");
    }
}
