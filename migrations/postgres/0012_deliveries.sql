-- Alerts on their way to a channel, each once: `msg_<alert>_<channel>`. `alerts` holds JSON: what the message tells.
-- `batch`: what may be told in one message; `told_with`: the delivery that took this one along.
CREATE TABLE delivery (
    id         TEXT PRIMARY KEY,
    alert      BIGINT NOT NULL,
    channel    TEXT NOT NULL,
    matter     TEXT NOT NULL,
    batch      TEXT NOT NULL,
    kind       TEXT NOT NULL,
    flow       TEXT NOT NULL,
    summary    TEXT NOT NULL,
    recovery   BIGINT NOT NULL,
    alerts     TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('held', 'waiting', 'delivered', 'grouped', 'dropped', 'dead')),
    due_at     BIGINT NOT NULL,
    tries      BIGINT NOT NULL,
    attempts   BIGINT NOT NULL,
    told_with  TEXT NOT NULL,
    reason     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE INDEX delivery_due ON delivery (channel, due_at) WHERE state IN ('held', 'waiting');
CREATE INDEX delivery_batch ON delivery (channel, batch, alert) WHERE state IN ('held', 'waiting');
CREATE INDEX delivery_matter ON delivery (channel, matter, alert);
CREATE INDEX delivery_first ON delivery (channel, matter, alert) WHERE state IN ('held', 'waiting');
CREATE INDEX delivery_told ON delivery (channel, matter, alert) WHERE state = 'grouped';
CREATE INDEX delivery_newest ON delivery (alert, channel);
CREATE INDEX delivery_state ON delivery (state, alert, channel);
CREATE INDEX delivery_channel ON delivery (channel, state);

-- What came of each attempt. `status`: of HTTP or SMTP, 0 without.
CREATE TABLE delivery_attempt (
    delivery TEXT NOT NULL,
    number   BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    took_us  BIGINT NOT NULL,
    status   BIGINT NOT NULL,
    message  TEXT NOT NULL,
    PRIMARY KEY (delivery, number)
);

-- Channels to which nothing is sent until a person says so.
CREATE TABLE channel_stop (
    channel    TEXT PRIMARY KEY,
    reason     TEXT NOT NULL,
    stopped_at BIGINT NOT NULL
);
