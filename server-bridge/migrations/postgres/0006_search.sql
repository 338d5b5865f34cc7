-- no-transaction
-- What searches for a label or a name look up. Built beside the bridges that run: neither their reads nor their writes
-- wait for it. Rows change at every hop and their labels hardly ever, so new entries go to their places at once: no write
-- and no search pays for a list of entries that wait.
CREATE INDEX CONCURRENTLY IF NOT EXISTS bundles_by_search ON bundles USING gin (search jsonb_path_ops)
    WITH (fastupdate = off);
