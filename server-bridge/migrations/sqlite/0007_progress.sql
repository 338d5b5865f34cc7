-- What the latest status says of the work as a whole, taken out of its text for searches: the conditions `Applied` and
-- `Available` (True, False or Unknown; absent where it says nothing of its version), and since when the work has been as far
-- as that. They count only while `told_sequence` is `status_sequence`: statuses of before are looked into later.
ALTER TABLE bundles ADD COLUMN told_sequence TEXT;
ALTER TABLE bundles ADD COLUMN told_applied TEXT;
ALTER TABLE bundles ADD COLUMN told_available TEXT;
ALTER TABLE bundles ADD COLUMN told_since INTEGER;

-- For the look at what waits. A bundle that is well is not in it, nor is one that nobody has looked into: it is small, and what
-- a status changes at a bundle that stays as it was costs nothing more.
CREATE INDEX bundles_not_well ON bundles (key) WHERE told_applied <> 'True' OR told_available <> 'True';
