//! The lease: who may decide.

use dalsegno_scheduler::Timestamp;

/// The right to decide and commit, until it expires or passes to another term.
///
/// The number is one higher each time the lease is taken, also when the same holder takes it
/// again, so a commit of an earlier life can never get in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub holder: String,
    pub term: i64,
    pub expires_at: Timestamp,
}
