"""Every read, always on behalf of a user. What is not theirs is not found.

access: one object, fetched through its namespace's membership
ancestry: who lies above and below whom; what is live
"""

from files.queries.access import (
    get_file,
    get_folder,
    get_namespace,
    own_root,
    readable_namespaces,
    writable_namespaces,
)
from files.queries.ancestry import (
    Standing,
    descendant_folders,
    is_below,
    is_live,
    live_descendants,
    live_files,
    live_folders,
    path_of,
    standings,
)
from files.queries.names import id_is_taken, item_named

__all__ = [
    "Standing",
    "descendant_folders",
    "get_file",
    "get_folder",
    "get_namespace",
    "id_is_taken",
    "is_below",
    "is_live",
    "item_named",
    "live_descendants",
    "live_files",
    "live_folders",
    "own_root",
    "path_of",
    "readable_namespaces",
    "standings",
    "writable_namespaces",
]
