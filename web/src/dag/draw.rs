//! The graph as SVG text. Colours and fonts are in the stylesheet; a run changes classes only.

use super::layout::{CARD_HEIGHT, CARD_WIDTH, Card, Layout};
use super::shape::Mark;
use crate::text::{escape, shorten};
use std::fmt::Write as _;

/// A graph is not drawn smaller than that; then it scrolls.
const LEAST_SCALE: f64 = 0.68;

/// How one card or frame looks now.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// A state word: the class, and the icon `#i-STATE`.
    pub state: &'static str,
    /// The second line: what it does, or how it stands.
    pub line: String,
    /// Where a click leads.
    pub link: Option<String>,
    /// Parts of the progress bar: state and share of 1000. Empty: no bar.
    pub parts: Vec<(&'static str, u32)>,
    pub selected: bool,
    /// The run that the card's step has started: address and words.
    pub child: Option<(String, String)>,
}

/// Gives each card (by its steps) and each frame (by its name) a look.
pub struct Paint<'a> {
    pub card: &'a dyn Fn(&Card) -> Look,
    pub frame: &'a dyn Fn(&str) -> Look,
}

/// Draws a laid out graph.
pub fn draw(layout: &Layout, paint: &Paint<'_>) -> String {
    let (width, height) = (layout.width, layout.height);
    let looks: Vec<(String, Look)> = layout
        .cards
        .iter()
        .map(|it| (it.steps[0].to_string(), (paint.card)(it)))
        .chain(layout.frames.iter().map(|it| {
            let name = it.name.as_str();
            (format!("block {name}"), (paint.frame)(name))
        }))
        .collect();
    let state = |id: &str| {
        let found = looks.iter().find(|(name, _)| name == id);
        found.map_or("none", |(_, look)| look.state)
    };

    let mut svg = String::new();
    // Holds the graph's place open, so that it shrinks to what there is room for, but never below reading size.
    let _ = write!(
        svg,
        r#"<svg class="least" width="{:.0}" height="0" aria-hidden="true"></svg>"#,
        width * LEAST_SCALE
    );
    let _ = write!(
        svg,
        r#"<svg class="dag" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {height:.0}" width="{width:.0}" height="{height:.0}" role="img" aria-label="graph of the steps">"#
    );
    let framed = looks.iter().skip(layout.cards.len());
    for (frame, (_, look)) in layout.frames.iter().zip(framed) {
        let name = escape(&frame.title);
        let line = escape(&look.line);
        let _ = write!(
            svg,
            r#"<g class="frame s-{}"><rect x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}" rx="12"/><text class="t" x="{:.1}" y="{:.1}">{name}<tspan class="k" dx="8">{line}</tspan></text></g>"#,
            look.state,
            frame.x,
            frame.y,
            frame.width,
            frame.height,
            frame.x + 16.0,
            frame.y + 22.0,
        );
    }
    for edge in &layout.edges {
        let class = edge_class(state(&edge.from), state(&edge.to));
        let choice = if edge.choice { " choice" } else { "" };
        let (from, to) = (escape(&edge.from), escape(&edge.to));
        let _ = write!(
            svg,
            r#"<path class="edge{class}{choice}" data-from="{from}" data-to="{to}" d="{}"/>"#,
            edge.path
        );
    }
    if let Some((x, y)) = layout.hooks {
        let _ = write!(
            svg,
            r#"<path class="line" d="M{x:.1},{:.1} H{:.1}"/><text class="k" x="{x:.1}" y="{y:.1}">when the run is over</text>"#,
            y - 18.0,
            layout.width - x
        );
    }
    for (card, (id, look)) in layout.cards.iter().zip(&looks) {
        draw_card(&mut svg, card, id, look);
    }
    svg.push_str("</svg>");
    svg
}

/// Where data flows now, where it has flowed, and where it never will.
fn edge_class(from: &str, to: &str) -> &'static str {
    match (from, to) {
        ("skipped", _) => " dead",
        (_, "running" | "submitting" | "stopping" | "open") => " hot",
        (_, "skipped") | ("failed" | "cancelled", "none") => " dead",
        (
            "succeeded" | "caught" | "closed",
            "succeeded" | "caught" | "closed" | "failed" | "backing_off" | "ready",
        ) => " done",
        _ => "",
    }
}

fn draw_card(svg: &mut String, card: &Card, id: &str, look: &Look) {
    let (x, y) = (card.x, card.y);
    let name = match card.steps.as_slice() {
        [one] => one.to_string(),
        many => format!("{} … {} more", many[0], many.len() - 1),
    };
    let title = match card.steps.as_slice() {
        [one] => format!("{one}: {}", look.line),
        many => {
            let names: Vec<_> = many.iter().map(ToString::to_string).collect();
            format!("{}: {}", names.join(", "), look.line)
        }
    };
    let stack = card.each || card.steps.len() > 1;
    let selected = if look.selected { " selected" } else { "" };
    let open = match &look.link {
        Some(link) => format!(r#"<a href="{}" data-swap="">"#, escape(link)),
        None => String::new(),
    };
    let _ = write!(
        svg,
        r#"{open}<g class="card s-{}{selected}" data-step="{}"><title>{}</title>"#,
        look.state,
        escape(id),
        escape(&title)
    );
    for depth in [2.0, 1.0] {
        if stack {
            let shift = depth * 3.5;
            let _ = write!(
                svg,
                r#"<rect class="back" x="{:.1}" y="{:.1}" width="{CARD_WIDTH}" height="{CARD_HEIGHT}" rx="9"/>"#,
                x + shift,
                y + shift
            );
        }
    }
    let _ = write!(
        svg,
        r#"<rect class="face" x="{x:.1}" y="{y:.1}" width="{CARD_WIDTH}" height="{CARD_HEIGHT}" rx="9"/><path class="stripe" d="M{:.1},{:.1} a9,9 0 0 0 -5,8.1 v{:.1} a9,9 0 0 0 5,8.1 z"/>"#,
        x + 5.5,
        y + 0.9,
        CARD_HEIGHT - 18.0,
    );
    let _ = write!(
        svg,
        r##"<text class="t" x="{:.1}" y="{:.1}">{}</text><text class="k" x="{:.1}" y="{:.1}">{}</text><use class="icon" href="#i-{}" x="{:.1}" y="{:.1}" width="18" height="18"/>"##,
        x + 17.0,
        y + 20.5,
        escape(&shorten(&name, 21)),
        x + 17.0,
        y + 36.5,
        escape(&shorten(&look.line, 24)),
        look.state,
        x + CARD_WIDTH - 29.0,
        y + (CARD_HEIGHT - 18.0) / 2.0,
    );
    draw_mark(svg, card.mark, x, y);
    draw_progress(
        svg,
        x + 17.0,
        y + CARD_HEIGHT - 6.5,
        CARD_WIDTH - 34.0,
        &look.parts,
    );
    svg.push_str("</g>");
    if look.link.is_some() {
        svg.push_str("</a>");
    }
    if let Some((href, text)) = &look.child {
        // Beside the card's own link, for links do not nest.
        let _ = write!(
            svg,
            r#"<a class="child" href="{}"><title>{1}</title><text class="k" x="{2:.1}" y="{3:.1}" text-anchor="end">{1} ↗</text></a>"#,
            escape(href),
            escape(text),
            x + CARD_WIDTH - 36.0,
            y + 36.5,
        );
    }
}

/// Signs at the rim of a card: a switch's rhombus, a way back to itself, a gang's workers.
fn draw_mark(svg: &mut String, mark: Mark, x: f64, y: f64) {
    let (right, middle) = (x + CARD_WIDTH, y + CARD_HEIGHT / 2.0);
    if mark.again {
        let _ = write!(
            svg,
            r#"<g class="again"><title>may come again</title><path class="edge" d="M{:.1},{y:.1} C{:.1},{:.1} {:.1},{:.1} {:.1},{:.1}"/><path class="tip" d="M{:.1},{:.1} l-4.5,-7 h9 z"/></g>"#,
            right - 26.0,
            right - 26.0,
            y - 20.0,
            right - 70.0,
            y - 20.0,
            right - 70.0,
            y - 5.0,
            right - 70.0,
            y + 0.5,
        );
    }
    if mark.switch {
        let _ = write!(
            svg,
            r#"<path class="choice" d="M{:.1},{middle:.1} l7,-7 l7,7 l-7,7 z"><title>one way is chosen</title></path>"#,
            right - 7.0
        );
    }
    if mark.gang {
        let (left, top) = (right - 64.0, y + 10.5);
        let _ = write!(
            svg,
            r#"<g class="gang"><title>a gang: its tasks run at the same time and know each other</title><circle cx="{left:.1}" cy="{top:.1}" r="3"/><circle cx="{:.1}" cy="{top:.1}" r="3"/><circle cx="{:.1}" cy="{top:.1}" r="3"/><path d="M{left:.1},{top:.1} h22"/></g>"#,
            left + 11.0,
            left + 22.0,
        );
    }
}

fn draw_progress(svg: &mut String, x: f64, y: f64, width: f64, parts: &[(&'static str, u32)]) {
    if parts.is_empty() {
        return;
    }
    let _ = write!(
        svg,
        r#"<rect class="track" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="3" rx="1.5"/>"#
    );
    let mut from = x;
    for &(state, share) in parts {
        let part = width * f64::from(share) / 1000.0;
        let _ = write!(
            svg,
            r#"<rect class="part s-{state}" x="{from:.1}" y="{y:.1}" width="{part:.1}" height="3" rx="1.5"/>"#
        );
        from += part;
    }
}
