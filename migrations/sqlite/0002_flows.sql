-- Flows, and each version of a flow as it was read.
CREATE TABLE flow (
    name           TEXT PRIMARY KEY,
    active_version TEXT,
    file           TEXT NOT NULL,
    invalid        TEXT,
    removed        INTEGER NOT NULL CHECK (removed IN (0, 1)),
    paused_by      TEXT,
    paused_reason  TEXT,
    paused_at      INTEGER,
    blocked_by     INTEGER,
    updated_at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE flow_version (
    flow       TEXT NOT NULL,
    version    TEXT NOT NULL,
    source     TEXT NOT NULL,
    definition TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (flow, version)
) STRICT;
