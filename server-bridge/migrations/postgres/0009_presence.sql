-- What is known of the agent of a consumer: what it reported of itself last (JSON; its refusals apart, which lists do not
-- read), since when its reports are missing, and the newest lifecycle event of its connection. A bridge of the version
-- before knows nothing of it; the row goes with its consumer, whoever removes that.
CREATE TABLE presence (
    consumer_name     text COLLATE "C" NOT NULL CONSTRAINT presence_pkey PRIMARY KEY
                      CONSTRAINT presence_consumer_name_fkey REFERENCES consumers (name) ON DELETE CASCADE,
    report            text,
    refusals          text,
    refusal_count     bigint,
    -- When the agent made it, by its clock, and when it was taken.
    report_made_at    bigint,
    report_at         bigint,
    missed_at         bigint,
    client_id         text,
    connected         boolean,
    event_version     bigint,
    -- By the broker's clock, and when it was taken.
    event_at          bigint,
    event_heard_at    bigint,
    disconnect_reason text
) WITH (fillfactor = 80);

-- Since when some bridge on these tables has heard agents without a gap, and until when that is known.
CREATE TABLE listening (
    id          bigint CONSTRAINT listening_pkey PRIMARY KEY CHECK (id = 1),
    since       bigint NOT NULL,
    heard_until bigint NOT NULL
);
