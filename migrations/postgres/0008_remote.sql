-- Tasks that run elsewhere: where their logs are, their places among many that are submitted as one (JSON), and the memory
-- of the next attempt after one ran out of it. Retries used have a count for each class of failures.
ALTER TABLE task ADD COLUMN retries_network BIGINT NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN retries_throttled BIGINT NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN retries_capacity BIGINT NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN retries_oom BIGINT NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN log TEXT;
ALTER TABLE task ADD COLUMN array_place TEXT;
ALTER TABLE task ADD COLUMN memory_bytes BIGINT;

-- What kind of failure an attempt ended with, and the rule that says so.
ALTER TABLE attempt ADD COLUMN class TEXT;
ALTER TABLE attempt ADD COLUMN rule TEXT;
ALTER TABLE attempt ADD COLUMN log TEXT;
ALTER TABLE attempt ADD COLUMN memory_bytes BIGINT;
