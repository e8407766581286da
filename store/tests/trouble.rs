//! What goes wrong outside ends in words that name the cure, and nothing is lost.

mod common;

use dalsegno_scheduler::row::{Changes, JournalEntry};
use dalsegno_scheduler::{Span, Timestamp};
use dalsegno_store::{
    CommitError, Durability, Error, Full, JournalFilter, PostgresStore, SCHEMA_VERSION,
    SqliteStore, Store,
};
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use std::path::Path;

async fn open(file: &Path) -> Result<SqliteStore, Error> {
    SqliteStore::open(file, Durability::ProcessCrash).await
}

fn entries(first: u64, count: u64) -> Changes {
    let entry = |seq| JournalEntry {
        seq,
        at: Timestamp(0),
        flow: "report".into(),
        run: None,
        kind: "flow.paused".into(),
        body: format!("\"{}\"", "x".repeat(1_000)),
    };
    Changes {
        journal: (first..first + count).map(entry).collect(),
        ..Changes::default()
    }
}

#[tokio::test]
async fn a_database_of_a_newer_binary_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("state.db");
    let store = open(&file).await.expect("opens");
    assert_eq!(store.schema_version().await.expect("answers"), 0);
    store.migrate().await.expect("migrates");
    store.migrate().await.expect("a second time does nothing");
    let mut other = SqliteConnection::connect(&format!("sqlite://{}", file.display()))
        .await
        .expect("connects");
    sqlx::query("INSERT INTO schema_migration (version, name) VALUES (99, '0099_future')")
        .execute(&mut other)
        .await
        .expect("inserts");
    let error = store.migrate().await.expect_err("newer");
    assert_eq!(
        error.to_string(),
        format!(
            "the database has schema version 99, but this binary knows versions up to {SCHEMA_VERSION} only: \
             it was written by a newer Dalsegno. Start that newer binary, or restore a backup made before the upgrade"
        )
    );
}

#[tokio::test]
async fn a_newer_database_is_refused_on_postgres_too() {
    common::with_postgres(|url| async move {
        let store = PostgresStore::open(&url).await.expect("connects");
        assert_eq!(store.schema_version().await.expect("answers"), 0);
        store.migrate().await.expect("migrates");
        let mut other = PgConnection::connect(&url).await.expect("connects");
        sqlx::query("INSERT INTO schema_migration (version, name) VALUES (99, '0099_future')")
            .execute(&mut other)
            .await
            .expect("inserts");
        let error = store.migrate().await.expect_err("newer");
        assert!(
            matches!(error, Error::DatabaseNewer { database: 99, .. }),
            "{error}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_migrate_at_once_wait_for_each_other() {
    common::with_postgres(|url| async move {
        let (one, two) = (
            PostgresStore::open(&url).await.expect("connects"),
            PostgresStore::open(&url).await.expect("connects"),
        );
        let (first, second) = tokio::join!(one.migrate(), two.migrate());
        first.expect("migrates");
        second.expect("finds it done");
        assert_eq!(two.schema_version().await.expect("answers"), SCHEMA_VERSION);
    })
    .await;
}

#[tokio::test]
async fn a_full_disk_is_named_and_work_goes_on_when_there_is_space() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder.path().join("state.db")).await.expect("opens");
    store.migrate().await.expect("migrates");
    let lease = store
        .take_lease("anna", Timestamp(0), Span::from_secs(9))
        .await
        .expect("answers")
        .expect("free");
    store.commit(&lease, &entries(1, 1)).await.expect("commits");

    store.limit_pages(60).await.expect("obeys");
    let full = store.commit(&lease, &entries(2, 1_000)).await;
    let Err(CommitError::Full(full @ Full::Disk(_))) = full else {
        panic!("expected a full disk, got {full:?}")
    };
    assert!(
        full.to_string().starts_with("the disk is full at "),
        "{full}"
    );
    assert_eq!(
        store
            .journal(&JournalFilter::All, 0, 10)
            .await
            .expect("reads")
            .len(),
        1
    );

    store.limit_pages(1_000_000).await.expect("obeys");
    store
        .commit(&lease, &entries(2, 1_000))
        .await
        .expect("the same commit succeeds");
}

#[tokio::test]
async fn a_file_that_became_read_only_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder.path().join("state.db")).await.expect("opens");
    store.migrate().await.expect("migrates");
    let lease = store
        .take_lease("anna", Timestamp(0), Span::from_secs(9))
        .await
        .expect("answers")
        .expect("free");
    store.refuse_writes(true).await.expect("obeys");
    let refused = store.commit(&lease, &entries(1, 1)).await;
    assert!(
        matches!(refused, Err(CommitError::Full(Full::ReadOnly(_)))),
        "{refused:?}"
    );
    store.refuse_writes(false).await.expect("obeys");
    store
        .commit(&lease, &entries(1, 1))
        .await
        .expect("the same commit succeeds");
}

#[tokio::test]
async fn a_read_only_postgres_is_named() {
    common::with_migrated(|store| async move {
        let lease = store
            .take_lease("anna", Timestamp(0), Span::from_secs(9))
            .await
            .expect("answers")
            .expect("free");
        store.refuse_writes(true).await.expect("obeys");
        let refused = store.commit(&lease, &entries(1, 1)).await;
        assert!(
            matches!(refused, Err(CommitError::Full(Full::ReadOnly(_)))),
            "{refused:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn folders_and_files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let nowhere = folder.path().join("nowhere/state.db");
    let error = open(&nowhere).await.expect_err("no folder").to_string();
    assert!(
        error.contains("there is no folder") && error.contains("create it first"),
        "{error}"
    );

    let error = open(folder.path())
        .await
        .expect_err("a folder is no file")
        .to_string();
    assert!(error.contains("cannot be opened"), "{error}");

    let error = open(Path::new("/proc/state.db"))
        .await
        .expect_err("no file can be made there")
        .to_string();
    assert!(error.contains("/proc cannot be written"), "{error}");

    let garbage = folder.path().join("garbage.db");
    std::fs::write(
        &garbage,
        "this is a letter to my aunt, and no database at all. ".repeat(100),
    )
    .expect("writes");
    let error = open(&garbage).await.expect_err("garbage").to_string();
    assert!(error.contains("not a SQLite database"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_the_password() {
    let url = "postgres://anna:secret@127.0.0.1:1/flows";
    let error = PostgresStore::open(url)
        .await
        .expect_err("nothing listens on port 1")
        .to_string();
    assert!(
        error.contains("127.0.0.1:1/flows") && !error.contains("secret"),
        "{error}"
    );
    let error = PostgresStore::open("mysql://x")
        .await
        .expect_err("another database")
        .to_string();
    assert!(
        error.contains("postgres://user:password@host:port/database"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_connection_leaves_the_outcome_unknown_and_a_new_term_settles_it() {
    common::with_postgres(|url| async move {
        let store = PostgresStore::open(&url).await.expect("connects");
        store.migrate().await.expect("migrates");
        let lease = store.take_lease("anna", Timestamp(0), Span::from_secs(9)).await.expect("answers").expect("free");
        let mut other = PgConnection::connect(&url).await.expect("connects");
        // While another session holds the lease's row, the commit waits in the server; there it is cut off.
        let mut lock = other.begin().await.expect("begins");
        sqlx::query("SELECT 1 FROM lease FOR UPDATE").execute(&mut *lock).await.expect("locks");
        let changes = entries(1, 1);
        let cut_off = async {
            let mut third = PgConnection::connect(&url).await.expect("connects");
            let waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
            let pid: i32 = loop {
                if let Some(pid) = sqlx::query_scalar(waiting).fetch_optional(&mut third).await.expect("reads") {
                    break pid;
                }
                tokio::task::yield_now().await;
            };
            sqlx::query("SELECT pg_terminate_backend($1)").bind(pid).execute(&mut third).await.expect("obeys");
        };
        let (outcome, ()) = tokio::join!(store.commit(&lease, &changes), cut_off);
        assert!(matches!(outcome, Err(CommitError::Unknown(_))), "{outcome:?}");
        lock.rollback().await.expect("rolls back");

        let new = store.take_lease("anna", Timestamp(1), Span::from_secs(9)).await.expect("answers").expect("its own");
        assert_eq!(store.load().await.expect("loads").last_journal, 0);
        store.commit(&new, &changes).await.expect("commits");
    })
    .await;
}
