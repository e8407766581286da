-- What starts runs: events, occurrences, and sets of events that are not complete yet.
-- A claim is a dedupe key that was used, and what came of it.
CREATE TABLE claim (
    key    TEXT PRIMARY KEY,
    result TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE occurrence (
    flow           TEXT NOT NULL,
    key            TEXT NOT NULL,
    trigger        TEXT NOT NULL,
    due_at         INTEGER NOT NULL,
    interval_start INTEGER NOT NULL,
    interval_end   INTEGER NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('expected', 'ran', 'coalesced', 'skipped', 'missed')),
    reason         TEXT,
    run            INTEGER,
    updated_at     INTEGER NOT NULL,
    PRIMARY KEY (flow, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX occurrence_due ON occurrence (flow, due_at, key);
CREATE INDEX occurrence_expected ON occurrence (flow, key) WHERE state = 'expected';

-- CloudEvents; `data` is JSON.
CREATE TABLE event (
    seq         INTEGER PRIMARY KEY,
    source      TEXT NOT NULL,
    id          TEXT NOT NULL,
    type        TEXT NOT NULL,
    subject     TEXT,
    time        INTEGER NOT NULL,
    data        TEXT NOT NULL,
    received_at INTEGER NOT NULL
) STRICT;

CREATE INDEX event_type ON event (type, seq);
CREATE INDEX event_source ON event (source, seq);

-- What became of an event at one leaf of one trigger.
CREATE TABLE event_match (
    event      INTEGER NOT NULL,
    flow       TEXT NOT NULL,
    trigger    TEXT NOT NULL,
    leaf       INTEGER NOT NULL,
    outcome    TEXT NOT NULL CHECK (outcome IN
        ('fired', 'waiting', 'filtered', 'replaced', 'expired', 'refused')),
    reason     TEXT,
    run        INTEGER,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (event, flow, trigger, leaf)
) STRICT, WITHOUT ROWID;

-- The reference keeps an event that a set still waits with from being deleted.
CREATE TABLE half_match (
    flow       TEXT NOT NULL,
    trigger    TEXT NOT NULL,
    join_key   TEXT NOT NULL,
    leaf       INTEGER NOT NULL,
    event      INTEGER NOT NULL REFERENCES event (seq),
    since      INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (flow, trigger, join_key, leaf)
) STRICT, WITHOUT ROWID;
