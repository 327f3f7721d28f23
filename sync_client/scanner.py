"""Bring Local up to date with the disk: the whole folder, or the folders that a watcher named.

Compares names and signatures and reads no content. What cannot be read is unknown, never
empty: below an unreadable folder, Local stays as it was.

Which node is it? A file at a known path stays that node, whatever inode is behind it:
programs save by writing another file and renaming it over the old one. What appears at a
free path is a node that left its old place, if it has that node's inode and birth time. A
wrong guess may cost bytes, but never changes the resulting tree.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from sync_client.errors import PathProblem
from sync_client.ignore import LARGEST_RULES_BYTES, RULES_NAME
from sync_client.names import REFUSALS, refusal
from sync_client.nodes import ROOT_ID, LocalNode
from sync_client.ports import Clock, FileSystem, Kind, Observation, Path, Signature
from sync_client.trees import AsSeen, Trees
from sync_client.view import IGNORED, rules_text

# A hash taken this soon after a write may be of the content before a further write that
# left the same time stamp: coarse clocks count in whole milliseconds, or seconds.
RACY_NS = 100_000_000
RACY_COARSE_NS = 2_000_000_000


@dataclass(slots=True)
class Scan:
    """What a scan met besides entries."""

    # Folders that changed under our eyes: look again.
    again: set[Path] = field(default_factory=set)


def is_racy(signature: Signature, now_ns: int) -> bool:
    """Whether a write after `now_ns` could leave this very signature."""
    is_coarse = signature.mtime_ns % 1_000_000 == 0
    limit = RACY_COARSE_NS if is_coarse else RACY_NS
    return abs(now_ns - signature.mtime_ns) < limit or abs(now_ns - signature.ctime_ns) < RACY_NS


def scan_everything(trees: Trees, fs: FileSystem, clock: Clock) -> Scan:
    """Compare the whole linked folder with Local.

    Raises RootMissing, also when the root went while it was looked at; Local is as before.
    """
    with trees.transaction(), fs.one_root():
        # Only of what was never seen: then nothing that moves can look like something deleted.
        is_first = trees.next_local_id == ROOT_ID + 1
        run = _Run(trees, fs, is_recursive=True, learns_rules=is_first)
        run.visit(ROOT_ID, ())
        return run.finish(clock.now_ns())


def scan_folders(trees: Trees, fs: FileSystem, clock: Clock, folders: Iterable[Path]) -> Scan:
    """Compare the entries of some folders; what is new or came from elsewhere, whole.

    Raises RootMissing like `scan_everything`.
    """
    with trees.transaction(), fs.one_root():
        run = _Run(trees, fs, is_recursive=False)
        # From the top: a folder may have come to its place only now.
        for path in sorted(set(folders), key=len):
            known = path
            while (local_id := trees.local_id_at(known)) is None:
                known = known[:-1]
            node = trees.local(local_id)
            if node is None or node.set_aside != IGNORED:
                run.visit(local_id, known)
        return run.finish(clock.now_ns())


def scan_below(trees: Trees, fs: FileSystem, clock: Clock, folder: Path) -> Scan:
    """Compare a folder, if it is known, with all that is in it. Raises RootMissing."""
    with trees.transaction(), fs.one_root():
        run = _Run(trees, fs, is_recursive=True)
        if (local_id := trees.local_id_at(folder)) is not None:
            run.visit(local_id, folder)
        return run.finish(clock.now_ns())


def _recheck_racy(trees: Trees, now_ns: int) -> None:
    """Have files read again that were read too soon after a write, once it is safe."""
    for node in trees.racy_locals():
        if is_racy(node.signature, now_ns):
            continue
        trees.put_local(replace(node, content_hash=None))
        synced = trees.synced_of_local(node.local_id)
        if synced is not None and synced.signature == node.signature:
            # What was agreed on may be the content before.
            trees.put_synced(replace(synced, signature=replace(synced.signature, ctime_ns=0)))


class _Run:
    def __init__(
        self, trees: Trees, fs: FileSystem, *, is_recursive: bool, learns_rules: bool = False
    ) -> None:
        """learns_rules: rules that the scan meets count at once, for what is new below."""
        self._trees = trees
        self._fs = fs
        self._is_recursive = is_recursive
        self._learns_rules = learns_rules
        self._view = trees.view
        self._scan = Scan()
        self._stack: list[tuple[int, Path]] = []
        self._visited: set[int] = set()
        # Nodes that were not found at their place: gone, unless they turn up elsewhere.
        self._missing: list[LocalNode] = []
        # Folders at whose name another folder stands now.
        self._replaced: list[tuple[LocalNode, Observation]] = []
        # What could not be read the last time.
        self._unreadable = trees.unreadable_ids()

    def finish(self, now_ns: int) -> Scan:
        """Drop what was not found anywhere; only now is it known that it did not move."""
        for node in self._missing:
            now = self._trees.local(node.local_id)
            if now is not None and (now.parent_id, now.name) == (node.parent_id, node.name):
                self._trees.drop_local(node.local_id)
        _recheck_racy(self._trees, now_ns)
        return self._scan

    def visit(self, local_id: int, path: Path) -> None:
        """Compare a folder, and all below that has to be compared with it."""
        self._stack.append((local_id, path))
        while self._stack:
            self._walk()
            self._settle_replaced()

    def _walk(self) -> None:
        while self._stack:
            local_id, path = self._stack.pop()
            if local_id in self._visited:
                continue
            self._visited.add(local_id)
            try:
                found = self._fs.listdir(path)
            except PathProblem as problem:
                self._trees.put_unreadable(local_id, problem.code, str(problem))
                continue
            except (FileNotFoundError, NotADirectoryError):
                # Gone since its parent was listed; what was in it is unknown for now.
                self._scan.again.add(path[:-1])
                continue
            if local_id in self._unreadable:
                self._trees.put_readable(local_id)
            before = self._trees.children_as_seen(local_id)
            changed = [
                seen
                for seen in found
                if not self._is_as_before(before.pop(seen.name, None), path, seen)
            ]
            if changed or before:
                # As they are now: what is compared first may move what comes later.
                if self._learns_rules and any(each.name == RULES_NAME for each in changed):
                    self._learn(path)
                known = {node.name: node for node in self._trees.local_children(local_id)}
                for seen in changed:
                    self._compare(local_id, path, known.get(seen.name), seen)
                self._missing.extend(known[name] for name in before)

    def _learn(self, path: Path) -> None:
        """Know the rules of a folder before what is in it: what they ignore is not walked.

        A guess, until `viewing.py` has read the file, settled, and made the trees agree with it.
        """
        rules = self._view.rules
        if path in rules.files:
            return
        try:
            content = self._fs.read_at((*path, RULES_NAME), 0, LARGEST_RULES_BYTES + 1)
        except (OSError, PathProblem):
            return
        if len(content) <= LARGEST_RULES_BYTES:
            files = {**rules.files, path: rules_text(content)}
            self._view = replace(self._view, rules=replace(rules, files=files))
            self._trees.has_guessed_rules = True

    def _is_as_before(self, known: AsSeen | None, path: Path, seen: Observation) -> bool:
        """Whether this is surely what was here; then there is no more to it.

        Nearly everything is, so this does for it what `_compare` would, in a tenth of the time.
        """
        if known is None or self._unreadable:
            return False
        mine = seen.signature
        if seen.kind is Kind.FOLDER:
            local_id, set_aside, *identity = known[:5]
            if set_aside is not None or identity != [seen.kind, *mine.identity]:
                return False
            if self._is_recursive:
                self._stack.append((local_id, (*path, seen.name)))
            return True
        return known[2:] == (
            seen.kind,
            mine.inode,
            mine.birth_ns,
            mine.size_bytes,
            mine.mtime_ns,
            mine.ctime_ns,
            mine.executable,
        )

    def _compare(
        self, parent_id: int, path: Path, node: LocalNode | None, seen: Observation
    ) -> None:
        here = (*path, seen.name)
        if node is not None and seen.apart is not None and node.set_aside is None:
            # Covered by something that is not ours: unknown, with all below it, not gone.
            self._trees.put_unreadable(node.local_id, seen.apart, REFUSALS[seen.apart])
            return
        if node is not None and node.set_aside == IGNORED and node.kind is seen.kind:
            # Whatever happens to it: it is not followed, nor what is in it.
            return
        was_unreadable = node is not None and node.local_id in self._unreadable
        if was_unreadable and node is not None and seen.kind is Kind.FILE:
            self._trees.put_readable(node.local_id)
        if node is None or node.kind is not seen.kind:
            if node is not None:
                self._missing.append(node)
            self._appear(parent_id, here, seen)
        elif seen.kind is Kind.FOLDER:
            if node.signature.identity != seen.signature.identity:
                self._replaced.append((node, seen))
            elif self._is_recursive or was_unreadable:
                self._stack.append((node.local_id, here))
        elif node.signature != seen.signature:
            self._trees.put_local(replace(node, signature=seen.signature, content_hash=None))

    def _appear(self, parent_id: int, here: Path, seen: Observation) -> None:
        """Something at a path where nothing of its kind was known."""
        if self._view.ignores(here, is_folder=seen.kind is Kind.FOLDER):
            self._trees.put_local(
                LocalNode(
                    local_id=self._trees.new_local_id(),
                    parent_id=parent_id,
                    name=seen.name,
                    kind=seen.kind,
                    signature=seen.signature,
                    content_hash=None,
                    set_aside=IGNORED,
                )
            )
            return
        node = self._moved_here(here, seen) or LocalNode(
            local_id=self._remembered_id(seen),
            parent_id=parent_id,
            name=seen.name,
            kind=seen.kind,
            signature=seen.signature,
            content_hash=None,
            set_aside=None,
        )
        keeps_hash = node.signature == seen.signature
        self._trees.put_local(
            replace(
                node,
                parent_id=parent_id,
                name=seen.name,
                signature=seen.signature,
                content_hash=node.content_hash if keeps_hash else None,
                set_aside=refusal(seen),
            )
        )
        if seen.kind is Kind.FOLDER:
            self._visited.discard(node.local_id)
            self._stack.append((node.local_id, here))

    def _moved_here(self, here: Path, seen: Observation) -> LocalNode | None:
        """The node that this inode was, if it is no longer at its old place."""
        if seen.kind is Kind.OTHER:
            return None
        for node in self._trees.local_by_identity(seen.signature):
            if node.kind is not seen.kind or node.local_id == ROOT_ID:
                continue
            if node.set_aside == IGNORED:
                # Nothing was known of it, so nothing is to be kept.
                continue
            old = self._trees.path_of(node.local_id)
            if old == here or old == here[: len(old)]:
                continue
            try:
                now = self._fs.observe(old)
            except PathProblem:
                # Nobody can tell whether it left: then it did not.
                continue
            if now is None or now.kind is not seen.kind:
                return node
            if now.kind is Kind.FOLDER and now.signature.identity != seen.signature.identity:
                return node
        return None

    def _remembered_id(self, seen: Observation) -> int:
        """The id under which Synced remembers this inode, if its node was lost; else a new one.

        A move across two folders, of which the watcher named one first, looks like a deletion
        until then.
        """
        if seen.kind is not Kind.OTHER:
            for synced in self._trees.synced_by_identity(seen.signature):
                is_same_kind = synced.is_folder == (seen.kind is Kind.FOLDER)
                if is_same_kind and self._trees.local(synced.local_id) is None:
                    return synced.local_id
        return self._trees.new_local_id()

    def _settle_replaced(self) -> None:
        """Folders under whose name another folder stands: exchanged, or made anew."""
        replaced, self._replaced = self._replaced, []
        for node, seen in replaced:
            assert node.parent_id is not None  # noqa: S101  (the root has no name)
            here = (*self._trees.path_of(node.parent_id), seen.name)
            arrived = self._moved_here(here, seen)
            if arrived is None:
                # Nobody we know: the folder was removed and made again.
                self._trees.put_local(replace(node, signature=seen.signature))
                self._visited.discard(node.local_id)
                self._stack.append((node.local_id, here))
                continue
            self._missing.append(node)
            self._trees.put_local(
                replace(
                    arrived,
                    parent_id=node.parent_id,
                    name=seen.name,
                    signature=seen.signature,
                )
            )
            self._visited.discard(arrived.local_id)
            self._stack.append((arrived.local_id, here))
