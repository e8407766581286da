//! Where things are: folders on the disk to measure, fresh databases.

use anyhow::{Context as _, Result};
use dalsegno_store::{Durability, PostgresStore, SqliteStore, Store};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Where figures put their folders, when the suite measures them; it removes all of them at its end.
///
/// Not earlier: file systems are slow to make files for a while after many were removed (ext4 without a journal
/// passes over every inode that was freed in the last minutes), and that would count in the next figure.
pub(crate) const HOME: &str = "DALSEGNO_BENCH_HOME";

/// A folder beside this binary, so on the disk that the build uses, never in memory. It goes away with this value,
/// or with the suite.
pub(crate) fn folder() -> Result<TempDir> {
    let home = std::env::var_os(HOME).map(PathBuf::from);
    let parent = match &home {
        Some(home) => home.clone(),
        None => target()?.join("tmp"),
    };
    std::fs::create_dir_all(&parent).with_context(|| parent.display().to_string())?;
    let folder = tempfile::Builder::new()
        .prefix("bench-")
        .disable_cleanup(home.is_some())
        .tempdir_in(&parent);
    folder.with_context(|| format!("no folder in {}", parent.display()))
}

/// Cargo's target folder.
pub(crate) fn target() -> Result<PathBuf> {
    let binary = std::env::current_exe().context("a process has a file")?;
    let target = binary.parent().and_then(Path::parent);
    Ok(target
        .context("the binary is in cargo's target folder")?
        .to_owned())
}

/// A database that holds nothing yet.
pub(crate) enum Database {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Database {
    pub(crate) fn sqlite(folder: &Path, name: &str) -> Self {
        Self::Sqlite(folder.join(format!("{name}.db")))
    }

    /// `None` when no server was given in `DALSEGNO_BENCH_POSTGRES_URL`.
    pub(crate) async fn postgres(name: &str) -> Result<Option<Self>> {
        let Ok(server) = std::env::var("DALSEGNO_BENCH_POSTGRES_URL") else {
            return Ok(None);
        };
        let mut admin = PgConnection::connect(&server)
            .await
            .with_context(|| format!("no PostgreSQL at {server}"))?;
        let name = format!("bench_{name}_{}", std::process::id());
        for sql in [
            format!("DROP DATABASE IF EXISTS {name}"),
            format!("CREATE DATABASE {name}"),
        ] {
            sqlx::query(AssertSqlSafe(sql)).execute(&mut admin).await?;
        }
        let (base, _) = server
            .rsplit_once('/')
            .context("a URL of a database has a path")?;
        Ok(Some(Self::Postgres(format!("{base}/{name}"))))
    }

    /// SQLite, and PostgreSQL where there is one.
    pub(crate) async fn all(folder: &Path, name: &str) -> Result<Vec<Self>> {
        let mut all = vec![Self::sqlite(folder, name)];
        all.extend(Self::postgres(name).await?);
        Ok(all)
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        }
    }

    /// Opens it with the schema in place.
    pub(crate) async fn store(&self) -> Result<Arc<dyn Store>> {
        let store: Arc<dyn Store> = match self {
            Self::Sqlite(file) => Arc::new(SqliteStore::open(file, Durability::Full).await?),
            Self::Postgres(url) => Arc::new(PostgresStore::open(url).await?),
        };
        store.migrate().await?;
        Ok(store)
    }
}
