//! What is kept of what agents say: statements that both engines run as they are. Parameters are written `$1`, which both
//! take.

/// Begins a list, unless it has begun.
pub(in crate::store) const BEGIN_LIST: &str = "INSERT INTO resync_lists (consumer_name, id, made_at, began_at, parts) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";

/// Forgets a list.
pub(in crate::store) const DROP_LIST: &str =
    "DELETE FROM resync_lists WHERE consumer_name = $1 AND id = $2";

/// Forgets a list that is answered, and the older ones of its consumer.
pub(in crate::store) const FORGET_LISTS: &str = "DELETE FROM resync_lists WHERE consumer_name = $1 AND (id = $2 \
     OR made_at < (SELECT made_at FROM resync_lists WHERE consumer_name = $1 AND id = $2))";

/// What the parts of a list hold, in order.
pub(in crate::store) const PARTS: &str =
    "SELECT held FROM resync_parts WHERE consumer_name = $1 AND list_id = $2 ORDER BY number";

/// Ids of the orphans of a consumer.
pub(in crate::store) const ORPHAN_IDS: &str =
    "SELECT bundle_id FROM orphans WHERE consumer_name = $1";

/// The oldest orphans of a consumer.
pub(in crate::store) const ORPHANS: &str = "SELECT key, bundle_id, version, deleted_here FROM orphans \
     WHERE consumer_name = $1 ORDER BY key LIMIT $2";
