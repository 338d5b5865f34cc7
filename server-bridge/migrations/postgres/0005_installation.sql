-- For which source the bridges on these tables speak: that of the first. Bridges of another would send these bundles in
-- their own name.
CREATE TABLE installation (
    id     bigint CONSTRAINT installation_pkey PRIMARY KEY CHECK (id = 1),
    source text NOT NULL
);
