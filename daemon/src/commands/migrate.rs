//! `dalsegno migrate`, and opening the database without a daemon.

use crate::cli::{MigrateArgs, StoreArgs};
use crate::client::{Exit, Failure, Result};
use crate::config;
use crate::output::print;
use dalsegno_store::{Durability, Error, PostgresStore, SCHEMA_VERSION, SqliteStore, Store};
use std::future::Future;
use std::path::PathBuf;

pub(super) fn migrate(args: &MigrateArgs) -> Result<Exit> {
    let place = Place::of(&args.store)?;
    // A daemon that runs on the old schema would trip.
    let _lock = match &place {
        Place::Folder(data) => {
            let taken = crate::lock::take(data);
            Some(taken.map_err(|error| Failure::new(Exit::Refused, format!("{error:#}")))?)
        }
        Place::Server(_) => None,
    };
    let before = block_on(async {
        let store = place.open().await?;
        let before = store.schema_version().await?;
        store.migrate().await?;
        Ok(before)
    })?;
    let text = match before {
        SCHEMA_VERSION => {
            format!("{place} has schema version {SCHEMA_VERSION} already; nothing to do\n")
        }
        0 => format!("{place} is made, with schema version {SCHEMA_VERSION}\n"),
        before => format!("{place} went from schema version {before} to {SCHEMA_VERSION}\n"),
    };
    print(&text)?;
    Ok(Exit::Done)
}

/// Where the database is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// SQLite in a data folder.
    Folder(PathBuf),
    /// PostgreSQL at a URL.
    Server(String),
}

impl Place {
    /// As `up` would find it.
    pub(super) fn of(args: &StoreArgs) -> Result<Self> {
        if let Some(url) = &args.database {
            return Ok(Self::Server(url.clone()));
        }
        let file = config::read(args.config.as_deref());
        let file = file.map_err(|error| Failure::new(Exit::Refused, format!("{error:#}")))?;
        if let (Some(url), None) = (file.database(), &args.data) {
            return Ok(Self::Server(url.to_owned()));
        }
        let data = args.data.as_deref().or_else(|| file.data());
        Ok(Self::Folder(data.map_or_else(
            || config::DEFAULT_DATA.into(),
            PathBuf::from,
        )))
    }

    /// The SQLite file, if it is one.
    pub(super) fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Folder(data) => Some(data.join("dalsegno.db")),
            Self::Server(_) => None,
        }
    }

    pub(super) async fn open(&self) -> std::result::Result<Box<dyn Store>, Error> {
        Ok(match self {
            Self::Server(url) => Box::new(PostgresStore::open(url).await?),
            Self::Folder(data) => {
                let file = data.join("dalsegno.db");
                Box::new(SqliteStore::open(&file, Durability::Full).await?)
            }
        })
    }
}

/// Without the password that a URL may hold.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(data) => write!(f, "{}", data.join("dalsegno.db").display()),
            Self::Server(url) => {
                let rest = url.rsplit_once('@').map_or(url.as_str(), |(_, rest)| rest);
                let rest = rest.rsplit_once("://").map_or(rest, |(_, rest)| rest);
                write!(
                    f,
                    "the PostgreSQL database {}",
                    rest.split('?').next().unwrap_or(rest)
                )
            }
        }
    }
}

/// Waits for what the store does.
pub(super) fn block_on<T>(
    future: impl Future<Output = std::result::Result<T, Error>>,
) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| {
        Failure::new(Exit::Broken, format!("cannot start the runtime: {error}"))
    })?;
    runtime
        .block_on(future)
        .map_err(|error| Failure::new(Exit::Broken, error.to_string()))
}
