-- The bridges that share these tables, and for which part of the consumers each of them sends.
--
-- Times are the server's alone (`clock_timestamp()`): no clock of a bridge is compared with anything. A replica renews its
-- one row; a bucket is its owner's for as long as that row is there. Rows that were not renewed in time are removed by the
-- other replicas. Both tables are logged, unlike leases elsewhere: terms must never go back, also not with a crash.

CREATE TABLE replicas (
    -- Which of the numbered client ids it connects under.
    slot       smallint CONSTRAINT replicas_pkey PRIMARY KEY CHECK (slot >= 0),
    -- Random, one per process.
    instance   text COLLATE "C" NOT NULL CONSTRAINT replicas_instance_key UNIQUE,
    -- What people know it by.
    name       text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 10);

-- `term` rises with each taking, so that what a former owner writes late is known (fencing).
CREATE TABLE bucket_leases (
    bucket   smallint CONSTRAINT bucket_leases_pkey PRIMARY KEY CHECK (bucket BETWEEN 0 AND 255),
    instance text COLLATE "C",
    term     bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
INSERT INTO bucket_leases (bucket) SELECT generate_series(0, 255);
