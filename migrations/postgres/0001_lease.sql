-- Who decides. One row; every commit checks holder and term in its own transaction.
-- Times are microseconds since the Unix epoch, UTC, here and in all tables.
CREATE TABLE lease (
    name       TEXT COLLATE "C" PRIMARY KEY,
    holder     TEXT NOT NULL,
    term       BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
