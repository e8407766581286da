//! The flow's graph as SVG: shape (what belongs together), layout (where it stands), drawing (how it looks).
//!
//! The layout depends on the flow version alone, so nodes never jump while a run goes on.

mod draw;
mod edge;
mod layout;
mod place;
mod shape;

pub use draw::{Look, Paint, draw};
pub use layout::{Card, Edge, Frame, Layout};
pub use shape::Mark;
