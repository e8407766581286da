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
