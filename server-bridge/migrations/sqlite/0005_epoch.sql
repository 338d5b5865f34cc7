-- The history of this database, newest number last. A new epoch begins when the database is found in another place than
-- the one it was last opened in (an older copy put back, another file), or when an agent turns out to be ahead of it.
-- `place` is a JSON object of what tells places apart.
CREATE TABLE epochs (
    number   INTEGER PRIMARY KEY,
    id       TEXT    NOT NULL,
    began_at INTEGER NOT NULL,
    why      TEXT    NOT NULL,
    place    TEXT    NOT NULL,
    -- How many versions were raised above what agents held, and made at a distance from the one before.
    raised   INTEGER NOT NULL DEFAULT 0,
    jumped   INTEGER NOT NULL DEFAULT 0
);

-- The epoch in which the bundle's version was made, or its agent was last heard to hold exactly this version. What was
-- there before epochs belongs to the first one.
ALTER TABLE bundles ADD COLUMN epoch INTEGER NOT NULL DEFAULT 1;

-- Why a version is there that no caller asked for by this number.
ALTER TABLE ledger ADD COLUMN note TEXT;
