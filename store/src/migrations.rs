//! The schema, step by step. Forward only; an applied file is never edited.

use crate::error::Error;

/// One step of the schema.
pub(crate) struct Migration {
    pub version: i64,
    pub name: &'static str,
    pub sqlite: &'static str,
    pub postgres: &'static str,
}

macro_rules! migrations {
    ($($version:literal $name:literal,)*) => {
        /// All steps, oldest first. The two folders of `migrations/` hold the same names.
        pub(crate) const MIGRATIONS: &[Migration] = &[$(Migration {
            version: $version,
            name: $name,
            sqlite: include_str!(concat!("../../migrations/sqlite/", $name, ".sql")),
            postgres: include_str!(concat!("../../migrations/postgres/", $name, ".sql")),
        },)*];
    };
}

migrations! {
    1 "0001_lease",
    2 "0002_flows",
    3 "0003_runs",
    4 "0004_triggers",
    5 "0005_journal",
    6 "0006_metaflow",
    7 "0007_triggers",
    8 "0008_remote",
    9 "0009_sla_and_alerts",
    10 "0010_ahead",
    11 "0011_sla",
    12 "0012_deliveries",
    13 "0013_sla_more",
}

/// The newest schema version this binary knows.
pub const SCHEMA_VERSION: i64 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// Which migrations were applied; the same on both databases.
pub(crate) const CREATE_TABLE: &str =
    "CREATE TABLE IF NOT EXISTS schema_migration (version BIGINT PRIMARY KEY, name TEXT NOT NULL)";
pub(crate) const VERSION: &str = "SELECT COALESCE(MAX(version), 0) FROM schema_migration";
pub(crate) const APPLIED: &str = "INSERT INTO schema_migration (version, name) VALUES ($1, $2)";

/// The steps that a database of this version still lacks.
pub(crate) fn pending(database: i64) -> Result<&'static [Migration], Error> {
    if database > SCHEMA_VERSION {
        return Err(Error::DatabaseNewer {
            database,
            binary: SCHEMA_VERSION,
        });
    }
    let first = MIGRATIONS.partition_point(|it| it.version <= database);
    Ok(&MIGRATIONS[first..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_two_folders_hold_the_migrations_that_are_listed() {
        let listed: Vec<String> = MIGRATIONS
            .iter()
            .map(|it| format!("{}.sql", it.name))
            .collect();
        for folder in ["sqlite", "postgres"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../migrations")
                .join(folder);
            let mut files: Vec<String> = std::fs::read_dir(&folder)
                .expect("the folder is part of the repository")
                .map(|it| {
                    it.expect("readable")
                        .file_name()
                        .to_string_lossy()
                        .into_owned()
                })
                .collect();
            files.sort();
            assert_eq!(files, listed, "{}", folder.display());
        }
        for (place, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.version, place as i64 + 1);
            assert!(
                migration
                    .name
                    .starts_with(&format!("{:04}_", migration.version))
            );
        }
    }
}
