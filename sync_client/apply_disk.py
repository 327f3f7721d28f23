"""Steps on the disk that carry no content: move, create, delete, times and modes, hashing.

Each looks at what it is about to touch first, and notes its effect in the trees in the
transaction after it. A crash in between leaves a change of the disk that the next scan
finds and the planner recognises.
"""

import datetime
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from sync_client import compare
from sync_client.conflicts import conflict_name
from sync_client.errors import PathProblem, path_problem
from sync_client.names import PARKED_PREFIX, printable
from sync_client.nodes import CopyOf, Intent, LocalNode
from sync_client.operations import Action, Conflict, Operation
from sync_client.ports import STAGING, Displaced, Kind, Path, Signature, Why
from sync_client.scanner import is_racy
from sync_client.workbench import Workbench

ACTIONS = frozenset(
    {
        Action.HASH, Action.MOVE_LOCAL, Action.RENAME_ASIDE, Action.PARK_LOCAL,
        Action.CREATE_LOCAL, Action.DELETE_LOCAL, Action.SET_METADATA,
    }
)  # fmt: skip

_OF_THEIR_OWN = frozenset({Action.HASH, Action.DELETE_LOCAL})

# So many names are tried for a file that lost its own.
MOST_PLACES = 50

# What a file was taken from its path for is read again up to this size.
READ_AGAIN_BYTES = 16 << 20

# So many steps share one transaction; each costs the disk a flush.
BATCH = 200


def apply_disk(bench: Workbench, operations: list[Operation]) -> None:
    """Carry out steps on the disk, in their order."""
    read = [each for each in operations if each.action is Action.HASH]
    taken = [each for each in operations if each.action is Action.DELETE_LOCAL]
    others = [each for each in operations if each.action not in _OF_THEIR_OWN]
    for batch in _batches(read):
        _hash(bench, batch)
        bench.on_progress()
    for batch in _batches(others):
        touched: set[Path] = set()
        with bench.trees.transaction():
            for operation in batch:
                with _guarded(bench, operation) as local:
                    _step(bench, operation, local, touched)
            # The disk before the books: what is recorded must have happened.
            bench.fs.sync(sorted(touched))
        bench.on_progress()
    for batch in _batches(taken):
        _delete(bench, batch)
        bench.on_progress()


def _batches(operations: list[Operation]) -> Iterator[list[Operation]]:
    for start in range(0, len(operations), BATCH):
        yield operations[start : start + BATCH]


def same_but_for_rename(one: Signature, other: Signature) -> bool:
    """Whether a file is unchanged, where it was renamed in between: that sets its ctime."""
    return replace(one, ctime_ns=0) == replace(other, ctime_ns=0)


@contextmanager
def _guarded(bench: Workbench, operation: Operation) -> Iterator[LocalNode | None]:
    """One step with its node; what goes wrong with its path stays with its path."""
    local = bench.trees.local(operation.local_id) if operation.local_id is not None else None
    folder: Path = ()
    try:
        if local is not None:
            folder = bench.trees.path_of(local.local_id)[:-1]
        yield local
    except _Elsewhere:
        bench.look_again(folder)
    except PathProblem as problem:
        bench.trouble(operation, problem, folder)
    except (FileNotFoundError, FileExistsError, NotADirectoryError, KeyError) as error:
        # Not as Local has it: look, then plan again.
        bench.look_again(folder)
        _look_at_target(bench, operation)
        if isinstance(error, FileExistsError):
            bench.taken(operation)
    except OSError as error:
        bench.trouble(operation, path_problem(printable(folder), error), folder)


def _step(
    bench: Workbench, operation: Operation, local: LocalNode | None, touched: set[Path]
) -> None:
    match operation.action:
        case Action.MOVE_LOCAL:
            _move(bench, operation, _known(local), touched)
        case Action.RENAME_ASIDE:
            if bench.is_in_exchange(operation):
                return
            name = bench.free_conflict_name(_known(local))
            _rename(bench, _known(local), _known(local).parent_id, name, touched)
            _note_copy(bench, operation, _known(local), name)
        case Action.PARK_LOCAL:
            name = PARKED_PREFIX + bench.randomness.new_id()
            _rename(bench, _known(local), _known(local).parent_id, name, touched)
        case Action.CREATE_LOCAL:
            _create(bench, operation, touched)
        case Action.SET_METADATA:
            _set_metadata(bench, operation, _known(local))
    bench.worked(operation)


def _note_copy(bench: Workbench, operation: Operation, local: LocalNode, name: str) -> None:
    """Remember which file keeps the name that a file has just lost: the two are in conflict."""
    rival = bench.trees.remote(operation.rival_id) if operation.rival_id is not None else None
    if rival is None or rival.is_folder or local.is_folder or local.parent_id is None:
        # A file and a folder of one name are not two contents of one thing.
        return
    if operation.conflict is not None:
        bench.trees.note_copy(local.parent_id, name, CopyOf(rival.item_id, operation.conflict))


class _Elsewhere(Exception):
    """The node is not what, or where, Local says."""


def _known(local: LocalNode | None) -> LocalNode:
    if local is None:
        raise _Elsewhere
    return local


def _look_at_target(bench: Workbench, operation: Operation) -> None:
    target = operation.parent_local_id
    if operation.action is Action.CREATE_LOCAL and operation.item_id is not None:
        item = bench.trees.remote(operation.item_id)
        node = bench.node_of(item.parent_id) if item is not None else None
        target = node.local_id if node is not None else None
    if target is not None and bench.trees.local(target) is not None:
        bench.look_again(bench.trees.path_of(target))


def _hash(bench: Workbench, operations: list[Operation]) -> None:
    """Read files; outside of any transaction, since that may take long."""
    found: list[tuple[LocalNode, str, Signature, int]] = []
    for operation in operations:
        with _guarded(bench, operation) as local:
            path = bench.trees.path_of(_known(local).local_id)
            began_ns = bench.clock.now_ns()
            content_hash, signature = bench.fs.content_hash(path)
            found.append((_known(local), content_hash, signature, began_ns))
    with bench.trees.transaction():
        for local, content_hash, signature, began_ns in found:
            bench.trees.put_local(
                replace(local, signature=signature, content_hash=content_hash),
                is_racy=is_racy(signature, began_ns),
            )


def _move(bench: Workbench, operation: Operation, local: LocalNode, touched: set[Path]) -> None:
    remote = bench.trees.remote(operation.item)
    synced = bench.trees.synced(operation.item)
    if remote is None or synced is None or operation.name is None:
        raise _Elsewhere
    moved = _rename(bench, local, operation.parent_local_id, operation.name, touched)
    bench.trees.put_synced(
        replace(
            synced,
            parent_id=remote.parent_id,
            parent_local_id=moved.parent_id,
            name=remote.name,
        )
    )


def _rename(
    bench: Workbench, local: LocalNode, parent_id: int | None, name: str, touched: set[Path]
) -> LocalNode:
    if parent_id is None:
        raise _Elsewhere
    source = bench.trees.path_of(local.local_id)
    target = (*bench.trees.path_of(parent_id), name)
    _check(bench, source, local)
    bench.fs.move(source, target)
    touched.update((source[:-1], target[:-1]))
    moved = replace(local, parent_id=parent_id, name=name)
    bench.trees.put_local(moved)
    return moved


def _check(bench: Workbench, path: Path, local: LocalNode) -> None:
    """The node must be what stands at the path; a file may have been saved anew."""
    seen = bench.fs.observe(path)
    if seen is None or seen.kind is not local.kind:
        raise _Elsewhere
    if seen.kind is Kind.FOLDER and seen.signature.identity != local.signature.identity:
        raise _Elsewhere


def _create(bench: Workbench, operation: Operation, touched: set[Path]) -> None:
    remote = bench.trees.remote(operation.item)
    home = bench.node_of(remote.parent_id) if remote is not None else None
    if remote is None or home is None:
        raise _Elsewhere
    parent = bench.trees.path_of(home.local_id)
    signature = bench.fs.make_folder((*parent, remote.name))
    touched.add(parent)
    node = LocalNode(
        local_id=bench.trees.new_local_id(),
        parent_id=home.local_id,
        name=remote.name,
        kind=Kind.FOLDER,
        signature=signature,
        content_hash=None,
        set_aside=None,
    )
    bench.trees.put_local(node)
    bench.trees.put_synced(bench.is_one_thing(node, remote))


def _set_metadata(bench: Workbench, operation: Operation, local: LocalNode) -> None:
    remote = bench.trees.remote(operation.item)
    synced = bench.trees.synced(operation.item)
    if remote is None or synced is None:
        raise _Elsewhere
    is_edited = compare.is_edited(local, synced)
    signature = bench.fs.set_metadata(
        bench.trees.path_of(local.local_id),
        local.signature,
        # An edit keeps its own time: it goes to the server with the content.
        mtime_ns=local.signature.mtime_ns if is_edited else remote.mtime_ns,
        executable=remote.executable,
    )
    # We set the time ourselves, so it would hide a write of this very moment: read again.
    bench.trees.put_local(replace(local, signature=signature), is_racy=True)
    if is_edited:
        agreed = replace(synced.signature, executable=signature.executable)
        bench.trees.put_synced(replace(synced, executable=remote.executable, signature=agreed))
    else:
        bench.trees.put_synced(
            replace(
                synced,
                mtime_ns=remote.mtime_ns,
                executable=remote.executable,
                signature=signature,
            )
        )


# Deletions


def _delete(bench: Workbench, operations: list[Operation]) -> None:
    """Files go to the stash after a check with the file in hand; folders when empty."""
    intents: list[Intent] = []
    folders: list[tuple[Operation, LocalNode, Path]] = []
    for operation in operations:
        local = bench.trees.local(operation.node)
        if local is None or operation.item_id is None:
            continue
        path = bench.trees.path_of(local.local_id)
        if local.is_folder:
            folders.append((operation, local, path))
            continue
        intents.append(
            Intent(
                staged=f"gone-{bench.randomness.new_id()}",
                step="take",
                item_id=operation.item_id,
                local_id=local.local_id,
                path=path,
                staged_signature=None,
                expected=local.signature,
                remote=None,
            )
        )
    bench.pending.write(intents)
    taken: list[tuple[Intent, Displaced]] = []
    for intent in intents:
        try:
            taken.append((intent, bench.fs.take(intent.path, intent.staged)))
        except (FileNotFoundError, NotADirectoryError):
            bench.look_again(intent.path[:-1])
        except OSError as error:
            operation = Operation(Action.DELETE_LOCAL, intent.item_id, intent.local_id)
            bench.trouble(operation, path_problem(printable(intent.path), error), ())
    removed: list[tuple[Operation, LocalNode]] = []
    for operation, local, path in folders:
        try:
            bench.fs.remove_folder(path)
            removed.append((operation, local))
        except (FileNotFoundError, NotADirectoryError):
            bench.look_again(path[:-1])
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                bench.trouble(operation, path_problem(printable(path), error), ())
            # Not empty after all: what is in it was not known.
            bench.look_again(path)
    # Looked at only now: a program that had a file open may have written to it meanwhile.
    staged = bench.fs.staged() if taken else {}
    for intent, _ in taken:
        settle_taken(bench, intent, staged.get(intent.staged))
    bench.fs.sync(
        [*(intent.path[:-1] for intent in intents), *(path[:-1] for _, _, path in folders)]
    )
    with bench.trees.transaction():
        for intent, _ in taken:
            _record_gone(bench, intent.item_id, intent.local_id)
        for operation, local in removed:
            _record_gone(bench, operation.item, local.local_id)
        bench.pending.done(intents)


def settle_taken(bench: Workbench, intent: Intent, signature: Signature | None) -> None:
    """A file was taken from its path: to the stash if it is the one we meant, else back.

    signature: that of what lies in staging now, None if it was settled before a crash.
    """
    if signature is None:
        return
    displaced = Displaced(name=intent.staged, signature=signature)
    if is_agreed(bench, intent, displaced):
        is_deselected = bench.trees.is_deselected(intent.item_id)
        why = Why.DESELECTED if is_deselected else Why.DELETED
        bench.fs.discard(displaced, intent.path, why=why)
        return
    give_back(bench, displaced, intent, Conflict.EDIT_DELETE)


def is_agreed(bench: Workbench, intent: Intent, displaced: Displaced) -> bool:
    """Whether a file that was taken from its path is what both sides had agreed on.

    Our own rename has set its change time, which alone would tell an edit of this moment
    that keeps size and modification time: so it is read, unless that takes long.
    """
    if intent.expected is None or not same_but_for_rename(displaced.signature, intent.expected):
        return False
    synced = bench.trees.synced(intent.item_id)
    if synced is None or synced.content_hash is None:
        return True
    if displaced.signature.size_bytes > READ_AGAIN_BYTES:
        return True
    try:
        content_hash, _ = bench.fs.content_hash((*STAGING, displaced.name))
    except PathProblem as problem:
        # What may not be read cannot have been edited by a program that may not either.
        return problem.code == "unreadable"
    return content_hash == synced.content_hash


def give_back(bench: Workbench, displaced: Displaced, intent: Intent, conflict: Conflict) -> Path:
    """Return user data to its path, or to a name beside it that is free. Answers where.

    conflict: what it is in with the intent's item, if it does not get its own name.
    """
    path = intent.path
    bench.look_again(path[:-1])
    failure: OSError | None = None
    for target in _places(bench, displaced, path):
        try:
            bench.fs.restore_displaced(displaced, target)
        except OSError as error:
            # Taken, or its folder is gone or covered: the next place, if it is still ours.
            if displaced.name not in bench.fs.staged():
                return path
            failure = error
        else:
            home = bench.trees.local_id_at(target[:-1])
            if target != path and home is not None:
                before = bench.trees.synced(intent.item_id)
                base = before.version_id if before is not None else None
                bench.trees.note_copy(home, target[-1], CopyOf(intent.item_id, conflict, base))
            return target
    # It stays in staging, and its intent with it, for the next start.
    raise failure or AssertionError("there is a place to try")


def _places(bench: Workbench, displaced: Displaced, path: Path) -> Iterator[Path]:
    """Where a file may go that lost its place: there, beside it, then in the root."""
    yield path
    day = datetime.datetime.fromtimestamp(bench.clock.now_ns() / 1e9, datetime.UTC).date()
    for counter in range(1, MOST_PLACES):
        name = conflict_name(path[-1], device_name=bench.device_name, day=day, counter=counter)
        yield (*path[:-1], name)
        if len(path) > 1:
            yield (name,)
    yield (displaced.name,)


def _record_gone(bench: Workbench, item_id: str, local_id: int) -> None:
    bench.trees.drop_local(local_id)
    if bench.trees.remote(item_id) is None or not bench.trees.in_view(item_id):
        bench.trees.drop_synced(item_id)
