//! The databases without us: what they can do at best.

use crate::place::Database;
use anyhow::Result;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection as _, Executor as _, PgConnection, QueryBuilder, SqliteConnection};

/// A row of about the shape of a journal entry.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) at: i64,
    pub(crate) run: i64,
    pub(crate) flow: String,
    pub(crate) kind: String,
    pub(crate) body: String,
}

/// A connection of our own, as durable as the store's.
pub(crate) enum Raw {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

const TABLE: &str = "\
    CREATE TABLE raw (seq BIGINT PRIMARY KEY, at BIGINT NOT NULL, run BIGINT NOT NULL, flow TEXT NOT NULL, \
    kind TEXT NOT NULL, body TEXT NOT NULL)";
const ONE: &str = "INSERT INTO raw (seq, at, run, flow, kind, body) VALUES ($1, 1, 1, 'load', 'task.submitting', \
    'a row of about the size of a change of one step''s state')";
const ALL: &str = "SELECT seq, at, run, flow, kind, body FROM raw ORDER BY seq";
const MANY: &str = "INSERT INTO raw (seq, at, run, flow, kind, body) ";

/// Writes the same batch on either kind of connection.
macro_rules! batch {
    ($connection:expr, $first:expr, $rows:expr) => {{
        let mut query = QueryBuilder::new(MANY);
        query.push_values($rows.iter().zip($first..), |mut values, (row, seq)| {
            values.push_bind(seq).push_bind(row.at).push_bind(row.run);
            values
                .push_bind(&row.flow)
                .push_bind(&row.kind)
                .push_bind(&row.body);
        });
        query.build().execute($connection).await?;
    }};
}

impl Raw {
    /// Makes the table in a database that holds nothing.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        match database {
            Database::Sqlite(file) => {
                let options = SqliteConnectOptions::new()
                    .filename(file)
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full);
                let mut connection = SqliteConnection::connect_with(&options).await?;
                connection.execute(TABLE).await?;
                Ok(Self::Sqlite(connection))
            }
            Database::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await?;
                connection.execute(TABLE).await?;
                Ok(Self::Postgres(connection))
            }
        }
    }

    /// One row, one durable commit.
    pub(crate) async fn one(&mut self, seq: i64) -> Result<()> {
        match self {
            Self::Sqlite(it) => {
                sqlx::query(ONE).bind(seq).execute(it).await?;
            }
            Self::Postgres(it) => {
                sqlx::query(ONE).bind(seq).execute(it).await?;
            }
        }
        Ok(())
    }

    /// All rows in one durable commit; their numbers begin at `first`.
    pub(crate) async fn many(&mut self, first: i64, rows: &[Row]) -> Result<()> {
        match self {
            Self::Sqlite(it) => batch!(it, first, rows),
            Self::Postgres(it) => batch!(it, first, rows),
        }
        Ok(())
    }

    /// Reads every row into memory; gives how many there are.
    pub(crate) async fn read_all(&mut self) -> Result<usize> {
        type Columns = (i64, i64, i64, String, String, String);
        let rows: Vec<Columns> = match self {
            Self::Sqlite(it) => sqlx::query_as(ALL).fetch_all(it).await?,
            Self::Postgres(it) => sqlx::query_as(ALL).fetch_all(it).await?,
        };
        Ok(rows.len())
    }
}
