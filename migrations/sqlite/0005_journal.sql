-- What happened, for people: one entry for each changed row, in order, without gaps.
-- `body` is the row after the change, as JSON.
CREATE TABLE journal (
    seq  INTEGER PRIMARY KEY,
    at   INTEGER NOT NULL,
    flow TEXT NOT NULL,
    run  INTEGER,
    kind TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE INDEX journal_run ON journal (run, seq) WHERE run IS NOT NULL;
CREATE INDEX journal_flow ON journal (flow, seq) WHERE run IS NULL;
