-- Several events may wait at one leaf. When a set began is when its first event arrived.
ALTER TABLE half_match DROP COLUMN since;
ALTER TABLE half_match DROP CONSTRAINT half_match_pkey;
ALTER TABLE half_match ADD PRIMARY KEY (flow, trigger, join_key, leaf, event);
