-- The history of this database, newest number last. A new epoch begins when the database is found in another place than
-- the one it was last opened in (restored, moved), or when an agent turns out to be ahead of it. `place` is a JSON object
-- of what tells places apart.
CREATE TABLE epochs (
    number   bigint CONSTRAINT epochs_pkey PRIMARY KEY,
    id       text   NOT NULL,
    began_at bigint NOT NULL,
    why      text   NOT NULL,
    place    text   NOT NULL,
    -- How many versions were raised above what agents held, and made at a distance from the one before.
    raised   bigint NOT NULL DEFAULT 0,
    jumped   bigint NOT NULL DEFAULT 0
);

-- The epoch in which the bundle's version was made, or its agent was last heard to hold exactly this version. What was
-- there before epochs belongs to the first one, and so does what a bridge of the version before makes.
ALTER TABLE bundles ADD COLUMN epoch bigint NOT NULL DEFAULT 1;

-- Why a version is there that no caller asked for by this number.
ALTER TABLE ledger ADD COLUMN note text;
