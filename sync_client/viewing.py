"""Make the trees agree with what this device follows, whenever that changes.

What becomes ignored is forgotten, on both sides and in one transaction with the new rules:
it stays where it is, and nothing that happens to it from then on is carried over. What is
ignored no longer is new on both sides, and is merged as at the first link. So no change of
the rules, and no mistake in them, ever deletes or overwrites anything.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace

from sync_client import compare, rail
from sync_client.errors import PathProblem
from sync_client.ignore import LARGEST_RULES_BYTES, Rules
from sync_client.nodes import ROOT_ID, LocalNode, RemoteItem
from sync_client.ports import Clock, FileSystem, Path, Signature
from sync_client.scanner import is_racy
from sync_client.trees import Trees
from sync_client.view import IGNORED, View, rules_text

# A file of rules is read once nobody has written to it for so long.
SETTLE_NS = 300_000_000

logger = logging.getLogger("drive.engine")


class RulesReader:
    """The rules of the `.driveignore` files that are on the disk, read when they changed."""

    def __init__(self, trees: Trees, fs: FileSystem, clock: Clock) -> None:
        self._trees = trees
        self._fs = fs
        self._clock = clock
        # What was read of each file; None where a write might have followed unseen.
        self._read: dict[Path, tuple[Signature | None, str]] = {}

    def read(self) -> dict[Path, str]:
        """The text of each file, by its folder. What cannot be read counts as it last did."""
        known = self._trees.view.rules.files
        found: dict[Path, tuple[Signature | None, str]] = {}
        for node in self._trees.rules_files():
            path = self._trees.path_of(node.local_id)
            before = self._read.get(path[:-1])
            if before is not None and before[0] == node.signature:
                found[path[:-1]] = before
            elif (text := self._read_one(path, node.signature)) is not None:
                settled = not is_racy(node.signature, self._clock.now_ns())
                found[path[:-1]] = (node.signature if settled else None, text)
            elif path[:-1] in known:
                found[path[:-1]] = (None, known[path[:-1]])
        self._read = found
        return {folder: text for folder, (_, text) in found.items()}

    def _read_one(self, path: Path, signature: Signature) -> str | None:
        """The text of one file, if it is of one moment."""
        age_ns = self._clock.now_ns() - signature.mtime_ns
        if 0 <= age_ns < SETTLE_NS:
            self._clock.sleep((SETTLE_NS - age_ns) / 1e9)
        try:
            content = self._fs.read_at(path, 0, LARGEST_RULES_BYTES + 1)
            seen = self._fs.observe(path)
        except (OSError, PathProblem):
            # Whoever uploads it says what is wrong with it.
            return None
        if seen is None or seen.signature != signature or len(content) > LARGEST_RULES_BYTES:
            return None
        return rules_text(content)


def refresh(trees: Trees, reader: RulesReader, *, device_rules: tuple[str, ...]) -> set[Path]:
    """Follow what the rules say now. The answer: folders to scan, since more is followed.

    To be called after every look at the disk and the server, before a plan.
    """
    rules = Rules(device_rules, reader.read())
    is_same = rules == trees.view.rules
    has_guessed = trees.has_guessed_rules
    if is_same and not has_guessed and not (rules and trees.has_moved_folders):
        trees.has_moved_folders = False
        return set()
    with trees.changing_view():
        if not is_same:
            logger.info("the rules of what is ignored have changed")
            trees.set_view(replace(trees.view, rules=rules))
            trees.mark_everything()
        folders = _apply(trees)
        trees.has_moved_folders = False
        if has_guessed:
            trees.has_guessed_rules = False
    return folders


def _apply(trees: Trees) -> set[Path]:
    """Set aside what is ignored on the disk, and forget it; let in what is not any more."""
    view = trees.view
    uncovered: set[Path] = set()
    forgotten: list[int] = []
    for node, path in _nodes(trees, view):
        is_ignored = view.ignores(path, is_folder=node.is_folder)
        if is_ignored and node.set_aside != IGNORED:
            forgotten += _forget_nodes(trees, node)
            trees.put_local(
                replace(node, local_id=trees.new_local_id(), content_hash=None, set_aside=IGNORED)
            )
        elif not is_ignored and node.set_aside == IGNORED:
            # Not the node that it may once have been: what is in it is new.
            trees.drop_local(node.local_id)
            uncovered.add(path[:-1])
    for item in _ignored_items(trees, view):
        synced = trees.synced(item.item_id)
        if synced is not None and compare.is_moved_remotely(item, synced):
            # It was moved to where it is ignored: it left, as if out of the linked folder.
            continue
        forgotten += _forget_items(trees, item)
    rail.leave(trees, forgotten)
    return uncovered


def _nodes(trees: Trees, view: View) -> Iterator[tuple[LocalNode, Path]]:
    """All nodes with their paths, but for what is below an ignored one."""
    stack: list[tuple[int, Path]] = [(ROOT_ID, ())]
    while stack:
        local_id, path = stack.pop()
        for node in trees.local_children(local_id):
            here = (*path, node.name)
            yield node, here
            if node.is_folder and not view.ignores(here, is_folder=True):
                stack.append((node.local_id, here))


def _ignored_items(trees: Trees, view: View) -> Iterator[RemoteItem]:
    """The items of the server that are ignored by themselves, not with a folder above."""
    stack: list[tuple[str, Path]] = [(trees.root.folder_id, ())]
    while stack:
        item_id, path = stack.pop()
        for item in trees.remote_children(item_id):
            here = (*path, item.name)
            if view.ignores(here, is_folder=item.is_folder):
                yield item
            elif item.is_folder:
                stack.append((item.item_id, here))


def _forget_nodes(trees: Trees, node: LocalNode) -> list[int]:
    """Drop a node and all below it, and that it was an item. Answers whose items it forgot."""
    forgotten = []
    for local_id in [node.local_id, *trees.local_below(node.local_id)]:
        if (synced := trees.synced_of_local(local_id)) is not None:
            trees.drop_synced(synced.item_id)
            forgotten.append(local_id)
    trees.drop_local(node.local_id)
    return forgotten


def _forget_items(trees: Trees, item: RemoteItem) -> list[int]:
    """The same, from the server's side; what is on the disk stands for itself."""
    forgotten = []
    for item_id in [item.item_id, *trees.remote_below(item.item_id)]:
        if (synced := trees.synced(item_id)) is not None:
            trees.drop_synced(item_id)
            forgotten.append(synced.local_id)
    return forgotten
