//! The store on PostgreSQL.

use crate::backend::{Backend, claims_of};
use crate::decode::{self, Fields};
use crate::encode::{Part, Shape, parts};
use crate::error::{CommitError, Error, Full};
use crate::lease::Lease;
use crate::migrations;
use crate::select::{Arg, Select};
use crate::table::postgres::statement;
use async_trait::async_trait;
use dalsegno_scheduler::row::Changes;
use sqlx::error::DatabaseError;
use sqlx::postgres::{
    PgArguments, PgConnectOptions, PgConnection, PgDatabaseError, PgPool, PgPoolOptions, PgRow,
    PgSeverity,
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};
use std::fmt::Write as _;
use std::str::FromStr as _;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// Reads at once, of pages and of standbys.
const READERS: u32 = 8;
/// How long a read waits for a connection before the database counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a commit may take before its outcome counts as unknown.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);
/// Statements kept prepared: one for each mix of tables that a commit changes.
const STATEMENTS_KEPT: usize = 200;
/// Any number that nothing else on the server locks: "dalsegno" in hexadecimal.
const MIGRATION_LOCK: i64 = 0x6461_6c73_6567_6e6f;

/// One row if the lease is held, none if not. The row lock keeps the next term waiting until this
/// commit has ended.
pub(crate) const HELD: &str = "\
    WITH held AS MATERIALIZED \
    (SELECT 1 FROM lease WHERE name = 'leader' AND holder = $1 AND term = $2 FOR SHARE)";

/// Durable state in a PostgreSQL database, version 14 or later.
#[derive(Debug)]
pub struct PostgresStore {
    options: PgConnectOptions,
    /// Commits and leases go through one connection: a commit is one statement and so one round trip.
    writer: Mutex<Option<PgConnection>>,
    readers: PgPool,
}

impl PostgresStore {
    /// Connects to `postgres://user:password@host:port/database`.
    ///
    /// # Errors
    /// When the URL cannot be read or the server refuses.
    pub async fn open(url: &str) -> Result<Self, Error> {
        let unreadable = |error: String| Error::Open {
            at: "the given URL".to_owned(),
            message: format!("{error}; expected postgres://user:password@host:port/database"),
        };
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(unreadable("this is not a PostgreSQL URL".to_owned()));
        }
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| unreadable(error.to_string()))?
            .application_name("dalsegno")
            .options([("plan_cache_mode", "force_generic_plan")])
            .statement_cache_capacity(STATEMENTS_KEPT)
            .disable_statement_logging();
        let writer = connect(&options).await?;
        let readers = PgPoolOptions::new()
            .max_connections(READERS)
            .min_connections(0)
            .acquire_timeout(CONNECT_TIMEOUT)
            .connect_lazy_with(options.clone());
        Ok(Self {
            options,
            writer: Mutex::new(Some(writer)),
            readers,
        })
    }

    /// Closes all connections.
    pub async fn close(self) {
        self.readers.close().await;
        if let Some(writer) = self.writer.into_inner() {
            // The server notices a lost connection as well as a closed one.
            let _ = writer.close().await;
        }
    }

    /// Refuses writes, as a standby or a full server would.
    #[doc(hidden)]
    pub async fn refuse_writes(&self, refuse: bool) -> Result<(), Error> {
        let mut kept = self.writer.lock().await;
        let mut connection = self.connection(&mut kept).await?;
        sqlx::query(AssertSqlSafe(format!(
            "SET default_transaction_read_only = {refuse}"
        )))
        .execute(&mut connection)
        .await
        .map_err(error)?;
        *kept = Some(connection);
        Ok(())
    }

    /// The writer's connection, out of the store: it comes back only when its statement has ended well, so
    /// that none is ever used half way through an answer.
    async fn connection(&self, kept: &mut Option<PgConnection>) -> Result<PgConnection, Error> {
        match kept.take() {
            Some(connection) => Ok(connection),
            None => connect(&self.options).await,
        }
    }
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, Error> {
    match timeout(CONNECT_TIMEOUT, PgConnection::connect_with(options)).await {
        Ok(connected) => connected.map_err(|error| match error {
            sqlx::Error::Database(refused) => {
                let message = refused.message().to_owned();
                match self::error(sqlx::Error::Database(refused)) {
                    // Starting, stopping or out of connections: that passes.
                    Error::Unreachable(_) => {
                        Error::Unreachable(format!("{}: {message}", place(options)))
                    }
                    _ => Error::Open {
                        at: place(options),
                        message,
                    },
                }
            }
            error => Error::Unreachable(format!("{}: {error}", place(options))),
        }),
        Err(_) => Err(Error::Unreachable(format!(
            "{}: no answer in {CONNECT_TIMEOUT:?}",
            place(options)
        ))),
    }
}

/// Where the database is, without the password.
fn place(options: &PgConnectOptions) -> String {
    format!(
        "{}:{}/{}",
        options.get_host(),
        options.get_port(),
        options.get_database().unwrap_or_default()
    )
}

#[async_trait]
impl Backend for PostgresStore {
    type Row = PgRow;

    async fn schema_version(&self) -> Result<i64, Error> {
        let exists: bool = sqlx::query_scalar("SELECT to_regclass('schema_migration') IS NOT NULL")
            .fetch_one(&self.readers)
            .await
            .map_err(error)?;
        if !exists {
            return Ok(0);
        }
        sqlx::query_scalar(migrations::VERSION)
            .fetch_one(&self.readers)
            .await
            .map_err(error)
    }

    async fn migrate(&self) -> Result<(), Error> {
        let mut tx = self.readers.begin().await.map_err(error)?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(MIGRATION_LOCK)
            .execute(&mut *tx)
            .await
            .map_err(error)?;
        let version = Backend::schema_version(self).await?;
        let pending = migrations::pending(version)?;
        if pending.is_empty() {
            return Ok(());
        }
        sqlx::query(migrations::CREATE_TABLE)
            .execute(&mut *tx)
            .await
            .map_err(error)?;
        for step in pending {
            sqlx::raw_sql(step.postgres)
                .execute(&mut *tx)
                .await
                .map_err(error)?;
            sqlx::query(migrations::APPLIED)
                .bind(step.version)
                .bind(step.name)
                .execute(&mut *tx)
                .await
                .map_err(error)?;
        }
        tx.commit().await.map_err(error)
    }

    async fn read(&self, selects: Vec<Select>) -> Result<Vec<Vec<PgRow>>, Error> {
        let result: Result<_, sqlx::Error> = async {
            let mut answers = Vec::with_capacity(selects.len());
            if selects.len() == 1 {
                for select in selects {
                    answers.push(query(select).fetch_all(&self.readers).await?);
                }
                return Ok(answers);
            }
            let mut tx = self
                .readers
                .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                .await?;
            for select in selects {
                answers.push(query(select).fetch_all(&mut *tx).await?);
            }
            tx.rollback().await?;
            Ok(answers)
        }
        .await;
        result.map_err(error)
    }

    async fn write(&self, statements: Vec<Select>) -> Result<Vec<PgRow>, Error> {
        let mut kept = self.writer.lock().await;
        let mut connection = self.connection(&mut kept).await?;
        let written = async {
            let mut tx = connection.begin().await?;
            let mut rows = Vec::new();
            for statement in statements {
                rows = query(statement).fetch_all(&mut *tx).await?;
            }
            tx.commit().await?;
            Ok(rows)
        };
        let rows = timeout(COMMIT_TIMEOUT, written)
            .await
            .map_err(|_| Error::Unreachable(format!("no answer in {COMMIT_TIMEOUT:?}")))?
            .map_err(error)?;
        *kept = Some(connection);
        Ok(rows)
    }

    async fn commit(&self, lease: &Lease, changes: &Changes) -> Result<(), CommitError> {
        let (sql, args) = statement_of(lease, parts(changes, Shape::Objects)?)?;
        let mut kept = self.writer.lock().await;
        let mut connection = self.connection(&mut kept).await?;
        let executed = timeout(
            COMMIT_TIMEOUT,
            sqlx::query_with(AssertSqlSafe(sql), args).execute(&mut connection),
        )
        .await;
        match executed {
            Ok(Ok(done)) => {
                *kept = Some(connection);
                if done.rows_affected() == 1 {
                    Ok(())
                } else {
                    Err(CommitError::LostLease)
                }
            }
            Ok(Err(sqlx::Error::Database(refused))) if !ends_session(&*refused) => {
                *kept = Some(connection);
                drop(kept);
                if refused.constraint() == Some("claim_pkey") {
                    let answers = self.read(claims_of(changes)).await?;
                    let claims = answers
                        .iter()
                        .flatten()
                        .map(decode::claim)
                        .collect::<Result<_, _>>()?;
                    return Err(CommitError::Duplicate(claims));
                }
                Err(match error(sqlx::Error::Database(refused)) {
                    Error::Full(full) => CommitError::Full(full),
                    error => CommitError::Db(error),
                })
            }
            Ok(Err(error)) => Err(CommitError::Unknown(error.to_string())),
            Err(_) => Err(CommitError::Unknown(format!(
                "no answer in {COMMIT_TIMEOUT:?}"
            ))),
        }
    }
}

/// The server said goodbye with this error: its outcome is as unknown as that of a broken connection.
fn ends_session(error: &dyn DatabaseError) -> bool {
    error
        .try_downcast_ref::<PgDatabaseError>()
        .is_none_or(|it| matches!(it.severity(), PgSeverity::Fatal | PgSeverity::Panic))
}

/// The whole commit as one statement, which is a transaction of its own and one round trip.
fn statement_of(lease: &Lease, parts: Vec<Part>) -> Result<(String, PgArguments), Error> {
    let mut sql = String::with_capacity(4_096);
    sql.push_str(HELD);
    let mut args = PgArguments::default();
    let mut add = |arg: Arg| {
        match arg {
            Arg::Int(int) => sqlx::Arguments::add(&mut args, int),
            Arg::Text(text) => sqlx::Arguments::add(&mut args, text),
        }
        .map_err(|error| Error::Db(error.to_string()))
    };
    add(Arg::Text(lease.holder.clone()))?;
    add(Arg::Int(lease.term))?;
    for (place, part) in parts.into_iter().enumerate() {
        let _ = write!(
            sql,
            ", w{place} AS ({})",
            statement(part.table, part.write, place + 3)
        );
        add(Arg::Text(part.rows))?;
    }
    sql.push_str(" SELECT 1 FROM held");
    Ok((sql, args))
}

fn error(error: sqlx::Error) -> Error {
    match &error {
        sqlx::Error::Database(refused) => match refused.code().as_deref() {
            Some("53100") => {
                Full::Disk(format!("the PostgreSQL server ({})", refused.message())).into()
            }
            Some("25006") => {
                Full::ReadOnly(format!("the PostgreSQL database ({})", refused.message())).into()
            }
            Some("57P01" | "57P02" | "57P03" | "53300") => {
                Error::Unreachable(refused.message().to_owned())
            }
            _ => Error::Db(error.to_string()),
        },
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::Tls(_) => Error::Unreachable(error.to_string()),
        _ => Error::Db(error.to_string()),
    }
}

fn query(select: Select) -> sqlx::query::Query<'static, sqlx::Postgres, PgArguments> {
    let mut query = sqlx::query(AssertSqlSafe(select.text));
    for arg in select.args {
        query = match arg {
            Arg::Int(int) => query.bind(int),
            Arg::Text(text) => query.bind(text),
        };
    }
    query
}

impl Fields for PgRow {
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
