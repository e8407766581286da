//! Gives boxes of known sizes a place, left to right: by dagre, or in plain columns when there are too many.

use dagre::graph::{Graph, GraphOptions};
use dagre::{EdgeLabel, LayoutOptions, NodeLabel, RankDir};

/// More boxes than this in one scope are put into columns: dagre takes 0.7 s for 500 boxes (measured) and
/// grows with the square.
pub(super) const DAGRE_MAX: usize = 250;

const BETWEEN_ROWS: f64 = 22.0;
const BETWEEN_COLUMNS: f64 = 60.0;

/// A box: top left corner and size.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Area {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

#[derive(Debug, Default)]
pub(super) struct Placed {
    pub(super) areas: Vec<Area>,
    /// Per edge: the points its line goes through, from side to side.
    pub(super) paths: Vec<Vec<(f64, f64)>>,
}

/// Places boxes so that every edge goes from left to right.
pub(super) fn place(sizes: &[(f64, f64)], edges: &[(usize, usize)]) -> Placed {
    let (areas, inner) = if sizes.len() > DAGRE_MAX {
        (in_columns(sizes, edges), vec![Vec::new(); edges.len()])
    } else {
        by_dagre(sizes, edges)
    };
    let paths = edges
        .iter()
        .zip(inner)
        .map(|(&(from, to), inner)| through(&areas, from, to, &inner))
        .collect();
    Placed { areas, paths }
}

/// From the middle of the right side to the middle of the left side. A box that is narrower than its column
/// is left level to the column's edge, so that no line crosses a wide neighbour.
fn through(areas: &[Area], from: usize, to: usize, inner: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let (a, b) = (&areas[from], &areas[to]);
    let column = |of: &Area| {
        let middle = of.x + of.width / 2.0;
        let same = move |it: &&Area| (it.x + it.width / 2.0 - middle).abs() < 1.0;
        let left = areas.iter().filter(same).map(|it| it.x);
        let right = areas.iter().filter(same).map(|it| it.x + it.width);
        (
            left.fold(f64::INFINITY, f64::min),
            right.fold(f64::NEG_INFINITY, f64::max),
        )
    };
    let start = (a.x + a.width, a.y + a.height / 2.0);
    let end = (b.x, b.y + b.height / 2.0);
    let (leave, arrive) = (column(a).1, column(b).0);
    let mut points = vec![start];
    if leave > start.0 + 1.0 && leave < arrive {
        points.push((leave, start.1));
    }
    // An edge to the next column is one curve; dagre's points matter where it passes other boxes.
    if inner.len() > 1 {
        let between = |it: &&(f64, f64)| it.0 > leave + 1.0 && it.0 < arrive - 1.0;
        points.extend(inner.iter().filter(between));
    }
    if arrive < end.0 - 1.0 && leave < arrive {
        points.push((arrive, end.1));
    }
    points.push(end);
    points
}

type Points = Vec<(f64, f64)>;

fn by_dagre(sizes: &[(f64, f64)], edges: &[(usize, usize)]) -> (Vec<Area>, Vec<Points>) {
    let mut graph = Graph::with_options(GraphOptions {
        directed: true,
        multigraph: false,
        compound: false,
    });
    let name = |index: usize| index.to_string();
    for (index, &(width, height)) in sizes.iter().enumerate() {
        let label = NodeLabel {
            width,
            height,
            ..NodeLabel::default()
        };
        graph.set_node(name(index), Some(label));
    }
    for &(from, to) in edges {
        graph.set_edge(
            name(from).as_str(),
            name(to).as_str(),
            Some(EdgeLabel::default()),
            None,
        );
    }
    let options = LayoutOptions {
        rankdir: RankDir::LR,
        nodesep: BETWEEN_ROWS,
        ranksep: BETWEEN_COLUMNS,
        edgesep: 14.0,
        ..LayoutOptions::default()
    };
    dagre::layout(&mut graph, Some(options));

    let mut areas: Vec<Area> = sizes
        .iter()
        .enumerate()
        .map(|(index, &(width, height))| {
            let label = graph.node(&name(index));
            let middle = |it: Option<f64>| it.unwrap_or_default();
            Area {
                x: middle(label.and_then(|it| it.x)) - width / 2.0,
                y: middle(label.and_then(|it| it.y)) - height / 2.0,
                width,
                height,
            }
        })
        .collect();
    let left = areas.iter().map(|it| it.x).fold(f64::INFINITY, f64::min);
    let top = areas.iter().map(|it| it.y).fold(f64::INFINITY, f64::min);
    for area in &mut areas {
        area.x -= left;
        area.y -= top;
    }
    let inner = edges
        .iter()
        .map(|&(from, to)| {
            let points = graph.edge(&name(from), &name(to), None);
            let points = points.map_or(&[][..], |it| it.points.as_slice());
            let inner = points.get(1..points.len().saturating_sub(1)).unwrap_or(&[]);
            inner.iter().map(|it| (it.x - left, it.y - top)).collect()
        })
        .collect();
    (areas, inner)
}

/// Each box one column right of the last it comes after; rows in the given order.
fn in_columns(sizes: &[(f64, f64)], edges: &[(usize, usize)]) -> Vec<Area> {
    let mut after = vec![Vec::new(); sizes.len()];
    let mut open = vec![0_usize; sizes.len()];
    for &(from, to) in edges {
        after[from].push(to);
        open[to] += 1;
    }
    let mut ranks = vec![0_usize; sizes.len()];
    let mut ready: Vec<usize> = (0..sizes.len()).filter(|&it| open[it] == 0).collect();
    while let Some(index) = ready.pop() {
        for &next in &after[index] {
            ranks[next] = ranks[next].max(ranks[index] + 1);
            open[next] -= 1;
            if open[next] == 0 {
                ready.push(next);
            }
        }
    }
    let columns = ranks.iter().max().map_or(0, |it| it + 1);
    let mut widths = vec![0.0_f64; columns];
    for (&rank, size) in ranks.iter().zip(sizes) {
        widths[rank] = widths[rank].max(size.0);
    }
    let mut lefts = vec![0.0_f64; columns];
    for rank in 1..columns {
        lefts[rank] = lefts[rank - 1] + widths[rank - 1] + BETWEEN_COLUMNS;
    }
    let mut tops = vec![0.0_f64; columns];
    sizes
        .iter()
        .zip(&ranks)
        .map(|(&(width, height), &rank)| {
            let y = tops[rank];
            tops[rank] += height + BETWEEN_ROWS;
            Area {
                x: lefts[rank] + (widths[rank] - width) / 2.0,
                y,
                width,
                height,
            }
        })
        .collect()
}
