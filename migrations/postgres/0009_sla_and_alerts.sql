-- What is worth telling people, in the order in which it was caused. `data` holds JSON.
CREATE TABLE alert (
    id          BIGINT PRIMARY KEY,
    at          BIGINT NOT NULL,
    kind        TEXT NOT NULL,
    flow        TEXT COLLATE "C",
    owner       TEXT,
    run         BIGINT,
    step        TEXT COLLATE "C",
    key         TEXT COLLATE "C" NOT NULL,
    is_recovery BOOLEAN NOT NULL,
    summary     TEXT NOT NULL,
    data        TEXT NOT NULL
);

CREATE INDEX alert_flow ON alert (flow, id);
CREATE INDEX alert_key ON alert (key, id);

-- The last run that failed, while none has succeeded since and somebody wants to be told of it.
ALTER TABLE flow ADD COLUMN failing BIGINT;

-- Promises about time, each for one period: `slot:…`, `day:…`, `run:…` or `since:…`. `open`: not over, or missed and
-- perhaps met late. `prediction`, `acknowledged` and `withdrawn` hold JSON.
CREATE TABLE sla (
    flow           TEXT COLLATE "C" NOT NULL,
    promise        TEXT COLLATE "C" NOT NULL,
    period         TEXT COLLATE "C" NOT NULL,
    due_at         BIGINT NOT NULL,
    state          TEXT NOT NULL CHECK (state IN ('on_time', 'at_risk', 'missed', 'met', 'met_late')),
    open           BOOLEAN NOT NULL,
    run            BIGINT,
    step           TEXT COLLATE "C",
    at_risk_since  BIGINT,
    missed_at      BIGINT,
    met_at         BIGINT,
    told           TEXT CHECK (told IN ('on_time', 'at_risk', 'missed', 'met', 'met_late')),
    prediction     TEXT,
    acknowledged   TEXT,
    silenced_until BIGINT,
    withdrawn      TEXT,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    PRIMARY KEY (flow, promise, period)
);

CREATE INDEX sla_open ON sla (flow, promise, period) WHERE open;
CREATE INDEX sla_due ON sla (due_at, flow, promise, period);
CREATE INDEX sla_flow ON sla (flow, due_at, promise, period);

-- Times in which nobody is told of promises that are at risk or missed.
CREATE TABLE silence (
    id         BIGINT PRIMARY KEY,
    flow       TEXT COLLATE "C",
    promise    TEXT COLLATE "C",
    from_at    BIGINT NOT NULL,
    until_at   BIGINT NOT NULL,
    by         TEXT NOT NULL,
    note       TEXT,
    created_at BIGINT NOT NULL,
    ended_at   BIGINT
);

CREATE INDEX silence_open ON silence (id) WHERE ended_at IS NULL;
