//! The store on SQLite: one file, one writer, several readers.

use crate::backend::{Backend, claims_of};
use crate::decode::{self, Fields};
use crate::encode::{Part, Shape, parts};
use crate::error::{CommitError, Error, Full};
use crate::lease::Lease;
use crate::migrations;
use crate::select::{Arg, Select};
use crate::table::sqlite::{begin, statement};
use async_trait::async_trait;
use dalsegno_scheduler::row::Changes;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool,
    SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};

/// How long a statement waits for another process that holds the file, a backup for example.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Pages read at once. Each connection is a thread; four keep two cores busy.
const READERS: u32 = 4;
/// Readers that nobody uses are closed, so that an idle daemon stays small.
const READER_IDLE: Duration = Duration::from_secs(60);
/// Pages in the write-ahead log before they are copied back: 16 MiB. The copying costs two fsyncs.
const CHECKPOINT_PAGES: &str = "4000";
/// Statements kept prepared: one for each mix of tables that a commit changes.
const STATEMENTS_KEPT: usize = 200;
/// Rows a reader's thread may be ahead, so that recovery does not change threads every few rows.
const ROWS_AHEAD: usize = 1_000;

/// When a commit counts as durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// It survives a power cut.
    #[default]
    Full,
    /// It survives a crash of the daemon; a power cut may take the last commits back, though jobs were
    /// already submitted on their ground.
    ProcessCrash,
}

/// Durable state in one SQLite file.
///
/// The caller must see to it that one daemon at a time uses the file.
#[derive(Debug)]
pub struct SqliteStore {
    file: PathBuf,
    writer: Mutex<Writer>,
    readers: SqlitePool,
}

#[derive(Debug)]
struct Writer {
    connection: SqliteConnection,
    /// A transaction may be open that nobody will end: its commit was dropped half way.
    dirty: bool,
}

impl SqliteStore {
    /// Opens the file, or makes it. The schema is left as it is: see [`crate::Store::migrate`].
    ///
    /// # Errors
    /// When the file cannot be made or is no database.
    pub async fn open(file: &Path, durability: Durability) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal);
        Self::connect(file, options, durability).await
    }

    /// Opens the file to read it, whoever else uses it at the same time. Whatever would write fails.
    ///
    /// # Errors
    /// When there is no such file, or it is no database.
    pub async fn open_to_read(file: &Path) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new().read_only(true);
        Self::connect(file, options, Durability::Full).await
    }

    async fn connect(
        file: &Path,
        options: SqliteConnectOptions,
        durability: Durability,
    ) -> Result<Self, Error> {
        let options = options
            .filename(file)
            .synchronous(match durability {
                Durability::Full => SqliteSynchronous::Full,
                Durability::ProcessCrash => SqliteSynchronous::Normal,
            })
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            .pragma("temp_store", "memory")
            .statement_cache_capacity(STATEMENTS_KEPT)
            .disable_statement_logging();
        let connection = SqliteConnection::connect_with(&options)
            .await
            .map_err(|error| open_error(file, error))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .min_connections(0)
            .idle_timeout(READER_IDLE)
            .test_before_acquire(false)
            .connect_lazy_with(
                options
                    .pragma("query_only", "on")
                    .row_buffer_size(ROWS_AHEAD),
            );
        Ok(Self {
            file: file.to_owned(),
            writer: Mutex::new(Writer {
                connection,
                dirty: false,
            }),
            readers,
        })
    }

    /// Closes all connections; what is in the write-ahead log goes into the file.
    pub async fn close(self) {
        self.readers.close().await;
        // What is committed is durable in either file, so a failing close loses nothing.
        let _ = self.writer.into_inner().connection.close().await;
    }

    /// Lets the file grow to so many pages only, as a full disk would.
    #[doc(hidden)]
    pub async fn limit_pages(&self, pages: u32) -> Result<(), Error> {
        let mut writer = self.writer.lock().await;
        sqlx::query(AssertSqlSafe(format!("PRAGMA max_page_count = {pages}")))
            .execute(&mut writer.connection)
            .await
            .map_err(|error| self.error(error))?;
        Ok(())
    }

    /// Refuses writes, as a read-only file system would.
    #[doc(hidden)]
    pub async fn refuse_writes(&self, refuse: bool) -> Result<(), Error> {
        let mut writer = self.writer.lock().await;
        sqlx::query(AssertSqlSafe(format!("PRAGMA query_only = {refuse}")))
            .execute(&mut writer.connection)
            .await
            .map_err(|error| self.error(error))?;
        Ok(())
    }

    /// The writer with no transaction open.
    async fn writer(&self) -> MutexGuard<'_, Writer> {
        let mut writer = self.writer.lock().await;
        if writer.dirty {
            writer.roll_back().await;
        }
        writer
    }

    fn error(&self, error: sqlx::Error) -> Error {
        match code(&error) {
            Some(FULL | SHM_SIZE) => Full::Disk(self.file.display().to_string()).into(),
            Some(code) if code & 0xff == READ_ONLY || code == CANNOT_OPEN => {
                Full::ReadOnly(self.file.display().to_string()).into()
            }
            _ => Error::Db(error.to_string()),
        }
    }

    /// All in one message to SQLite's thread. False if the lease is lost; then nothing was written.
    async fn write_all(
        &self,
        writer: &mut Writer,
        lease: &Lease,
        parts: Vec<Part>,
    ) -> Result<bool, sqlx::Error> {
        let mut sql = begin();
        let mut args = SqliteArguments::default();
        let mut add = |arg: Arg| {
            match arg {
                Arg::Int(int) => sqlx::Arguments::add(&mut args, int),
                Arg::Text(text) => sqlx::Arguments::add(&mut args, text),
            }
            .map_err(sqlx::Error::Encode)
        };
        add(Arg::Text(lease.holder.clone()))?;
        add(Arg::Int(lease.term))?;
        for (place, part) in parts.into_iter().enumerate() {
            sql.push_str(&statement(part.table, part.write, place + 3));
            sql.push_str("; ");
            add(Arg::Text(part.rows))?;
        }
        sql.push_str("COMMIT");
        let held = sqlx::query_with(AssertSqlSafe(sql), args)
            .fetch_all(&mut writer.connection)
            .await?;
        Ok(!held.is_empty())
    }
}

impl Writer {
    async fn roll_back(&mut self) {
        // Fails when SQLite has rolled back already, which is as good.
        let _ = sqlx::query("ROLLBACK").execute(&mut self.connection).await;
        self.dirty = false;
    }
}

#[async_trait]
impl Backend for SqliteStore {
    type Row = SqliteRow;

    async fn schema_version(&self) -> Result<i64, Error> {
        let mut writer = self.writer().await;
        let tables: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = 'schema_migration'",
        )
        .fetch_one(&mut writer.connection)
        .await
        .map_err(|error| open_error(&self.file, error))?;
        if tables == 0 {
            return Ok(0);
        }
        sqlx::query_scalar(migrations::VERSION)
            .fetch_one(&mut writer.connection)
            .await
            .map_err(|error| self.error(error))
    }

    async fn migrate(&self) -> Result<(), Error> {
        let version = Backend::schema_version(self).await?;
        if migrations::pending(version)?.is_empty() {
            return Ok(());
        }
        let mut writer = self.writer().await;
        let mut tx = writer
            .connection
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(|error| self.error(error))?;
        let migrated: Result<(), sqlx::Error> = async {
            sqlx::query(migrations::CREATE_TABLE)
                .execute(&mut *tx)
                .await?;
            let version: i64 = sqlx::query_scalar(migrations::VERSION)
                .fetch_one(&mut *tx)
                .await?;
            for step in migrations::pending(version).unwrap_or_default() {
                sqlx::raw_sql(step.sqlite).execute(&mut *tx).await?;
                sqlx::query(migrations::APPLIED)
                    .bind(step.version)
                    .bind(step.name)
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await
        }
        .await;
        migrated.map_err(|error| self.error(error))
    }

    async fn read(&self, selects: Vec<Select>) -> Result<Vec<Vec<SqliteRow>>, Error> {
        let result: Result<_, sqlx::Error> = async {
            let mut answers = Vec::with_capacity(selects.len());
            if selects.len() == 1 {
                for select in selects {
                    answers.push(query(select).fetch_all(&self.readers).await?);
                }
                return Ok(answers);
            }
            let mut tx = self.readers.begin().await?;
            for select in selects {
                answers.push(query(select).fetch_all(&mut *tx).await?);
            }
            tx.rollback().await?;
            Ok(answers)
        }
        .await;
        result.map_err(|error| self.error(error))
    }

    async fn write(&self, statements: Vec<Select>) -> Result<Vec<SqliteRow>, Error> {
        let mut writer = self.writer().await;
        let result: Result<_, sqlx::Error> = async {
            let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
            let mut rows = Vec::new();
            for statement in statements {
                rows = query(statement).fetch_all(&mut *tx).await?;
            }
            tx.commit().await?;
            Ok(rows)
        }
        .await;
        result.map_err(|error| self.error(error))
    }

    async fn commit(&self, lease: &Lease, changes: &Changes) -> Result<(), CommitError> {
        let parts = parts(changes, Shape::Arrays)?;
        let mut writer = self.writer().await;
        writer.dirty = true;
        let error = match self.write_all(&mut writer, lease, parts).await {
            Ok(held) => {
                writer.dirty = false;
                return if held {
                    Ok(())
                } else {
                    Err(CommitError::LostLease)
                };
            }
            Err(error) => error,
        };
        writer.roll_back().await;
        drop(writer);
        if is_claim(&error) {
            let answers = self.read(claims_of(changes)).await?;
            let claims = answers
                .iter()
                .flatten()
                .map(decode::claim)
                .collect::<Result<_, _>>()?;
            return Err(CommitError::Duplicate(claims));
        }
        match code(&error) {
            None => Err(CommitError::Unknown(error.to_string())),
            Some(code) if code & 0xff == IO_ERROR && code != SHM_SIZE => {
                Err(CommitError::Unknown(error.to_string()))
            }
            Some(_) => Err(match self.error(error) {
                Error::Full(full) => CommitError::Full(full),
                error => CommitError::Db(error),
            }),
        }
    }
}

// Result codes: https://sqlite.org/rescode.html.
const READ_ONLY: i32 = 8;
const IO_ERROR: i32 = 10;
const FULL: i32 = 13;
const CANNOT_OPEN: i32 = 14;
/// The shared-memory file could not grow: the disk is full.
const SHM_SIZE: i32 = 4874;
const NOT_A_DATABASE: i32 = 26;
const PRIMARY_KEY: i32 = 1555;

fn code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

fn is_claim(error: &sqlx::Error) -> bool {
    code(error) == Some(PRIMARY_KEY)
        && error
            .as_database_error()
            .is_some_and(|it| it.message().contains("claim.key"))
}

fn open_error(file: &Path, error: sqlx::Error) -> Error {
    let folder = file
        .parent()
        .filter(|it| !it.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    let message = match code(&error).map(|it| it & 0xff) {
        Some(FULL) => "the disk is full: free some space there".to_owned(),
        Some(CANNOT_OPEN) if !folder.is_dir() => {
            format!("there is no folder {}: create it first", folder.display())
        }
        Some(CANNOT_OPEN | READ_ONLY) => format!(
            "{} cannot be written (read-only file system or missing permission): make it writable for this user, or choose another folder",
            folder.display()
        ),
        Some(NOT_A_DATABASE) => {
            "this file is not a SQLite database: move it away, or choose another folder".to_owned()
        }
        _ => error.to_string(),
    };
    Error::Open {
        at: file.display().to_string(),
        message,
    }
}

fn query(select: Select) -> sqlx::query::Query<'static, sqlx::Sqlite, SqliteArguments> {
    let mut query = sqlx::query(AssertSqlSafe(select.text));
    for arg in select.args {
        query = match arg {
            Arg::Int(int) => query.bind(int),
            Arg::Text(text) => query.bind(text),
        };
    }
    query
}

impl Fields for SqliteRow {
    fn int(&self, column: usize) -> Result<Option<i64>, sqlx::Error> {
        self.try_get(column)
    }
    fn text(&self, column: usize) -> Result<Option<String>, sqlx::Error> {
        self.try_get(column)
    }
    fn flag(&self, column: usize) -> Result<bool, sqlx::Error> {
        self.try_get(column)
    }
}
