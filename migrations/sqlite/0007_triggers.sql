-- Several events may wait at one leaf. When a set began is when its first event arrived.
CREATE TABLE waiting (
    flow       TEXT NOT NULL,
    trigger    TEXT NOT NULL,
    join_key   TEXT NOT NULL,
    leaf       INTEGER NOT NULL,
    event      INTEGER NOT NULL REFERENCES event (seq),
    expires_at INTEGER,
    PRIMARY KEY (flow, trigger, join_key, leaf, event)
) STRICT, WITHOUT ROWID;
INSERT INTO waiting SELECT flow, trigger, join_key, leaf, event, expires_at FROM half_match;
DROP TABLE half_match;
ALTER TABLE waiting RENAME TO half_match;

-- The event that it repeats.
ALTER TABLE event ADD COLUMN replay_of INTEGER;
CREATE INDEX event_received ON event (received_at, seq);
CREATE INDEX event_subject ON event (subject, seq);
CREATE INDEX event_match_flow ON event_match (flow, outcome, event);

CREATE INDEX occurrence_state ON occurrence (flow, state, due_at, key);

-- The task whose sub-flow a run is: its run, and all of it as JSON; and the backfill it belongs to.
ALTER TABLE run ADD COLUMN parent_run INTEGER;
ALTER TABLE run ADD COLUMN parent TEXT;
ALTER TABLE run ADD COLUMN backfill INTEGER;
CREATE INDEX run_parent ON run (parent_run, id) WHERE parent_run IS NOT NULL;
CREATE INDEX run_interval ON run (flow, interval_start, id);

-- Deliveries that could not be read as events.
CREATE TABLE refused (
    source      TEXT NOT NULL,
    id          TEXT NOT NULL,
    reason      TEXT NOT NULL,
    excerpt     TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (source, id)
) STRICT;

CREATE INDEX refused_received ON refused (received_at, source, id);

-- Orders to run past intervals. `reason`, `after` and `events` hold JSON.
CREATE TABLE backfill (
    id          INTEGER PRIMARY KEY,
    flow        TEXT NOT NULL,
    from_at     INTEGER NOT NULL,
    to_at       INTEGER NOT NULL,
    mode        TEXT NOT NULL CHECK (mode IN ('missing', 'failed', 'all')),
    downstream  INTEGER NOT NULL CHECK (downstream IN (0, 1)),
    state       TEXT NOT NULL CHECK (state IN ('running', 'paused', 'cancelling', 'cancelled', 'finished')),
    parallel    INTEGER NOT NULL,
    by          TEXT NOT NULL,
    reason      TEXT,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;

CREATE INDEX backfill_unfinished ON backfill (id) WHERE state IN ('running', 'paused', 'cancelling');

CREATE TABLE backfill_item (
    backfill       INTEGER NOT NULL,
    number         INTEGER NOT NULL,
    flow           TEXT NOT NULL,
    interval_start INTEGER NOT NULL,
    interval_end   INTEGER NOT NULL,
    trigger        TEXT NOT NULL,
    after          TEXT NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'succeeded', 'failed', 'skipped')),
    run            INTEGER,
    reason         TEXT,
    events         TEXT NOT NULL,
    updated_at     INTEGER NOT NULL,
    PRIMARY KEY (backfill, number)
) STRICT, WITHOUT ROWID;

-- When the lease was last taken, renewed or given back, and by whom it was given back: what an outage is told from.
ALTER TABLE lease ADD COLUMN certain_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lease ADD COLUMN former TEXT;

-- Times in which nobody decided, by the term that ended them. `holder` is who had decided before.
CREATE TABLE outage (
    id      INTEGER PRIMARY KEY,
    from_at INTEGER NOT NULL,
    to_at   INTEGER NOT NULL,
    holder  TEXT NOT NULL,
    reason  TEXT NOT NULL CHECK (reason IN ('stopped', 'vanished'))
) STRICT;

CREATE INDEX outage_to ON outage (to_at, id);

-- How far senders and watchers have come.
CREATE TABLE position (
    name       TEXT PRIMARY KEY,
    value      TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
