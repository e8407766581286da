//! The line of an edge: curves that leave and arrive level.

use std::fmt::Write as _;

/// SVG path data through these points: level runs stay straight, all else bends with level ends.
pub(super) fn route(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    let Some(&(x, y)) = points.first() else {
        return path;
    };
    let _ = write!(path, "M{x:.1},{y:.1}");
    for pair in points.windows(2) {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        let _ = if (y0 - y1).abs() < 0.5 {
            write!(path, " H{x1:.1}")
        } else {
            let middle = (x0 + x1) / 2.0;
            write!(
                path,
                " C{middle:.1},{y0:.1} {middle:.1},{y1:.1} {x1:.1},{y1:.1}"
            )
        };
    }
    path
}
