-- What the latest status says of the work as a whole, taken out of its text for searches: the conditions `Applied` and
-- `Available` (True, False or Unknown; absent where it says nothing of its version), and since when the work has been as far
-- as that. They count only while `told_sequence` is `status_sequence`: statuses of before are looked into later.
ALTER TABLE bundles ADD COLUMN told_sequence TEXT;
ALTER TABLE bundles ADD COLUMN told_applied TEXT;
ALTER TABLE bundles ADD COLUMN told_available TEXT;
ALTER TABLE bundles ADD COLUMN told_since INTEGER;
