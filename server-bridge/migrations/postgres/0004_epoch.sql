-- The history of this database, newest number last. A new epoch begins when the database is found in another place than
-- the one it was last opened in (restored, moved), or when agents of several consumers turn out to be ahead of it.
-- `place` is a JSON object of what tells places apart.
CREATE TABLE epochs (
    number   bigint CONSTRAINT epochs_pkey PRIMARY KEY,
    id       text   NOT NULL,
    began_at bigint NOT NULL,
    why      text   NOT NULL,
    place    text   NOT NULL,
    -- Whether it began with what agents hold, rather than with the place.
    heard    boolean NOT NULL
);

-- The epoch in which the bundle's version was made, or its agent was last heard to hold exactly this version; 0
-- when its consumer has come to be doubted since. What was there before epochs belongs to the first one, and so does what
-- a bridge of the version before makes.
ALTER TABLE bundles ADD COLUMN epoch bigint NOT NULL DEFAULT 1;

-- Why a version is there that no caller asked for by this number.
ALTER TABLE ledger ADD COLUMN note text;

-- What agents have said that makes one doubt that this database knows all that was done with their consumers.
CREATE TABLE doubts (
    consumer_name text COLLATE "C" CONSTRAINT doubts_pkey PRIMARY KEY,
    -- When one last held a newer version than one that counted as known.
    behind_at     bigint,
    -- When one last held a work that is not known here.
    stranger_at   bigint
);
