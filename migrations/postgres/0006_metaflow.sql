-- What Metaflow's tasks need: how many attempts came before a task was born again, now and the time before, and the
-- run that a clone began with.
ALTER TABLE task ADD COLUMN attempts_before BIGINT NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN attempts_before_that BIGINT NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN origin BIGINT;
ALTER TABLE run ADD COLUMN origin_created_at BIGINT;
