-- What Metaflow's tasks need: how many attempts came before a rebirth, and the run that a clone began with.
ALTER TABLE task ADD COLUMN attempts_before INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN origin INTEGER;
