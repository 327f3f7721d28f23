"""Steps that carry content: uploads, and downloads put in place without losing anything.

A finished download takes its path by RENAME_NOREPLACE, or changes places with the file
there, which is then in hand and is checked: what is not the content both sides had agreed
on is user data, gets a name of its own beside it, and is uploaded. The order: content
durable, intent durable, rename, folder durable, books. What a crash leaves is finished from
the intent at the next start.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sync_client.apply_disk import give_back, is_agreed, same_but_for_rename
from sync_client.errors import ApiProblem, PathProblem, SyncError, path_problem
from sync_client.feed import remote_item
from sync_client.names import name_key, printable
from sync_client.nodes import Intent, LocalNode, RemoteItem, SyncedItem
from sync_client.operations import Action, Conflict, Operation
from sync_client.ports import (
    BlockRef,
    Displaced,
    Fetched,
    FileToFetch,
    FileToSend,
    Kind,
    Path,
    Sent,
    Signature,
    Unwritten,
    Why,
    displaced_name,
)
from sync_client.scanner import is_racy
from sync_client.workbench import NO_COPY_CODES, Workbench

ACTIONS = frozenset({Action.UPLOAD, Action.DOWNLOAD})

# A chunk is recorded together: so much, at most, is asked of the server again after a crash.
CHUNK_FILES = 1_000
CHUNK_BYTES = 1 << 30

# Results that come one by one are recorded in groups; a crash before costs one request each.
RECORD_EVERY = 100

# So many downloads get their place while they are held open together.
HELD_FILES = 200

# A file is sent once nobody has written to it for so long, or once its writer has closed it.
SETTLE_NS = 300_000_000

# Downloads leave so much of the disk free.
SPARE_BYTES = 64 << 20


# Uploads


def upload(bench: Workbench, operations: list[Operation]) -> None:
    """Send new files and new contents."""
    sizes = {}
    for operation in operations:
        local = bench.trees.local(operation.node)
        sizes[operation] = local.signature.size_bytes if local is not None else 0
    for chunk in _chunks(operations, sizes):
        _upload_chunk(bench, chunk)


def _upload_chunk(bench: Workbench, operations: list[Operation]) -> None:
    _let_settle(bench, operations)
    files: dict[str, tuple[Operation, FileToSend]] = {}
    with bench.trees.transaction():
        for operation in operations:
            file = _file_to_send(bench, operation)
            if file is not None:
                files[file.op_id] = (operation, file)
    if not files:
        return
    waiting: list[tuple[Operation, FileToSend, Sent | SyncError]] = []
    began_ns = bench.clock.now_ns()

    def record() -> None:
        with bench.trees.transaction():
            for operation, file, outcome in waiting:
                if isinstance(outcome, Sent):
                    bench.worked(operation)
                    _record_sent(bench, operation, file, outcome, began_ns)
                else:
                    _not_sent(bench, operation, file, outcome)
        waiting.clear()
        bench.on_progress()

    def take(file: FileToSend, outcome: Sent | SyncError) -> None:
        waiting.append((files[file.op_id][0], file, outcome))
        if len(waiting) >= RECORD_EVERY:
            record()

    try:
        bench.transfers.send([file for _, file in files.values()], on_result=take)
    finally:
        bench.pull = True
        record()


def _let_settle(bench: Workbench, operations: list[Operation]) -> None:
    """Wait, once for all, until no file was written in this moment, unless it was closed."""
    now = bench.clock.now_ns()
    youngest = SETTLE_NS
    for operation in operations:
        local = bench.trees.local(operation.node)
        if (
            local is not None
            and 0 <= now - local.signature.mtime_ns < youngest
            and bench.trees.path_of(local.local_id) not in bench.closed
        ):
            youngest = now - local.signature.mtime_ns
    if youngest < SETTLE_NS:
        bench.clock.sleep((SETTLE_NS - youngest) / 1e9)


def _file_to_send(bench: Workbench, operation: Operation) -> FileToSend | None:
    """What to send, if the file is still as it was planned."""
    trees = bench.trees
    local = trees.local(operation.node)
    if local is None:
        return None
    path = trees.path_of(local.local_id)
    try:
        seen = bench.fs.observe(path)
    except PathProblem as problem:
        bench.trouble(operation, problem, path[:-1])
        return None
    if seen is None or seen.kind is not Kind.FILE:
        bench.look_again(path[:-1])
        return None
    if seen.signature != local.signature:
        # It is being written.
        trees.put_local(replace(local, signature=seen.signature, content_hash=None))
        bench.wait_for_writer(operation, path[:-1])
        return None
    synced = trees.synced(operation.item_id) if operation.item_id is not None else None
    base, parent_id = _base_and_parent(bench, operation, local)
    if parent_id is None:
        return None
    copy = trees.copy_at(local.parent_id, local.name) if synced is None else None
    op_id = bench.pending.op_id(
        _subject(operation, local, base, parent_id),
        new_file=local.local_id if synced is None else None,
    )
    return FileToSend(
        op_id=op_id,
        path=path,
        signature=local.signature,
        file_id=synced.item_id if synced is not None else None,
        base_version_id=base if copy is None else copy.base_version_id,
        parent_folder_id=parent_id,
        name=local.name,
        conflict_of=copy.original if copy is not None else None,
        conflict_kind=copy.kind if copy is not None else None,
    )


def _subject(
    operation: Operation, local: LocalNode, base: str | None, parent_id: str
) -> tuple[object, ...]:
    """What makes two uploads the same request."""
    return (
        "upload", local.local_id, local.signature, operation.item_id, base, parent_id, local.name
    )  # fmt: skip


def sent_before(bench: Workbench, operation: Operation) -> bool:
    """Whether this very upload was begun before and its outcome is not known.

    Those come first: what the server made of them may be in Remote already, and would be
    downloaded as if it were somebody else's.
    """
    local = bench.trees.local(operation.node)
    if local is None:
        return False
    base, parent_id = _base_and_parent(bench, operation, local)
    return parent_id is not None and bench.pending.is_open(
        _subject(operation, local, base, parent_id)
    )


def _base_and_parent(
    bench: Workbench, operation: Operation, local: LocalNode
) -> tuple[str | None, str | None]:
    synced = bench.trees.synced(operation.item_id) if operation.item_id is not None else None
    if synced is not None:
        # Counts only where the file is gone; then the server finds or makes the folder.
        return synced.version_id, synced.parent_id
    folder = bench.item_of(local.parent_id)
    return None, folder.item_id if folder is not None else None


def _record_sent(
    bench: Workbench, operation: Operation, file: FileToSend, sent: Sent, began_ns: int
) -> None:
    trees = bench.trees
    bench.pending.forget_op_ids([file.op_id])
    item = remote_item(sent.answer["file"])
    bench.feed.note(sent.answer["file"])
    local = trees.local(operation.node)
    if local is None:
        return
    if file.conflict_of is not None:
        trees.drop_copy(local.parent_id, file.name)
    if local.signature == file.signature:
        trees.put_local(
            replace(local, content_hash=sent.content_hash),
            is_racy=is_racy(file.signature, began_ns),
        )
    before = trees.synced(item.item_id)
    if before is not None and before.local_id == local.local_id:
        # What was sent, which is not what the file is by now if somebody edited it before this
        # answer came. The place is another matter: a move on either side may be pending.
        agreed = replace(
            before,
            version_id=sent.answer["file_version_id"],
            content_hash=sent.content_hash,
            size_bytes=file.signature.size_bytes,
            mtime_ns=file.signature.mtime_ns,
            executable=file.signature.executable,
            signature=file.signature,
        )
    else:
        agreed = _new_agreement(bench, local, item, file, sent)
    trees.put_synced(agreed)
    trees.put_blocks(item.item_id, sent.blocks)


def _new_agreement(
    bench: Workbench, local: LocalNode, item: RemoteItem, file: FileToSend, sent: Sent
) -> SyncedItem:
    """The node is an item it was not before: a new file, or a conflict copy of the server's.

    The name is the disk's, so that the copy's own name looks like a change of the server,
    and is applied here. So is the folder, where the server made another one because this one
    was gone there, and the other is not here yet.
    """
    home = bench.node_of(item.parent_id)
    return SyncedItem(
        item_id=item.item_id,
        local_id=local.local_id,
        parent_id=item.parent_id if home is not None else file.parent_folder_id,
        parent_local_id=home.local_id if home is not None else local.parent_id,
        name=local.name,
        is_folder=False,
        version_id=sent.answer["file_version_id"],
        content_hash=sent.content_hash,
        size_bytes=file.signature.size_bytes,
        mtime_ns=file.signature.mtime_ns,
        executable=file.signature.executable,
        signature=file.signature,
    )


def _not_sent(bench: Workbench, operation: Operation, file: FileToSend, error: SyncError) -> None:
    if isinstance(error, ApiProblem):
        # Whatever is asked next is another request.
        bench.pending.forget_op_ids([file.op_id])
        local = bench.trees.local(operation.node)
        if file.conflict_of is not None and local is not None and error.code in NO_COPY_CODES:
            bench.trees.drop_copy(local.parent_id, file.name)
        file_id = file.file_id
        is_known = file_id is not None and bench.trees.remote(file_id) is not None
        if error.code == "not-found" and file_id is not None and not is_known:
            # Purged: no version of it is left to come back to.
            bench.trees.drop_synced(file_id)
            return
    bench.failed(operation, error, file.path[:-1])


# Downloads


def download(bench: Workbench, operations: list[Operation]) -> None:
    """Fetch new files and new contents, and put them in place."""
    sizes = {}
    free = bench.fs.free_bytes() - SPARE_BYTES
    fitting: list[Operation] = []
    for operation in operations:
        item = bench.trees.remote(operation.item)
        sizes[operation] = item.size_bytes if item is not None else 0
        if sizes[operation] > free:
            bench.set_aside(operation, "disk-full", "There is not enough space on this disk.")
            continue
        free -= sizes[operation]
        fitting.append(operation)
    for chunk in _chunks(fitting, sizes):
        _download_chunk(bench, chunk)


def _download_chunk(bench: Workbench, operations: list[Operation]) -> None:
    files: dict[str, tuple[Operation, RemoteItem]] = {}
    wanted: list[FileToFetch] = []
    for operation in operations:
        item = bench.trees.remote(operation.item)
        synced = bench.trees.synced(operation.item)
        if item is None or item.version_id is None:
            continue
        if synced is not None and (
            synced.version_id == item.version_id or synced.local_id != operation.local_id
        ):
            # It turned out to be what this device had sent: nothing new, or not a new file.
            continue
        file = FileToFetch(
            file_id=item.item_id,
            file_version_id=item.version_id,
            size_bytes=item.size_bytes,
            mtime_ns=item.mtime_ns,
            executable=item.executable,
            staged=f"{item.version_id}.part",
        )
        files[file.staged] = (operation, item)
        wanted.append(file)
    arrived: list[tuple[Operation, RemoteItem, FileToFetch, Fetched]] = []

    def take(file: FileToFetch, outcome: Fetched | SyncError) -> None:
        operation, item = files[file.staged]
        if isinstance(outcome, Fetched):
            arrived.append((operation, item, file, outcome))
        else:
            bench.failed(operation, outcome, ())
        bench.on_progress()

    try:
        if wanted:
            bench.transfers.fetch(wanted, on_result=take)
    finally:
        # What has arrived is put in place even where the rest could not be fetched.
        if arrived:
            _place(bench, arrived)
            bench.on_progress()


def _place(
    bench: Workbench, arrived: Sequence[tuple[Operation, RemoteItem, FileToFetch, Fetched]]
) -> None:
    """Put finished downloads where they belong, with no moment at which a crash loses data."""
    steps: list[tuple[Operation, Intent, Fetched]] = []
    for operation, item, file, fetched in arrived:
        intent = _intent(bench, operation, item, file, fetched)
        if intent is not None:
            steps.append((operation, intent, fetched))
    if not steps:
        return
    bench.fs.sync_staged([intent.staged for _, intent, _ in steps])
    bench.pending.write(intent for _, intent, _ in steps)
    done: list[tuple[Intent, Fetched]] = []
    displaced: dict[str, Displaced] = {}
    signatures: dict[str, Signature] = {}
    for start in range(0, len(steps), HELD_FILES):
        with bench.fs.unwritten() as unwritten:
            for operation, intent, fetched in steps[start : start + HELD_FILES]:
                if _put(bench, operation, intent, unwritten, displaced):
                    done.append((intent, fetched))
            signatures.update(unwritten.signatures())
    # Checked only now: a program that had a file open may have written to it meanwhile.
    staged = bench.fs.staged() if displaced or len(done) < len(steps) else {}
    is_done = {intent.staged for intent, _ in done}
    for _, intent, _ in steps:
        aside = displaced_name(intent.staged)
        if intent.staged not in is_done and aside in staged:
            _return(bench, intent, Displaced(aside, staged[aside]))
    gone_to: dict[str, Path | None] = {}
    for intent, _ in done:
        if (old := displaced.get(intent.staged)) is not None and old.name in staged:
            gone_to[intent.staged] = settle_displaced(
                bench, intent, Displaced(old.name, staged[old.name])
            )
    bench.fs.sync([path[:-1] for intent, _ in done for path in (intent.path, intent.aside) if path])
    with bench.trees.transaction():
        for intent, fetched in done:
            placed = replace(intent, staged_signature=_as_placed(intent, signatures))
            record_placed(
                bench,
                placed,
                fetched.content_hash,
                fetched.blocks,
                gone_to=gone_to.get(intent.staged),
            )
        bench.pending.done(intent for _, intent, _ in steps)


def _put(
    bench: Workbench,
    operation: Operation,
    intent: Intent,
    unwritten: Unwritten,
    displaced: dict[str, Displaced],
) -> bool:
    """Carry out one step; whether the download is in its place."""
    try:
        unwritten.hold(intent.staged)
        if intent.step == "place":
            bench.fs.place_new(intent.staged, intent.path)
        else:
            displaced[intent.staged] = bench.fs.exchange(intent.staged, intent.path)
    except FileExistsError:
        bench.look_again(intent.path[:-1])
        bench.taken(operation)
    except (FileNotFoundError, NotADirectoryError):
        bench.look_again(intent.path[:-1], intent.path[:-2])
    except OSError as error:
        bench.trouble(operation, path_problem(printable(intent.path), error), ())
    else:
        bench.worked(operation)
        return True
    return False


def _return(bench: Workbench, intent: Intent, displaced: Displaced) -> None:
    """An exchange in steps ended halfway: what stood at the path goes back there, if it is
    still free."""
    try:
        bench.fs.restore_displaced(displaced, intent.path)
    except FileExistsError:
        settle_displaced(bench, intent, displaced)
    except OSError:
        give_back(bench, displaced, intent, Conflict.EDIT_EDIT)
    bench.look_again(intent.path[:-1])


def _as_placed(intent: Intent, signatures: dict[str, Signature]) -> Signature | None:
    """The signature for the books: with the time of our own rename, if that is known.

    Without it, the next scan sees another time, and the file is read.
    """
    staged, now = intent.staged_signature, signatures.get(intent.staged)
    if staged is not None and now is not None and same_but_for_rename(now, staged):
        return now
    return staged


def _intent(
    bench: Workbench, operation: Operation, item: RemoteItem, file: FileToFetch, fetched: Fetched
) -> Intent | None:
    trees = bench.trees
    local = trees.local(operation.local_id) if operation.local_id is not None else None
    if local is not None:
        path = trees.path_of(local.local_id)
        try:
            seen = bench.fs.observe(path)
        except PathProblem as problem:
            bench.trouble(operation, problem, path[:-1])
            return None
        if seen is None or seen.signature != local.signature:
            # Not what was planned on: look, then plan again. The staged file stays.
            bench.look_again(path[:-1])
            return None
        if operation.parent_local_id is not None:
            return _take_over(bench, operation, item, file, fetched)
        return Intent(
            staged=file.staged,
            step="exchange",
            item_id=item.item_id,
            local_id=local.local_id,
            path=path,
            staged_signature=fetched.signature,
            expected=local.signature,
            remote=item,
        )
    home = bench.node_of(item.parent_id)
    if home is None:
        return None
    return Intent(
        staged=file.staged,
        step="place",
        item_id=item.item_id,
        local_id=trees.new_local_id(),
        path=(*trees.path_of(home.local_id), item.name),
        staged_signature=fetched.signature,
        expected=None,
        remote=item,
    )


def _take_over(
    bench: Workbench, operation: Operation, item: RemoteItem, file: FileToFetch, fetched: Fetched
) -> Intent | None:
    """The step by which a file comes to where another is, which goes to its own place."""
    trees = bench.trees
    local, home = trees.local(operation.node), trees.local(operation.parent_local_id or 0)
    if local is None or home is None or operation.name is None:
        return None
    return Intent(
        staged=file.staged,
        step="exchange",
        item_id=item.item_id,
        local_id=trees.new_local_id(),
        path=trees.path_of(local.local_id),
        staged_signature=fetched.signature,
        expected=local.signature,
        remote=item,
        aside=(*trees.path_of(home.local_id), operation.name),
        aside_id=local.local_id,
    )


def settle_displaced(bench: Workbench, intent: Intent, displaced: Displaced) -> Path | None:
    """What a download took the place of: to the stash if it is what both sides had, else
    it is an edit of this very moment, and gets a name of its own beside it.

    A file that was to make room goes where it belongs. The answer: where it is now, unless it
    is in the stash.
    """
    if intent.aside is not None:
        try:
            bench.fs.restore_displaced(displaced, intent.aside)
        except OSError:
            # Somebody else is there by now, or the folder has gone.
            bench.look_again(intent.aside[:-1])
        else:
            bench.look_again(intent.aside[:-1])
            return intent.aside
    elif is_agreed(bench, intent, displaced):
        bench.fs.discard(displaced, intent.path, why=Why.REPLACED)
        return None
    return give_back(bench, displaced, intent, Conflict.EDIT_EDIT)


def record_placed(
    bench: Workbench,
    intent: Intent,
    content_hash: str | None,
    blocks: Sequence[BlockRef] | None,
    *,
    gone_to: Path | None,
) -> None:
    """A download is in place: Local and Synced have it.

    gone_to: where the file is now that was to make room, if that is known.

    With the signature of the file as it was staged, not of what is at the path now: somebody
    may have written to it since, and that is for the next scan to see.
    """
    trees = bench.trees
    item, signature = intent.remote, intent.staged_signature
    parent_id = trees.local_id_at(intent.path[:-1])
    if item is None or signature is None or parent_id is None:
        bench.look_again(intent.path[:-1])
        return
    if intent.aside_id is not None:
        _record_aside(bench, intent, intent.aside_id, gone_to)
    before = trees.synced(item.item_id)
    node = LocalNode(
        local_id=intent.local_id,
        parent_id=parent_id,
        name=intent.path[-1],
        kind=Kind.FILE,
        signature=signature,
        content_hash=content_hash,
        set_aside=None,
    )
    for other in trees.local_in_place(parent_id, name_key(node.name)):
        if other.name == node.name and other.local_id != node.local_id:
            # It has left its place since the last scan, else ours could not be there.
            trees.drop_local(other.local_id)
    trees.put_local(node)
    agreed = SyncedItem(
        item_id=item.item_id,
        local_id=intent.local_id,
        parent_id=item.parent_id,
        parent_local_id=parent_id,
        name=item.name,
        is_folder=False,
        version_id=item.version_id,
        content_hash=item.content_hash or content_hash,
        size_bytes=item.size_bytes,
        mtime_ns=item.mtime_ns,
        executable=item.executable,
        signature=signature,
    )
    if before is not None and before.local_id == intent.local_id:
        # A move on either side may be pending.
        agreed = replace(
            agreed,
            parent_id=before.parent_id,
            parent_local_id=before.parent_local_id,
            name=before.name,
        )
    trees.put_synced(agreed)
    if blocks is not None:
        trees.put_blocks(item.item_id, blocks)


def _record_aside(bench: Workbench, intent: Intent, local_id: int, gone_to: Path | None) -> None:
    """A file has made room for a download, and is where it belongs (or beside)."""
    trees = bench.trees
    node, synced = trees.local(local_id), trees.synced_of_local(local_id)
    if node is None:
        return
    home = trees.local_id_at(gone_to[:-1]) if gone_to is not None else None
    if home is None or gone_to is None:
        # Settled before a crash: the scan that follows finds it by what Synced remembers.
        bench.look_again(intent.path[:-1], *([intent.aside[:-1]] if intent.aside else ()))
        trees.drop_local(local_id)
        return
    trees.put_local(replace(node, parent_id=home, name=gone_to[-1]))
    remote = trees.remote(synced.item_id) if synced is not None else None
    if synced is not None and remote is not None and gone_to == intent.aside:
        trees.put_synced(
            replace(synced, parent_id=remote.parent_id, parent_local_id=home, name=remote.name)
        )


def is_expected(intent: Intent, displaced: Signature) -> bool:
    """Whether a displaced file is what both sides had agreed on."""
    return intent.expected is not None and same_but_for_rename(displaced, intent.expected)


def _chunks(
    operations: Sequence[Operation], sizes: dict[Operation, int]
) -> Iterator[list[Operation]]:
    chunk: list[Operation] = []
    total = 0
    for operation in operations:
        if chunk and (len(chunk) >= CHUNK_FILES or total + sizes[operation] > CHUNK_BYTES):
            yield chunk
            chunk, total = [], 0
        chunk.append(operation)
        total += sizes[operation]
    if chunk:
        yield chunk
