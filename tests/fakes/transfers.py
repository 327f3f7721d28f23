"""Whole files up and down against the model of the server, through the real disk."""

import hashlib
from collections.abc import Callable, Sequence
from itertools import accumulate

from sync_client.errors import ApiProblem, PathProblem, SyncError
from sync_client.names import printable
from sync_client.ports import (
    BlockRef,
    Fetched,
    FileSystem,
    FileToFetch,
    FileToSend,
    Sent,
)
from tests.fakes.server import FakeServer, Refusal


def blocks_unchanged(fs: FileSystem, file: FileToSend) -> list[bytes]:
    """The blocks of a file, if it is still the one that was to be sent.

    Raises PathProblem `changed-while-reading`.
    """
    changed = PathProblem(printable(file.path), "changed-while-reading", "It changed.")
    blocks = []
    try:
        for block, signature in fs.open_blocks(file.path):
            if signature != file.signature:
                raise changed
            blocks.append(block)
    except FileNotFoundError as error:
        raise changed from error
    return blocks


def block_refs(blocks: Sequence[bytes]) -> tuple[BlockRef, ...]:
    """What blocks that follow each other are called, and where each begins."""
    begins = accumulate(map(len, blocks), initial=0)
    return tuple(
        BlockRef(hashlib.sha256(block).hexdigest(), len(block), offset)
        for block, offset in zip(blocks, begins, strict=False)
    )


class FakeTransfers:
    """`ports.Transfers` of one device. `fault` may raise between files."""

    def __init__(
        self,
        server: FakeServer,
        fs: FileSystem,
        device: str,
        *,
        fault: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._server = server
        self._fs = fs
        self._device = device
        self._fault = fault
        self.sent_bytes = 0
        self.fetched_files = 0

    def send(
        self,
        files: Sequence[FileToSend],
        *,
        on_result: Callable[[FileToSend, Sent | SyncError], None],
    ) -> None:
        for file in files:
            self._fault("before send")
            try:
                outcome: Sent | SyncError = self._send(file)
            except PathProblem as problem:
                outcome = problem
            except Refusal as refusal:
                outcome = ApiProblem(refusal.status, refusal.document["code"], "", refusal.document)
            self._fault("after send")
            on_result(file, outcome)

    def _send(self, file: FileToSend) -> Sent:
        parts = blocks_unchanged(self._fs, file)
        content = b"".join(parts)
        self.sent_bytes += len(content)
        answer = self._server.commit(
            device=self._device,
            op_id=file.op_id,
            file_id=file.file_id,
            base=file.base_version_id,
            parent_id=file.parent_folder_id,
            name=file.name,
            content=content,
            mtime_ns=file.signature.mtime_ns,
            executable=file.signature.executable,
            conflict_of=file.conflict_of,
            conflict_kind=file.conflict_kind,
        )
        return Sent(answer, hashlib.sha256(content).hexdigest(), block_refs(parts))

    def fetch(
        self,
        files: Sequence[FileToFetch],
        *,
        on_result: Callable[[FileToFetch, Fetched | SyncError], None],
    ) -> None:
        for file in files:
            self._fault("before fetch")
            content = self._server.contents.get(file.file_version_id)
            if content is None:
                on_result(file, ApiProblem(404, "not-found", "", {}))
                continue
            self.fetched_files += 1
            staged = self._fs.stage(file.staged)
            staged.write_at(0, content)
            signature = staged.finish(
                size_bytes=file.size_bytes, mtime_ns=file.mtime_ns, executable=file.executable
            )
            digest = hashlib.sha256(content).hexdigest()
            blocks = (BlockRef(digest, len(content), 0),) if content else ()
            self._fault("after fetch")
            on_result(file, Fetched(signature=signature, content_hash=digest, blocks=blocks))
