//! Databases that tests make and drop.

use dalsegno_store::{PostgresStore, Store as _};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Runs `body` on a fresh PostgreSQL database and drops it afterwards, also when the body panics.
pub(crate) async fn with_postgres<F>(body: impl FnOnce(String) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let server = std::env::var("DALSEGNO_TEST_POSTGRES_URL").unwrap_or_else(|_| {
        panic!("DALSEGNO_TEST_POSTGRES_URL is not set: run `cargo xtask test`, which starts a PostgreSQL server for the tests")
    });
    let name = format!(
        "dalsegno_store_{}_{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    administer(&server, format!("CREATE DATABASE {name}")).await;
    let (base, query) = match server.split_once('?') {
        Some((base, query)) => (base, format!("?{query}")),
        None => (server.as_str(), String::new()),
    };
    let root = base
        .rfind('/')
        .filter(|slash| !base[..*slash].ends_with('/'))
        .map_or(base, |slash| &base[..slash]);
    let ended = tokio::spawn(body(format!("{root}/{name}{query}"))).await;
    administer(&server, format!("DROP DATABASE {name} WITH (FORCE)")).await;
    if let Err(panicked) = ended {
        std::panic::resume_unwind(panicked.into_panic());
    }
}

/// The same with the schema in place.
#[allow(dead_code, reason = "not every test file wants it")]
pub(crate) async fn with_migrated<F>(body: impl FnOnce(Arc<PostgresStore>) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send,
{
    with_postgres(|url| async move {
        let store = PostgresStore::open(&url).await.expect("connects");
        store.migrate().await.expect("migrates");
        body(Arc::new(store)).await;
    })
    .await;
}

async fn administer(server: &str, statement: String) {
    let mut connection = PgConnection::connect(server)
        .await
        .expect("the test server answers");
    sqlx::query(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await
        .expect("the server obeys");
    connection.close().await.expect("closes");
}
