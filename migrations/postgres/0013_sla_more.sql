-- How many later periods a row stands for as well: of a very long outage not all have rows of their own.
ALTER TABLE sla ADD COLUMN more BIGINT NOT NULL DEFAULT 0;
