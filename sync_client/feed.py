"""Keep Remote up to date with the server: changes since a cursor, snapshots, the digest.

Every page is stored together with its cursor, so a crash repeats at most one page, and
applying an entry twice is harmless.
"""

import hashlib
from dataclasses import replace
from enum import Enum
from typing import Any

from sync_client.errors import ApiProblem, RootMissing, Transient
from sync_client.nodes import RemoteItem, SyncedItem
from sync_client.ports import Api, Clock, Signature
from sync_client.trees import Trees

PAGE = 2_000

# The tree is compared with the server's digest this often, and after a doubt.
DIGEST_EVERY_NS = 24 * 3600 * 1_000_000_000


class _Page(Enum):
    MORE = "more"
    LAST = "last"
    RESET = "reset"


class Feed:
    """The server's tree as it arrives."""

    def __init__(self, trees: Trees, api: Api, clock: Clock) -> None:
        self._trees = trees
        self._api = api
        self._clock = clock
        self._own_device: str | None = None

    def pull(self) -> None:
        """Take every change there is. Raises RootMissing when the linked folder is gone."""
        if self._own_device is None:
            self._own_device = str(self._api.request("GET", "/account")["device_id"])
        if self._trees.meta("cursor") is None:
            self._take_snapshot(is_reset=False)
        resets = 0
        while (outcome := self._pull_page()) is not _Page.LAST:
            resets += outcome is _Page.RESET
            if resets > 2:
                raise Transient("The server refuses the cursors that it has just given.")
        if self._trees.remote(self._trees.root.folder_id) is None:
            raise RootMissing("The linked folder is no longer on the server. Link it again.")

    def check_digest(self, *, at_once: bool = False) -> bool:
        """Compare the whole tree with the server's, daily or at once; mend it if it differs.

        True if it was the same or is not due. Pull first.
        """
        now = self._clock.now_ns()
        last = int(self._trees.meta("digest_checked_ns") or 0)
        if not at_once and now - last < DIGEST_EVERY_NS:
            return True
        namespace = self._trees.root.namespace_id
        theirs = self._api.request("GET", f"/namespaces/{namespace}/digest")
        self._trees.set_meta("digest_checked_ns", str(now))
        if theirs["head_seq"] != self.head_seq or theirs["digest"] == self._digest():
            return True
        self._take_snapshot(is_reset=False)
        self.pull()
        return False

    @property
    def head_seq(self) -> int:
        """The seq of the namespace up to which Remote is complete."""
        return int(self._trees.meta("head_seq") or 0)

    def note(self, item: dict[str, Any]) -> RemoteItem | None:
        """Store an item as an answer to our own request says it is; None if deleted."""
        if item["deleted_at"] is not None:
            self._trees.drop_remote(item_id_of(item), seq=item["rev"])
            return None
        stored = remote_item(item)
        self._trees.put_remote(stored)
        return stored

    def _digest(self) -> str:
        lines = sorted(f"{item_id} {rev}\n" for item_id, rev in self._trees.remote_revisions())
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def _pull_page(self) -> "_Page":
        """Store one page, or begin anew where the server says so."""
        cursor = self._trees.meta("cursor")
        try:
            page = self._api.request("POST", "/changes", json={"cursor": cursor, "limit": PAGE})
        except ApiProblem as problem:
            if problem.code != "invalid-cursor":
                raise
            self._take_snapshot(is_reset=True)
            return _Page.RESET
        namespace = self._trees.root.namespace_id
        if any(reset["namespace_id"] == namespace for reset in page["resets"]):
            self._take_snapshot(is_reset=True)
            return _Page.RESET
        with self._trees.transaction():
            head = self.head_seq
            for entry in page["entries"]:
                if entry["namespace_id"] != namespace:
                    continue
                item = entry["item"]
                if entry["action"] == "delete" or item["deleted_at"] is not None:
                    self._trees.drop_remote(item_id_of(item), seq=entry["seq"])
                else:
                    self._apply(remote_item(item), is_own=entry["device_id"] == self._own_device)
                head = max(head, entry["seq"])
            self._trees.set_meta("head_seq", str(head))
            self._trees.set_meta("cursor", page["cursor"])
        return _Page.MORE if page["has_more"] else _Page.LAST

    def _apply(self, item: RemoteItem, *, is_own: bool) -> None:
        """Store an item. What this device itself had committed is no news, even if the answer
        was lost and the file was edited since: it is the base of that edit.

        Nobody has committed a file from here that is as it was last synced: then a command
        (put, restore) made this version, and it is news.
        """
        before = self._trees.remote(item.item_id)
        self._trees.put_remote(item)
        if not is_own or item.is_folder or (before and before.version_id == item.version_id):
            return
        synced = self._trees.synced(item.item_id)
        if synced is not None and synced.version_id != item.version_id:
            local = self._trees.local(synced.local_id)
            if local is None or local.signature != synced.signature:
                self._trees.put_synced(_based_on(synced, item))
        elif synced is None and before is None and item.parent_id is not None:
            folder = self._trees.synced(item.parent_id)
            node = None
            if folder is not None:
                node = self._trees.sent_as_new(folder.local_id, item.name)
            if node is not None:
                self._trees.put_synced(
                    _based_on(
                        SyncedItem(
                            item_id=item.item_id,
                            local_id=node.local_id,
                            parent_id=item.parent_id,
                            parent_local_id=node.parent_id,
                            name=node.name,
                            is_folder=False,
                            version_id=None,
                            content_hash=None,
                            size_bytes=0,
                            mtime_ns=0,
                            executable=False,
                            signature=node.signature,
                        ),
                        item,
                    )
                )

    def _take_snapshot(self, *, is_reset: bool) -> None:
        """Replace Remote by a complete listing; an unfinished one changes nothing.

        is_reset: the server went another way than we remember (it was restored, or we were
        away longer than its journal). What it lacks is uploaded, and nothing is deleted.
        """
        params = {"namespace": self._trees.root.namespace_id, "limit": str(PAGE)}
        self._trees.begin_snapshot()
        while True:
            page = self._api.request("GET", "/changes/snapshot", params=params)
            self._trees.add_to_snapshot([remote_item(item) for item in page["items"]])
            if page["next_page"] is None:
                break
            params["page"] = page["next_page"]
        lost = self._versions_lost() if is_reset else []
        with self._trees.transaction():
            head = self._trees.finish_snapshot()
            if is_reset:
                self._merge(lost)
            self._trees.set_meta("head_seq", str(head))
            self._trees.set_meta("cursor", page["cursor"])

    def _versions_lost(self) -> list[SyncedItem]:
        """Files whose synced version the server does not know any more."""
        return [
            synced
            for synced in self._trees.synced_other_than_snapshot()
            if synced.version_id not in self._known_versions(synced.item_id)
        ]

    def _known_versions(self, file_id: str) -> set[str]:
        known: set[str] = set()
        params = {"limit": "1000"}
        while True:
            try:
                page = self._api.request("GET", f"/files/{file_id}/versions", params=params)
            except ApiProblem as problem:
                if problem.status == 404:
                    return known
                raise
            known.update(version["file_version_id"] for version in page["items"])
            if page.get("next_cursor") is None:
                return known
            params["cursor"] = page["next_cursor"]

    def _merge(self, lost: list[SyncedItem]) -> None:
        for item_id in self._trees.synced_on_one_side():
            self._trees.drop_synced(item_id)
        for synced in lost:
            item = self._trees.remote(synced.item_id)
            node = self._trees.local(synced.local_id)
            if item is None or node is None or node.signature != synced.signature:
                continue
            # Our content is newer than what the server fell back to: an edit of that.
            self._trees.put_synced(_based_on(synced, item))


def _based_on(synced: SyncedItem, item: RemoteItem) -> SyncedItem:
    """Agreed: the server's content. What the disk has must be read to see if it differs."""
    return replace(
        synced,
        version_id=item.version_id,
        content_hash=item.content_hash,
        size_bytes=item.size_bytes,
        mtime_ns=item.mtime_ns,
        executable=item.executable,
        signature=Signature(0, item.size_bytes, item.mtime_ns, 0, 0, item.executable),
    )


def item_id_of(item: dict[str, Any]) -> str:
    """The id of an item of the API, folder or file."""
    return str(item["folder_id"] if item["type"] == "folder" else item["file_id"])


def remote_item(item: dict[str, Any]) -> RemoteItem:
    """An item of the API as Remote keeps it."""
    if item["type"] == "folder":
        return RemoteItem(
            item_id=item["folder_id"],
            parent_id=item["parent_folder_id"],
            name=item["name"],
            is_folder=True,
            rev=item["rev"],
            version_id=None,
            content_hash=None,
            size_bytes=0,
            mtime_ns=0,
            executable=False,
        )
    return RemoteItem(
        item_id=item["file_id"],
        parent_id=item["parent_folder_id"],
        name=item["name"],
        is_folder=False,
        rev=item["rev"],
        version_id=item["current_version_id"],
        content_hash=item["content_hash"],
        size_bytes=item["size_bytes"],
        mtime_ns=int(item["client_modified_ns"]),
        executable=item["executable"],
        is_damaged=item["is_damaged"],
    )
