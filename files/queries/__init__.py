"""Every read, always on behalf of a user. What is not theirs is not found.

access: one object, fetched through its namespace's membership
ancestry: who lies above and below whom; what is live
names: which names and ids are taken
listings: the children of a folder, the trash
changes: the journal since a cursor, snapshots, digests
activity: the journal as people read it
conflicts: which there are and what they say
storage: what a person's storage is filled with
holders: which devices have a file's current content
"""

from files.queries.access import (
    check_role,
    get_file,
    get_folder,
    get_namespace,
    namespace_id_of_file,
    namespace_id_of_folder,
    namespaces_of,
    own_root,
    readable_namespaces,
    storage_of,
    version_count,
    writable_namespaces,
)
from files.queries.activity import Activity, ActivityPlace, Event, What, activity_of
from files.queries.ancestry import (
    Standing,
    ancestors,
    files_deleted_before,
    is_below,
    is_live,
    lineage,
    live_below,
    live_descendants,
    path_of,
    purging_folders,
    standing_of,
    standings,
)
from files.queries.changes import (
    ChangesPage,
    Digest,
    SnapshotPage,
    SnapshotPlace,
    changes_since,
    latest_positions,
    snapshot,
    tree_digest,
)
from files.queries.conflicts import (
    ConflictPage,
    ConflictState,
    FoundConflict,
    conflicts_of,
    get_conflict,
    state_of_conflict,
)
from files.queries.holders import Holder, Holders, Holding, holders_of
from files.queries.listings import Children, Sort, Trash, TrashedItem, children, trash
from files.queries.names import free_name, item_named, items_named, taken_ids
from files.queries.storage import StorageParts, storage_parts

__all__ = [
    "Activity",
    "ActivityPlace",
    "ChangesPage",
    "Children",
    "ConflictPage",
    "ConflictState",
    "Digest",
    "Event",
    "FoundConflict",
    "Holder",
    "Holders",
    "Holding",
    "SnapshotPage",
    "SnapshotPlace",
    "Sort",
    "Standing",
    "StorageParts",
    "Trash",
    "TrashedItem",
    "What",
    "activity_of",
    "ancestors",
    "changes_since",
    "check_role",
    "children",
    "conflicts_of",
    "files_deleted_before",
    "free_name",
    "get_conflict",
    "get_file",
    "get_folder",
    "get_namespace",
    "holders_of",
    "is_below",
    "is_live",
    "item_named",
    "items_named",
    "latest_positions",
    "lineage",
    "live_below",
    "live_descendants",
    "namespace_id_of_file",
    "namespace_id_of_folder",
    "namespaces_of",
    "own_root",
    "path_of",
    "purging_folders",
    "readable_namespaces",
    "snapshot",
    "standing_of",
    "standings",
    "state_of_conflict",
    "storage_of",
    "storage_parts",
    "taken_ids",
    "trash",
    "tree_digest",
    "version_count",
    "writable_namespaces",
]
