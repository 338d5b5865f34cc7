-- What is known of the agent of a consumer: what it reported of itself last (JSON; its refusals apart, which lists do not
-- read), since when its reports are missing, and the newest lifecycle event of its connection.
CREATE TABLE presence (
    consumer_name     TEXT    NOT NULL PRIMARY KEY REFERENCES consumers (name) ON DELETE CASCADE,
    report            TEXT,
    refusals          TEXT,
    refusal_count     INTEGER,
    -- When the agent made it, by its clock, and when it was taken.
    report_made_at    INTEGER,
    report_at         INTEGER,
    missed_at         INTEGER,
    client_id         TEXT,
    connected         INTEGER,
    event_version     INTEGER,
    -- By the broker's clock, and when it was taken.
    event_at          INTEGER,
    event_heard_at    INTEGER,
    disconnect_reason TEXT
);

-- Since when the bridge on this file has heard agents without a gap, and until when that is known.
CREATE TABLE listening (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    since       INTEGER NOT NULL,
    heard_until INTEGER NOT NULL
);
