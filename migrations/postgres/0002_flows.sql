-- Flows, and each version of a flow as it was read.
CREATE TABLE flow (
    name           TEXT COLLATE "C" PRIMARY KEY,
    active_version TEXT,
    file           TEXT NOT NULL,
    invalid        TEXT,
    removed        BOOLEAN NOT NULL,
    paused_by      TEXT,
    paused_reason  TEXT,
    paused_at      BIGINT,
    blocked_by     BIGINT,
    updated_at     BIGINT NOT NULL
);

CREATE TABLE flow_version (
    flow       TEXT COLLATE "C" NOT NULL,
    version    TEXT COLLATE "C" NOT NULL,
    source     TEXT COLLATE "C" NOT NULL,
    definition TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (flow, version)
);
