"""Files down: take what this disk has, get the rest, check every block, assemble in staging.

Nothing reaches a staged file whose hash was not checked; what is staged already is hashed
again before it counts.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

from sync_client.api import problem_error
from sync_client.chunker import block_hash_of
from sync_client.errors import PathProblem, SyncError, Transient, path_problem
from sync_client.ports import (
    Api,
    BlockRef,
    Contents,
    Fetched,
    FileToFetch,
    LocalBlocks,
    Signature,
    StagedFile,
)
from sync_client.transfer_state import TransferState
from sync_client.transfer_store import (
    BlockStore,
    ObjectTrouble,
    Presigned,
    StaleUrl,
    finishing,
)

FILES_PER_REQUEST = 1_000
GROUP_BYTES = 256 * 1024 * 1024
# URLs live 5 minutes: few enough that a slow line uses them in time.
BLOCKS_PER_PAGE = 256
# A file larger than this is continued after a crash; a smaller one is quickly fetched anew.
RESUMED_ABOVE_BYTES = 4 * 1024 * 1024
ROUNDS_WITHOUT_PROGRESS = 4
UNAVAILABLE = "content-unavailable"

OnResult = Callable[[FileToFetch, Fetched | SyncError], None]


@dataclass(slots=True)
class Assembly:
    """One file being put together. Threads share it under its lock."""

    file: FileToFetch
    # Staged before, by a run that did not come to its end: what is there may be used.
    is_resumed: bool
    lock: threading.Lock = field(default_factory=threading.Lock)
    blocks: list[BlockRef] = field(default_factory=list)
    has_all_pages: bool = False
    missing: set[int] = field(default_factory=set)
    content_hash: str = ""
    staged: StagedFile | None = None
    # Offset of a block that is in the staged file, verified.
    written_at: dict[str, int] = field(default_factory=dict)
    rounds_without_progress: int = 0
    signature: Signature | None = None
    failure: SyncError | None = None

    @property
    def is_over(self) -> bool:
        return self.signature is not None or self.failure is not None

    @property
    def is_worth_keeping(self) -> bool:
        """Whether a failed one may be continued, and is large enough for that."""
        may_pass = isinstance(self.failure, Transient) or (
            isinstance(self.failure, PathProblem) and self.failure.code == UNAVAILABLE
        )
        return may_pass and self.file.size_bytes > RESUMED_ABOVE_BYTES

    @property
    def first_wanted(self) -> int:
        """Index from which the next page has to begin."""
        return min(self.missing, default=len(self.blocks))

    @property
    def position(self) -> tuple[int, int]:
        return len(self.blocks), len(self.missing)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A block of an assembly, everywhere it stands in the page, and its offset in a source."""

    assembly: Assembly
    indexes: list[int]
    source: int
    offset: int

    @property
    def ref(self) -> BlockRef:
        return self.assembly.blocks[self.indexes[0]]


class Fetcher:
    """`ports.Transfers.fetch`. Requests are made on the caller's thread, bytes move on others."""

    def __init__(
        self,
        api: Api,
        store: BlockStore,
        fs: Contents,
        state: TransferState,
        local_blocks: LocalBlocks,
        moving: Executor,
        on_bytes: Callable[[int, int], None],
    ) -> None:
        self._api = api
        self._store = store
        self._fs = fs
        self._state = state
        self._local_blocks = local_blocks
        self._moving = moving
        self._on_bytes = on_bytes

    def fetch(self, files: Sequence[FileToFetch], on_result: OnResult) -> None:
        for group in _groups(files):
            going = [Assembly(file, self._state.has_begun(_key(file))) for file in group]
            self._state.begin(_key(file) for file in group if file.size_bytes > RESUMED_ABOVE_BYTES)
            try:
                while going:
                    try:
                        self._round(going)
                    finally:
                        # What is there is told even when the rest has to wait.
                        for assembly in going:
                            self._settle(assembly, on_result)
                        going = [assembly for assembly in going if not assembly.is_over]
            finally:
                for assembly in going:
                    if assembly.staged:
                        assembly.staged.close()

    def _settle(self, assembly: Assembly, on_result: OnResult) -> None:
        """Answer for a file that is finished or has failed."""
        file = assembly.file
        if assembly.failure is not None:
            if assembly.is_worth_keeping:
                # What has arrived counts when it is tried again.
                if assembly.staged:
                    assembly.staged.close()
            else:
                if assembly.staged:
                    # A full disk needs the room; what the server no longer has is of no use.
                    assembly.staged.abandon()
                self._state.end([_key(file)])
            on_result(file, assembly.failure)
        elif assembly.signature is not None:
            self._state.end([_key(file)])
            blocks = tuple(assembly.blocks)
            on_result(file, Fetched(assembly.signature, assembly.content_hash, blocks))

    def _round(self, going: list[Assembly]) -> None:
        """Ask for a page of every file and get it: from this disk, then from the store."""
        before = [assembly.position for assembly in going]
        answer = self._api.request(
            "POST",
            "files/download",
            json={"items": [_download_item(assembly) for assembly in going]},
        )
        wanted: list[Wanted] = []
        for assembly, item in zip(going, answer["items"], strict=True):
            if "problem" in item:
                assembly.failure = problem_error(item["problem"])
            else:
                wanted += _note_page(assembly, item)
        self._get(answer["sources"], self._not_on_this_disk(wanted))
        for assembly, position, item in zip(going, before, answer["items"], strict=True):
            if assembly.is_over:
                continue
            if assembly.has_all_pages and not assembly.missing:
                # An empty file, or one that lacked only the news that there is no more.
                self._finish(assembly)
            elif assembly.position != position:
                assembly.rounds_without_progress = 0
            elif item["blocks"] or len(going) == 1:
                assembly.rounds_without_progress += 1
                if assembly.rounds_without_progress >= ROUNDS_WITHOUT_PROGRESS:
                    assembly.failure = _unavailable(assembly)

    # From this disk

    def _not_on_this_disk(self, wanted: list[Wanted]) -> list[Wanted]:
        """Fill in what is on this disk already; the rest is the answer."""
        looking: dict[Future[bool], Wanted] = {}
        lacking: list[Wanted] = []
        for each in wanted:
            places = list(self._local_blocks.places_of(each.ref.block_hash))
            assembly = each.assembly
            if places or assembly.is_resumed or each.ref.block_hash in assembly.written_at:
                looking[self._moving.submit(self._find_here, each, places)] = each
            else:
                lacking.append(each)
        with finishing(looking) as found:
            lacking += [looking[job] for job in found if not job.result()]
        return lacking

    def _find_here(self, wanted: Wanted, places: list[tuple[tuple[str, ...], int]]) -> bool:
        """Take a block from the staged file itself or from a file that had it."""
        assembly, ref = wanted.assembly, wanted.ref
        if assembly.failure:
            return True
        try:
            staged = self._staged(assembly)
            if assembly.is_resumed:
                for index in wanted.indexes:
                    at = assembly.blocks[index].offset
                    if not _is_block(staged.read_at(at, ref.size_bytes), ref):
                        break
                else:
                    self._written(wanted)
                    return True
            at_here = assembly.written_at.get(ref.block_hash)
            if at_here is not None:
                block = staged.read_at(at_here, ref.size_bytes)
                if _is_block(block, ref):
                    self._write(wanted, block)
                    return True
            for path, offset in places:
                # The file may be gone, changed or unreadable by now: then it has no block.
                try:
                    block = self._fs.read_at(path, offset, ref.size_bytes)
                except (OSError, PathProblem):
                    continue
                if _is_block(block, ref):
                    self._write(wanted, block)
                    return True
        except OSError as error:
            self._fail(assembly, error)
            return True
        return False

    # From the store

    def _get(self, sources: list[dict[str, Any]], wanted: list[Wanted]) -> None:
        by_source: dict[int, list[Wanted]] = {}
        for each in wanted:
            by_source.setdefault(each.source, []).append(each)
        jobs = [
            self._moving.submit(
                self._get_one, Presigned.of(sources[number]), sources[number]["size_bytes"], blocks
            )
            for number, blocks in sorted(by_source.items())
        ]
        with finishing(jobs) as done:
            for job in done:
                job.result()

    def _get_one(self, presigned: Presigned, size_bytes: int, wanted: list[Wanted]) -> None:
        if all(each.assembly.failure for each in wanted):
            return
        try:
            content = self._store.get(presigned, size_bytes)
        except StaleUrl:
            # Still missing: the next round asks for new URLs.
            return
        except ObjectTrouble:
            for each in wanted:
                each.assembly.failure = each.assembly.failure or _unavailable(each.assembly)
            return
        for each in wanted:
            block = bytes(content[each.offset : each.offset + each.ref.size_bytes])
            if each.assembly.failure or not _is_block(block, each.ref):
                continue
            try:
                self._write(each, block)
            except OSError as error:
                self._fail(each.assembly, error)
            else:
                self._on_bytes(0, len(block))

    # Into staging

    def _staged(self, assembly: Assembly) -> StagedFile:
        with assembly.lock:
            if assembly.staged is None:
                assembly.staged = self._fs.stage(assembly.file.staged)
            return assembly.staged

    def _write(self, wanted: Wanted, block: bytes) -> None:
        staged = self._staged(wanted.assembly)
        for index in wanted.indexes:
            staged.write_at(wanted.assembly.blocks[index].offset, block)
        self._written(wanted)

    def _written(self, wanted: Wanted) -> None:
        assembly = wanted.assembly
        with assembly.lock:
            assembly.missing.difference_update(wanted.indexes)
            assembly.written_at[wanted.ref.block_hash] = wanted.ref.offset
            is_last = assembly.has_all_pages and not assembly.missing
        if is_last:
            # At once: a pack brings hundreds of files, and each is an open descriptor.
            self._finish(assembly)

    def _finish(self, assembly: Assembly) -> None:
        file = assembly.file
        try:
            assembly.signature = self._staged(assembly).finish(
                size_bytes=file.size_bytes, mtime_ns=file.mtime_ns, executable=file.executable
            )
        except OSError as error:
            # finish closes the file in any case.
            assembly.staged = None
            self._fail(assembly, error)

    def _fail(self, assembly: Assembly, error: OSError) -> None:
        assembly.failure = path_problem(assembly.file.staged, error)


def _groups(files: Sequence[FileToFetch]) -> Iterator[list[FileToFetch]]:
    group: list[FileToFetch] = []
    size_bytes = 0
    for file in files:
        is_full = len(group) >= FILES_PER_REQUEST or size_bytes + file.size_bytes > GROUP_BYTES
        if group and is_full:
            yield group
            group, size_bytes = [], 0
        group.append(file)
        size_bytes += file.size_bytes
    if group:
        yield group


def _download_item(assembly: Assembly) -> dict[str, Any]:
    return {
        "file_id": assembly.file.file_id,
        "version": assembly.file.file_version_id,
        "start_index": assembly.first_wanted,
        "limit": BLOCKS_PER_PAGE,
    }


def _note_page(assembly: Assembly, item: dict[str, Any]) -> list[Wanted]:
    """Add a page to what is known of a file; its blocks that are still to be had."""
    assembly.content_hash = item["content_hash"]
    by_hash: dict[str, Wanted] = {}
    for block in item["blocks"]:
        index = block["index"]
        if index == len(assembly.blocks):
            last = assembly.blocks[-1] if assembly.blocks else BlockRef("", 0, 0)
            offset = last.offset + last.size_bytes
            assembly.blocks.append(BlockRef(block["block_hash"], block["size_bytes"], offset))
            assembly.missing.add(index)
        elif index > len(assembly.blocks):
            assembly.failure = _unavailable(assembly)
            return []
        if index in assembly.missing:
            wanted = by_hash.setdefault(
                block["block_hash"], Wanted(assembly, [], block["source"], block["offset"])
            )
            wanted.indexes.append(index)
    if item["next_index"] is None:
        assembly.has_all_pages = True
        if sum(ref.size_bytes for ref in assembly.blocks) != assembly.file.size_bytes:
            assembly.failure = _unavailable(assembly)
            return []
    return list(by_hash.values())


def _is_block(content: bytes, ref: BlockRef) -> bool:
    return len(content) == ref.size_bytes and block_hash_of(content) == ref.block_hash


def _key(file: FileToFetch) -> str:
    return f"{file.staged} {file.file_version_id}"


def _unavailable(assembly: Assembly) -> PathProblem:
    return PathProblem(
        assembly.file.staged, UNAVAILABLE, "The server could not give this file's content."
    )
