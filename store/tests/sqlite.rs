//! Every behaviour, on SQLite.

use dalsegno_store::{Durability, SqliteStore, Store};
use std::sync::Arc;

dalsegno_store::behaviours! { with }

async fn with<F: Future<Output = ()>>(behaviour: impl FnOnce(Arc<dyn Store>) -> F) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&folder.path().join("state.db"), Durability::ProcessCrash)
        .await
        .expect("opens");
    store.migrate().await.expect("migrates");
    behaviour(Arc::new(store)).await;
}
