//! The guard as a whole, on a clock that tests move.

mod clock;
mod degraded;
mod isolation;
mod windows;
