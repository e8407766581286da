-- Runs and what hangs on them. Ids are given by the scheduler, never by the database.
-- Columns named reason, params, events, event_data, items, outputs and chosen hold JSON.
CREATE TABLE run (
    id             INTEGER PRIMARY KEY,
    flow           TEXT NOT NULL,
    version        TEXT NOT NULL,
    state          TEXT NOT NULL CHECK (state IN
        ('queued', 'running', 'cancelling', 'succeeded', 'failed', 'cancelled', 'timed_out')),
    generation     INTEGER NOT NULL,
    params         TEXT NOT NULL,
    occurrence     TEXT NOT NULL,
    trigger        TEXT NOT NULL,
    interval_start INTEGER NOT NULL,
    interval_end   INTEGER NOT NULL,
    priority       INTEGER NOT NULL,
    events         TEXT NOT NULL,
    event_data     TEXT NOT NULL,
    reason         TEXT,
    ending         TEXT CHECK (ending IN ('succeeded', 'failed', 'cancelled', 'timed_out')),
    queued_at      INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    started_at     INTEGER,
    finished_at    INTEGER,
    deadline       INTEGER
) STRICT;

CREATE INDEX run_flow ON run (flow, id);
CREATE INDEX run_unfinished ON run (id) WHERE state IN ('queued', 'running', 'cancelling');
CREATE INDEX run_unsuccessful ON run (id) WHERE state IN ('failed', 'cancelled', 'timed_out');

-- `path` is the index path in a form that sorts: each index has one `~` before it for each digit
-- after its first, so that 9 < ~10 < ~~100 as text. Task fit[10.2] has the path ~10.2.
CREATE TABLE task (
    run                    INTEGER NOT NULL,
    step                   TEXT NOT NULL,
    path                   TEXT NOT NULL,
    iteration              INTEGER NOT NULL,
    state                  TEXT NOT NULL CHECK (state IN
        ('waiting', 'ready', 'submitting', 'running', 'backing_off', 'stopping',
         'succeeded', 'caught', 'failed', 'cancelled', 'skipped')),
    attempt                INTEGER NOT NULL,
    retries_user           INTEGER NOT NULL,
    retries_infrastructure INTEGER NOT NULL,
    reason                 TEXT,
    ready_at               INTEGER NOT NULL,
    submitted_at           INTEGER,
    started_at             INTEGER,
    finished_at            INTEGER,
    retry_at               INTEGER,
    deadline               INTEGER,
    external_id            TEXT,
    outputs                TEXT,
    chosen                 TEXT,
    splits                 INTEGER,
    PRIMARY KEY (run, step, path, iteration)
) STRICT, WITHOUT ROWID;

CREATE TABLE scope (
    run       INTEGER NOT NULL,
    scope     TEXT NOT NULL,
    path      TEXT NOT NULL,
    state     TEXT NOT NULL CHECK (state IN ('waiting', 'open', 'closed', 'skipped', 'failed')),
    items     TEXT NOT NULL,
    reason    TEXT,
    opened_at INTEGER NOT NULL,
    closed_at INTEGER,
    PRIMARY KEY (run, scope, path)
) STRICT;

-- Attempts that have ended; a live one is in its task's row.
CREATE TABLE attempt (
    run          INTEGER NOT NULL,
    step         TEXT NOT NULL,
    path         TEXT NOT NULL,
    iteration    INTEGER NOT NULL,
    number       INTEGER NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('succeeded', 'failed', 'timed_out', 'cancelled', 'lost')),
    reason       TEXT,
    external_id  TEXT,
    submitted_at INTEGER NOT NULL,
    started_at   INTEGER,
    finished_at  INTEGER NOT NULL,
    PRIMARY KEY (run, step, path, iteration, number)
) STRICT, WITHOUT ROWID;
