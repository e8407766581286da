-- What starts runs: events, occurrences, and sets of events that are not complete yet.
-- A claim is a dedupe key that was used, and what came of it.
CREATE TABLE claim (
    key    TEXT COLLATE "C" PRIMARY KEY,
    result TEXT NOT NULL
);

CREATE TABLE occurrence (
    flow           TEXT COLLATE "C" NOT NULL,
    key            TEXT COLLATE "C" NOT NULL,
    trigger        TEXT COLLATE "C" NOT NULL,
    due_at         BIGINT NOT NULL,
    interval_start BIGINT NOT NULL,
    interval_end   BIGINT NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('expected', 'ran', 'coalesced', 'skipped', 'missed')),
    reason         TEXT,
    run            BIGINT,
    updated_at     BIGINT NOT NULL,
    PRIMARY KEY (flow, key)
);

CREATE INDEX occurrence_due ON occurrence (flow, due_at, key);
CREATE INDEX occurrence_expected ON occurrence (flow, key) WHERE state = 'expected';

-- CloudEvents; `data` is JSON.
CREATE TABLE event (
    seq         BIGINT PRIMARY KEY,
    source      TEXT COLLATE "C" NOT NULL,
    id          TEXT NOT NULL,
    type        TEXT COLLATE "C" NOT NULL,
    subject     TEXT,
    time        BIGINT NOT NULL,
    data        TEXT NOT NULL,
    received_at BIGINT NOT NULL
);

CREATE INDEX event_type ON event (type, seq);
CREATE INDEX event_source ON event (source, seq);

-- What became of an event at one leaf of one trigger.
CREATE TABLE event_match (
    event      BIGINT NOT NULL,
    flow       TEXT COLLATE "C" NOT NULL,
    trigger    TEXT COLLATE "C" NOT NULL,
    leaf       BIGINT NOT NULL,
    outcome    TEXT NOT NULL CHECK (outcome IN
        ('fired', 'waiting', 'filtered', 'replaced', 'expired', 'refused')),
    reason     TEXT,
    run        BIGINT,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (event, flow, trigger, leaf)
);

-- The reference keeps an event that a set still waits with from being deleted.
CREATE TABLE half_match (
    flow       TEXT COLLATE "C" NOT NULL,
    trigger    TEXT COLLATE "C" NOT NULL,
    join_key   TEXT COLLATE "C" NOT NULL,
    leaf       BIGINT NOT NULL,
    event      BIGINT NOT NULL REFERENCES event (seq),
    since      BIGINT NOT NULL,
    expires_at BIGINT,
    PRIMARY KEY (flow, trigger, join_key, leaf)
);
