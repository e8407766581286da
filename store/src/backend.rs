//! What the two databases do differently; everything else is in [`crate::queries`].

use crate::decode::Fields;
use crate::error::{CommitError, Error};
use crate::lease::Lease;
use crate::select::Select;
use async_trait::async_trait;
use dalsegno_scheduler::row::Changes;

#[async_trait]
pub(crate) trait Backend: Send + Sync {
    type Row: Fields;

    async fn schema_version(&self) -> Result<i64, Error>;
    async fn migrate(&self) -> Result<(), Error>;
    /// Rows of statements that see the same moment.
    async fn read(&self, selects: Vec<Select>) -> Result<Vec<Vec<Self::Row>>, Error>;
    /// Runs statements that no commit writes, in one durable transaction; gives the rows of the last.
    async fn write(&self, statements: Vec<Select>) -> Result<Vec<Self::Row>, Error>;
    async fn commit(&self, lease: &Lease, changes: &Changes) -> Result<(), CommitError>;
}

/// Whether nothing was written because a claim was used before; then the caller must say with what result.
pub(crate) fn claims_of(changes: &Changes) -> Vec<Select> {
    changes
        .claims
        .iter()
        .map(|it| crate::queries::claim(&it.key))
        .collect()
}
