-- What happened, for people: one entry for each changed row, in order, without gaps.
-- `body` is the row after the change, as JSON.
CREATE TABLE journal (
    seq  BIGINT PRIMARY KEY,
    at   BIGINT NOT NULL,
    flow TEXT COLLATE "C" NOT NULL,
    run  BIGINT,
    kind TEXT NOT NULL,
    body TEXT NOT NULL
);

CREATE INDEX journal_run ON journal (run, seq) WHERE run IS NOT NULL;
CREATE INDEX journal_flow ON journal (flow, seq) WHERE run IS NULL;
