-- What is worth telling people, in the order in which it was caused. `data` holds JSON.
CREATE TABLE alert (
    id          INTEGER PRIMARY KEY,
    at          INTEGER NOT NULL,
    kind        TEXT NOT NULL,
    flow        TEXT,
    owner       TEXT,
    run         INTEGER,
    step        TEXT,
    key         TEXT NOT NULL,
    is_recovery INTEGER NOT NULL CHECK (is_recovery IN (0, 1)),
    summary     TEXT NOT NULL,
    data        TEXT NOT NULL
) STRICT;

CREATE INDEX alert_flow ON alert (flow, id);
CREATE INDEX alert_key ON alert (key, id);

-- The last run that failed, while none has succeeded since and somebody wants to be told of it.
ALTER TABLE flow ADD COLUMN failing INTEGER;

-- Promises about time, each for one period: `slot:…`, `day:…`, `run:…` or `since:…`. `open`: not over, or missed and
-- perhaps met late. `prediction`, `acknowledged` and `withdrawn` hold JSON.
CREATE TABLE sla (
    flow           TEXT NOT NULL,
    promise        TEXT NOT NULL,
    period         TEXT NOT NULL,
    due_at         INTEGER NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('on_time', 'at_risk', 'missed', 'met', 'met_late')),
    open           INTEGER NOT NULL CHECK (open IN (0, 1)),
    run            INTEGER,
    step           TEXT,
    at_risk_since  INTEGER,
    missed_at      INTEGER,
    met_at         INTEGER,
    told           TEXT CHECK (told IN ('on_time', 'at_risk', 'missed', 'met', 'met_late')),
    prediction     TEXT,
    acknowledged   TEXT,
    silenced_until INTEGER,
    withdrawn      TEXT,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    PRIMARY KEY (flow, promise, period)
) STRICT, WITHOUT ROWID;

CREATE INDEX sla_open ON sla (flow, promise, period) WHERE open = 1;
CREATE INDEX sla_due ON sla (due_at, flow, promise, period);
CREATE INDEX sla_flow ON sla (flow, due_at, promise, period);

-- Times in which nobody is told of promises that are at risk or missed.
CREATE TABLE silence (
    id         INTEGER PRIMARY KEY,
    flow       TEXT,
    promise    TEXT,
    from_at    INTEGER NOT NULL,
    until_at   INTEGER NOT NULL,
    by         TEXT NOT NULL,
    note       TEXT,
    created_at INTEGER NOT NULL,
    ended_at   INTEGER
) STRICT;

CREATE INDEX silence_open ON silence (id) WHERE ended_at IS NULL;
