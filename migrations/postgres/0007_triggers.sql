-- Several events may wait at one leaf. When a set began is when its first event arrived.
ALTER TABLE half_match DROP COLUMN since;
ALTER TABLE half_match DROP CONSTRAINT half_match_pkey;
ALTER TABLE half_match ADD PRIMARY KEY (flow, trigger, join_key, leaf, event);

-- The event that it repeats.
ALTER TABLE event ADD COLUMN replay_of BIGINT;
-- Found by how it begins, so in the order of its bytes.
ALTER TABLE event ALTER COLUMN subject TYPE TEXT COLLATE "C";
CREATE INDEX event_received ON event (received_at, seq);
CREATE INDEX event_subject ON event (subject, seq);
CREATE INDEX event_match_flow ON event_match (flow, outcome, event);

CREATE INDEX occurrence_state ON occurrence (flow, state, due_at, key);

-- The task whose sub-flow a run is: its run, and all of it as JSON; and the backfill it belongs to.
ALTER TABLE run ADD COLUMN parent_run BIGINT;
ALTER TABLE run ADD COLUMN parent TEXT;
ALTER TABLE run ADD COLUMN backfill BIGINT;
CREATE INDEX run_parent ON run (parent_run, id) WHERE parent_run IS NOT NULL;
CREATE INDEX run_interval ON run (flow, interval_start, id);

-- Deliveries that could not be read as events.
CREATE TABLE refused (
    source      TEXT COLLATE "C" NOT NULL,
    id          TEXT COLLATE "C" NOT NULL,
    reason      TEXT NOT NULL,
    excerpt     TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    PRIMARY KEY (source, id)
);

CREATE INDEX refused_received ON refused (received_at, source, id);

-- Orders to run past intervals. `reason`, `after` and `events` hold JSON.
CREATE TABLE backfill (
    id          BIGINT PRIMARY KEY,
    flow        TEXT COLLATE "C" NOT NULL,
    from_at     BIGINT NOT NULL,
    to_at       BIGINT NOT NULL,
    mode        TEXT NOT NULL CHECK (mode IN ('missing', 'failed', 'all')),
    downstream  BOOLEAN NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('running', 'paused', 'cancelling', 'cancelled', 'finished')),
    parallel    BIGINT NOT NULL,
    by          TEXT NOT NULL,
    reason      TEXT,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    finished_at BIGINT
);

CREATE INDEX backfill_unfinished ON backfill (id) WHERE state IN ('running', 'paused', 'cancelling');

CREATE TABLE backfill_item (
    backfill       BIGINT NOT NULL,
    number         BIGINT NOT NULL,
    flow           TEXT COLLATE "C" NOT NULL,
    interval_start BIGINT NOT NULL,
    interval_end   BIGINT NOT NULL,
    trigger        TEXT COLLATE "C" NOT NULL,
    after          TEXT NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'succeeded', 'failed', 'skipped')),
    run            BIGINT,
    reason         TEXT,
    events         TEXT NOT NULL,
    updated_at     BIGINT NOT NULL,
    PRIMARY KEY (backfill, number)
);

-- When the lease was last taken, renewed or given back, and by whom it was given back: what an outage is told from.
ALTER TABLE lease ADD COLUMN certain_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE lease ADD COLUMN former TEXT;

-- Times in which nobody decided, by the term that ended them. `holder` is who had decided before.
CREATE TABLE outage (
    id      BIGINT PRIMARY KEY,
    from_at BIGINT NOT NULL,
    to_at   BIGINT NOT NULL,
    holder  TEXT NOT NULL,
    reason  TEXT NOT NULL CHECK (reason IN ('stopped', 'vanished'))
);

CREATE INDEX outage_to ON outage (to_at, id);

-- How far senders and watchers have come.
CREATE TABLE position (
    name       TEXT COLLATE "C" PRIMARY KEY,
    value      TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);
