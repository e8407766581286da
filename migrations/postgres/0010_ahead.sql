-- Slots that a calendar moved to an earlier day, and that were decided before their own time.
CREATE INDEX occurrence_ahead ON occurrence (interval_end) WHERE state <> 'expected' AND interval_end > due_at;
-- Slots that were dropped before they were due, of flows that may come back.
CREATE INDEX occurrence_left ON occurrence (due_at) WHERE state = 'skipped' AND due_at > updated_at;
-- When a slot was planned, none from here on was decided.
ALTER TABLE occurrence ADD COLUMN since BIGINT NOT NULL DEFAULT 0;
