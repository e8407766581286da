//! AWS Step Functions: a run is one execution.

pub mod asl;
mod compiled;
pub mod history;
pub mod input;
pub mod jobs;
mod machine;
mod mirror;
pub mod resume;
mod start;

pub use mirror::StepFunctions;
pub use start::{Prepared, preflight, prepare};

/// The error with which an execution ends whose steps failed one by one.
pub const STEPS_FAILED: &str = "Dalsegno.StepsFailed";

/// The error with which an execution ends because of one step.
pub const STEP_FAILED: &str = "Dalsegno.StepFailed";
