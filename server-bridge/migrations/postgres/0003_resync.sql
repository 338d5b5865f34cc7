-- What is kept of what agents say, whichever replica heard it. No row here names a consumer that must be registered: the
-- broker's policy says who may speak for whom, and an agent may speak before it is registered.

-- When its agent was heard last, noted about once a minute.
ALTER TABLE consumers ADD COLUMN last_seen_at bigint;

-- Lists of what an agent holds that come in parts, until they are answered. `made_at` is by the agent's clock.
CREATE TABLE resync_lists (
    consumer_name text COLLATE "C" NOT NULL,
    id            text COLLATE "C" NOT NULL,
    made_at       bigint  NOT NULL,
    began_at      bigint  NOT NULL,
    parts         integer NOT NULL,
    bytes         bigint  NOT NULL DEFAULT 0,
    CONSTRAINT resync_lists_pkey PRIMARY KEY (consumer_name, id)
);
CREATE INDEX resync_lists_by_age ON resync_lists (began_at);

CREATE TABLE resync_parts (
    consumer_name text COLLATE "C" NOT NULL,
    list_id       text COLLATE "C" NOT NULL,
    number        integer NOT NULL,
    held          text NOT NULL,
    CONSTRAINT resync_parts_pkey PRIMARY KEY (consumer_name, list_id, number),
    CONSTRAINT resync_parts_list_fkey FOREIGN KEY (consumer_name, list_id)
        REFERENCES resync_lists (consumer_name, id) ON DELETE CASCADE
);

-- Works that only their agent holds and that are to be deleted there: a part of the outbox. One that is added again gets
-- another key, so that what is sent meanwhile does not remove it.
CREATE TABLE orphans (
    key           bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT orphans_pkey PRIMARY KEY,
    consumer_name text COLLATE "C" NOT NULL,
    bundle_id     text COLLATE "C" NOT NULL,
    version       bigint  NOT NULL,
    deleted_here  boolean NOT NULL,
    CONSTRAINT orphans_bundle_key UNIQUE (consumer_name, bundle_id)
);
CREATE INDEX orphans_by_consumer ON orphans (consumer_name, key);
