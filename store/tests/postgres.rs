//! Every behaviour, on PostgreSQL.

mod common;

use dalsegno_store::Store;
use std::sync::Arc;

dalsegno_store::behaviours! { with }

async fn with<F: Future<Output = ()> + Send>(
    behaviour: impl FnOnce(Arc<dyn Store>) -> F + Send + 'static,
) {
    common::with_migrated(|store| behaviour(store)).await;
}
