-- Who decides. One row; every commit checks holder and term in its own transaction.
-- Times are microseconds since the Unix epoch, UTC, here and in all tables.
CREATE TABLE lease (
    name       TEXT PRIMARY KEY,
    holder     TEXT NOT NULL,
    term       INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
