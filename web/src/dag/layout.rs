//! Where everything of a graph stands.

use super::edge::route;
use super::place::{Area, place};
use super::shape::{Item, Mark, Shape};
use dalsegno_scheduler::{Flow, StepName};

pub(super) const CARD_WIDTH: f64 = 196.0;
pub(super) const CARD_HEIGHT: f64 = 48.0;
/// Room around a frame's inside; the top also holds its name.
const FRAME_PAD: f64 = 16.0;
const FRAME_TOP: f64 = 34.0;
const MARGIN: f64 = 20.0;
/// Between the graph and the hooks below it.
const HOOKS_GAP: f64 = 18.0;

/// A flow's graph with coordinates in pixels. Cached per flow version.
#[derive(Debug, Default)]
pub struct Layout {
    pub width: f64,
    pub height: f64,
    /// In the order of the flow file.
    pub cards: Vec<Card>,
    /// Outer before inner.
    pub frames: Vec<Frame>,
    pub edges: Vec<Edge>,
    /// Where the words above the hooks stand, if there are hooks.
    pub hooks: Option<(f64, f64)>,
}

/// A step, or several parallel ones that stand for each other.
#[derive(Debug)]
pub struct Card {
    pub steps: Vec<StepName>,
    /// One task per item.
    pub each: bool,
    pub mark: Mark,
    pub x: f64,
    pub y: f64,
}

/// A foreach block around its steps.
#[derive(Debug)]
pub struct Frame {
    pub name: StepName,
    /// What people read above it.
    pub title: String,
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

/// A line from the middle of one side to the middle of another.
#[derive(Debug)]
pub struct Edge {
    /// The first step of a card, or `block NAME`.
    pub from: String,
    pub to: String,
    /// Taken only when a switch chooses it.
    pub choice: bool,
    /// SVG path data.
    pub path: String,
}

impl Layout {
    /// Lays out a flow. Takes milliseconds for tens of steps and up to a second for hundreds.
    pub fn of(flow: &Flow) -> Self {
        let mut layout = Self::default();
        let shape = Shape::of(flow);
        let inside = inside(&shape);
        inside.emit(MARGIN, MARGIN, &mut layout);
        layout.width = inside.width + 2.0 * MARGIN;
        layout.height = inside.height + 2.0 * MARGIN;
        layout.put_hooks(Shape::hooks(flow));
        layout
    }

    /// A row of its own below the graph: hooks follow from no step.
    fn put_hooks(&mut self, hooks: Vec<Item>) {
        if hooks.is_empty() {
            return;
        }
        let line = self.height + HOOKS_GAP;
        self.hooks = Some((MARGIN, line));
        let top = line + 14.0;
        for (place, item) in hooks.into_iter().enumerate() {
            let Item::Card { steps, each, mark } = item else {
                continue;
            };
            let x = MARGIN + place as f64 * (CARD_WIDTH + 22.0);
            self.width = self.width.max(x + CARD_WIDTH + MARGIN);
            self.cards.push(Card {
                steps,
                each,
                mark,
                x,
                y: top,
            });
        }
        self.height = top + CARD_HEIGHT + MARGIN;
    }
}

/// One scope laid out, with its own origin.
struct Inside<'a> {
    shape: &'a Shape,
    areas: Vec<Area>,
    frames: Vec<Option<Self>>,
    paths: Vec<Vec<(f64, f64)>>,
    width: f64,
    height: f64,
}

fn inside(shape: &Shape) -> Inside<'_> {
    let frames: Vec<_> = shape
        .items
        .iter()
        .map(|item| match item {
            Item::Card { .. } => None,
            Item::Frame { inside: shape, .. } => Some(inside(shape)),
        })
        .collect();
    let sizes: Vec<_> = frames
        .iter()
        .map(|frame| match frame {
            None => (CARD_WIDTH, CARD_HEIGHT),
            Some(it) => (
                it.width + 2.0 * FRAME_PAD,
                it.height + FRAME_TOP + FRAME_PAD,
            ),
        })
        .collect();
    let placed = place(&sizes, &shape.edges);
    let right = |it: &Area| it.x + it.width;
    let bottom = |it: &Area| it.y + it.height;
    Inside {
        shape,
        width: placed.areas.iter().map(right).fold(0.0, f64::max),
        height: placed.areas.iter().map(bottom).fold(0.0, f64::max),
        areas: placed.areas,
        frames,
        paths: placed.paths,
    }
}

impl Inside<'_> {
    fn emit(&self, dx: f64, dy: f64, layout: &mut Layout) {
        for ((item, area), frame) in self.shape.items.iter().zip(&self.areas).zip(&self.frames) {
            let (x, y) = (area.x + dx, area.y + dy);
            match item {
                Item::Card { steps, each, mark } => layout.cards.push(Card {
                    steps: steps.clone(),
                    each: *each,
                    mark: *mark,
                    x,
                    y,
                }),
                Item::Frame { name, title, .. } => {
                    layout.frames.push(Frame {
                        name: name.clone(),
                        title: title.clone(),
                        x,
                        y,
                        width: area.width,
                        height: area.height,
                    });
                    let frame = frame.as_ref().expect("a frame has an inside");
                    frame.emit(x + FRAME_PAD, y + FRAME_TOP, layout);
                }
            }
        }
        for (&(from, to), points) in self.shape.edges.iter().zip(&self.paths) {
            let points: Vec<_> = points.iter().map(|(x, y)| (x + dx, y + dy)).collect();
            layout.edges.push(Edge {
                from: self.shape.items[from].id(),
                to: self.shape.items[to].id(),
                choice: self.shape.items[from].is_switch(),
                path: route(&points),
            });
        }
    }
}
