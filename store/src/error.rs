//! What can go wrong with a store, in words that name the cure.

use dalsegno_scheduler::row::Claim;

/// Why a store could not be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "the database has schema version {database}, but this binary knows versions up to {binary} only: \
         it was written by a newer Dalsegno. Start that newer binary, or restore a backup made before the upgrade"
    )]
    DatabaseNewer { database: i64, binary: i64 },
    /// Of a database that is only read.
    #[error(
        "the database has schema version {database} and this binary reads version {binary}: `dalsegno migrate` (or a start \
         of the daemon) brings it up"
    )]
    DatabaseOlder { database: i64, binary: i64 },
    #[error("the database at {at} cannot be opened: {message}")]
    Open { at: String, message: String },
    #[error(transparent)]
    Full(#[from] Full),
    /// A cursor that no page of this kind gave out.
    #[error("`{0}` is not a cursor of this list; leave it out to begin at the first page")]
    BadCursor(String),
    /// Something in the database is not what this program writes there.
    #[error("the database holds {value:?} where {expected} was expected, in {place}")]
    Corrupt {
        place: &'static str,
        expected: &'static str,
        value: String,
    },
    /// The caller broke the contract of [`crate::Store::commit`].
    #[error("the same claim `{0}` stands twice in one commit")]
    ClaimedTwice(String),
    #[error("the database does not answer: {0}")]
    Unreachable(String),
    #[error("the database refused: {0}")]
    Db(String),
}

/// The disk cannot be written. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    #[error(
        "the disk is full at {0}: free some space there; nothing was lost, and work goes on by itself"
    )]
    Disk(String),
    #[error(
        "{0} cannot be written (read-only file system or missing permission): make it writable for this user"
    )]
    ReadOnly(String),
}

/// Why a commit did not (or perhaps did not) happen.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another term has begun. Nothing was written; stop deciding.
    #[error("the lease was lost: another term has begun")]
    LostLease,
    /// These keys were used before, with these results. Nothing was written.
    #[error("{} dedupe keys were used before", .0.len())]
    Duplicate(Vec<Claim>),
    /// Nothing was written; the same commit may succeed later.
    #[error(transparent)]
    Full(#[from] Full),
    /// The connection broke after the commit was sent: it may or may not have happened. Take the
    /// lease again, which ends the old term, then load.
    #[error("it is unknown whether the commit happened: {0}")]
    Unknown(String),
    /// Nothing was written.
    #[error(transparent)]
    Db(#[from] Error),
}
