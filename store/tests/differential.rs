//! The three stores do the same random work and give the same answers.

mod common;

use dalsegno_store::conformance::differential::stores_agree;
use dalsegno_store::{Durability, MemoryStore, SqliteStore, Store};
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_three_stores_agree() {
    for seed in 1..=2 {
        common::with_migrated(move |postgres| async move {
            let folder = tempfile::tempdir().expect("a folder");
            let file = folder.path().join("state.db");
            let sqlite = SqliteStore::open(&file, Durability::ProcessCrash)
                .await
                .expect("opens");
            sqlite.migrate().await.expect("migrates");
            let stores: Vec<Arc<dyn Store>> =
                vec![Arc::new(MemoryStore::new()), Arc::new(sqlite), postgres];
            stores_agree(&stores, seed, 90).await;
        })
        .await;
    }
}
