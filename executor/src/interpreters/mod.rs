//! Which Python runs a flow: one that is configured, one that lies beside it, the one in use, or one that we make.

mod inspect;
mod managed;
mod past;
mod said;
mod search;

pub(crate) use search::on_path;
pub use search::{Interpreter, Interpreters, Missing, Origin};
