//! Running a flow file to learn what reading it cannot tell, with as little right as the machine allows.

mod judge;
mod powerless;
mod read_only;
mod run;
pub mod sandbox;

pub use judge::ProbeError;
pub use run::{Held, ProbeOptions, Probed, Prober};
