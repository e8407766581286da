-- Runs and what hangs on them. Ids are given by the scheduler, never by the database.
-- Columns named reason, params, events, event_data, items, outputs and chosen hold JSON.
CREATE TABLE run (
    id             BIGINT PRIMARY KEY,
    flow           TEXT COLLATE "C" NOT NULL,
    version        TEXT COLLATE "C" NOT NULL,
    state          TEXT NOT NULL CHECK (state IN
        ('queued', 'running', 'cancelling', 'succeeded', 'failed', 'cancelled', 'timed_out')),
    generation     BIGINT NOT NULL,
    params         TEXT NOT NULL,
    occurrence     TEXT NOT NULL,
    trigger        TEXT COLLATE "C" NOT NULL,
    interval_start BIGINT NOT NULL,
    interval_end   BIGINT NOT NULL,
    priority       BIGINT NOT NULL,
    events         TEXT NOT NULL,
    event_data     TEXT NOT NULL,
    reason         TEXT,
    ending         TEXT CHECK (ending IN ('succeeded', 'failed', 'cancelled', 'timed_out')),
    queued_at      BIGINT NOT NULL,
    created_at     BIGINT NOT NULL,
    started_at     BIGINT,
    finished_at    BIGINT,
    deadline       BIGINT
);

CREATE INDEX run_flow ON run (flow, id);
CREATE INDEX run_unfinished ON run (id) WHERE state IN ('queued', 'running', 'cancelling');
CREATE INDEX run_unsuccessful ON run (id) WHERE state IN ('failed', 'cancelled', 'timed_out');

-- `path` is the index path in a form that sorts: each index has one `~` before it for each digit
-- after its first, so that 9 < ~10 < ~~100 as text. Task fit[10.2] has the path ~10.2.
CREATE TABLE task (
    run                    BIGINT NOT NULL,
    step                   TEXT COLLATE "C" NOT NULL,
    path                   TEXT COLLATE "C" NOT NULL,
    iteration              BIGINT NOT NULL,
    state                  TEXT NOT NULL CHECK (state IN
        ('waiting', 'ready', 'submitting', 'running', 'backing_off', 'stopping',
         'succeeded', 'caught', 'failed', 'cancelled', 'skipped')),
    attempt                BIGINT NOT NULL,
    retries_user           BIGINT NOT NULL,
    retries_infrastructure BIGINT NOT NULL,
    reason                 TEXT,
    ready_at               BIGINT NOT NULL,
    submitted_at           BIGINT,
    started_at             BIGINT,
    finished_at            BIGINT,
    retry_at               BIGINT,
    deadline               BIGINT,
    external_id            TEXT,
    outputs                TEXT,
    chosen                 TEXT,
    splits                 BIGINT,
    PRIMARY KEY (run, step, path, iteration)
);

CREATE TABLE scope (
    run       BIGINT NOT NULL,
    scope     TEXT COLLATE "C" NOT NULL,
    path      TEXT COLLATE "C" NOT NULL,
    state     TEXT NOT NULL CHECK (state IN ('waiting', 'open', 'closed', 'skipped', 'failed')),
    items     TEXT NOT NULL,
    reason    TEXT,
    opened_at BIGINT NOT NULL,
    closed_at BIGINT,
    PRIMARY KEY (run, scope, path)
);

-- Attempts that have ended; a live one is in its task's row.
CREATE TABLE attempt (
    run          BIGINT NOT NULL,
    step         TEXT COLLATE "C" NOT NULL,
    path         TEXT COLLATE "C" NOT NULL,
    iteration    BIGINT NOT NULL,
    number       BIGINT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('succeeded', 'failed', 'timed_out', 'cancelled', 'lost')),
    reason       TEXT,
    external_id  TEXT,
    submitted_at BIGINT NOT NULL,
    started_at   BIGINT,
    finished_at  BIGINT NOT NULL,
    PRIMARY KEY (run, step, path, iteration, number)
);
