-- The rows that count on are found by the same words on both databases.
DROP INDEX sla_open;
CREATE INDEX sla_open ON sla (flow, promise, period) WHERE open;
