"""Files up: hash, announce, send what the server lacks, commit.

The first pass over a file names its blocks; the second reads those that are to be sent, one
by one, and checks each against its name. So a version is exactly what the first pass saw,
or there is none.
"""

import hashlib
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sync_client.api import problem_error
from sync_client.chunker import block_hash_of
from sync_client.errors import (
    ApiProblem,
    PathProblem,
    Stopped,
    SyncError,
    Transient,
    changed_while_read,
)
from sync_client.names import printable
from sync_client.ports import Api, BlockRef, Contents, FileToSend, Sent
from sync_client.transfer_state import TransferState
from sync_client.transfer_store import (
    PARALLEL_REQUESTS,
    BlockStore,
    ObjectTrouble,
    Presigned,
    StaleUrl,
    finishing,
)

# What one request carries at most (docs/protocol.md).
FILES_PER_REQUEST = 1_000
BLOCKS_PER_REQUEST = 10_000
HASHES_PER_REQUEST = 1_000
PACK_BYTES = 8 * 1024 * 1024
PACKED_BLOCK_BYTES = 256 * 1024
# The server reads packs before it shows their files, at most 64 MiB in one commit.
PACKED_BYTES_PER_GROUP = 48 * 1024 * 1024
# Files are committed as groups: not too long after the first of them was sent.
GROUP_BYTES = 256 * 1024 * 1024
# URLs live 15 minutes: few enough that a slow line uses them in time.
URLS_PER_REQUEST = 100
# Fewer small blocks than this are sent each by a URL of its own: one request less to verify.
WORTH_A_PACK = 3
HASHED_AHEAD = 256
ROUNDS = 4
VERIFYING_ROUNDS = 60

OnResult = Callable[[FileToSend, Sent | SyncError], None]


@dataclass(slots=True)
class Upload:
    """One file on its way. `to_send`: distinct blocks that the server still lacks."""

    file: FileToSend
    content_hash: str
    blocks: tuple[BlockRef, ...]
    upload_id: str = ""
    to_send: dict[str, BlockRef] = field(default_factory=dict)
    urls: dict[str, Presigned] = field(default_factory=dict)
    unreported: list[str] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    failure: SyncError | None = None

    @property
    def packed_bytes(self) -> int:
        return sum(ref.size_bytes for ref in self.blocks if _is_small(ref))


@dataclass(slots=True)
class Pack:
    """Small blocks one after another, read and verified."""

    content: bytes
    blocks: list[tuple[Upload, BlockRef, int]]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def hashes(self) -> list[str]:
        return [ref.block_hash for _, ref, _ in self.blocks]


class Sender:
    """`ports.Transfers.send`. Requests are made on the caller's thread, bytes move on others."""

    def __init__(
        self,
        api: Api,
        store: BlockStore,
        fs: Contents,
        state: TransferState,
        hashing: Executor,
        moving: Executor,
        stopped: threading.Event,
        on_bytes: Callable[[int, int], None],
    ) -> None:
        self._api = api
        self._store = store
        self._fs = fs
        self._state = state
        self._hashing = hashing
        self._moving = moving
        self._stopped = stopped
        self._on_bytes = on_bytes

    def send(self, files: Sequence[FileToSend], on_result: OnResult) -> None:
        for group in self._groups(files, on_result):
            self._send_group(group, on_result)

    # Hash

    def _groups(self, files: Sequence[FileToSend], on_result: OnResult) -> Iterator[list[Upload]]:
        """Hashed files, in parcels of what one request and one commit may carry.

        Hashing goes on in the background while a group is being sent.
        """
        group: list[Upload] = []
        blocks = packed_bytes = size_bytes = 0
        for file, hashed in self._hashed(files):
            if isinstance(hashed, SyncError):
                on_result(file, hashed)
                continue
            is_full = (
                len(group) >= FILES_PER_REQUEST
                or blocks + len(hashed.blocks) > BLOCKS_PER_REQUEST
                or packed_bytes + hashed.packed_bytes > PACKED_BYTES_PER_GROUP
                or size_bytes + file.signature.size_bytes > GROUP_BYTES
            )
            if group and is_full:
                yield group
                group = []
                blocks = packed_bytes = size_bytes = 0
            group.append(hashed)
            blocks += len(hashed.blocks)
            packed_bytes += hashed.packed_bytes
            size_bytes += file.signature.size_bytes
        if group:
            yield group

    def _hashed(
        self, files: Sequence[FileToSend]
    ) -> Iterator[tuple[FileToSend, Upload | SyncError]]:
        ahead: deque[tuple[FileToSend, Future[Upload]]] = deque()
        waiting = iter(files)
        try:
            while True:
                for file in islice(waiting, HASHED_AHEAD - len(ahead)):
                    ahead.append((file, self._hashing.submit(self._hash, file)))
                if not ahead:
                    return
                file, future = ahead.popleft()
                try:
                    yield file, future.result()
                except PathProblem as problem:
                    yield file, problem
        finally:
            for _, future in ahead:
                future.cancel()

    def _hash(self, file: FileToSend) -> Upload:
        if self._stopped.is_set():
            raise Stopped("The transfer was stopped.")
        whole = hashlib.sha256()
        blocks: list[BlockRef] = []
        offset = 0
        try:
            for block, signature in self._fs.open_blocks(file.path):
                if signature != file.signature:
                    raise changed_while_read(printable(file.path))
                if self._stopped.is_set():
                    raise Stopped("The transfer was stopped.")
                whole.update(block)
                blocks.append(BlockRef(block_hash_of(block), len(block), offset))
                offset += len(block)
            if not blocks:
                # An empty file gives no block and so no signature.
                seen = self._fs.observe(file.path)
                if seen is None or seen.signature != file.signature:
                    raise changed_while_read(printable(file.path))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise changed_while_read(printable(file.path)) from error
        except OSError as error:
            raise PathProblem(
                printable(file.path), "unreadable", f"The file cannot be read: {error.strerror}."
            ) from error
        if offset != file.signature.size_bytes:
            raise changed_while_read(printable(file.path))
        return Upload(file, whole.hexdigest(), tuple(blocks))

    # Announce

    def _send_group(self, group: list[Upload], on_result: OnResult) -> None:
        uploads = self._announce(group, on_result)
        for upload in uploads:
            if upload.to_send and self._state.has_begun(upload.file.op_id):
                with _own_trouble(upload):
                    self._resume(upload)
        self._state.begin(upload.file.op_id for upload in uploads)
        for round_number in range(1, ROUNDS + 1):
            self._send_blocks(uploads)
            for upload in uploads:
                if isinstance(upload.failure, Transient):
                    # It stays open at the server, and is continued.
                    on_result(upload.file, upload.failure)
                elif upload.failure:
                    self._give_up(upload, upload.failure, on_result)
            uploads = [upload for upload in uploads if not upload.failure]
            # Left over are those of which the server says that blocks are missing after all.
            uploads = self._commit(uploads, on_result, is_last=round_number == ROUNDS)
            if not uploads:
                return

    def _announce(self, group: list[Upload], on_result: OnResult) -> list[Upload]:
        """Open the uploads; what the server refuses is answered at once."""
        answer = self._api.request(
            "POST", "files/upload/init", json={"items": [_init_item(upload) for upload in group]}
        )
        opened: list[Upload] = []
        for upload, item in zip(group, answer["items"], strict=True):
            if "problem" in item:
                on_result(upload.file, problem_error(item["problem"]))
                continue
            upload.upload_id = item["upload_id"]
            with _own_trouble(upload):
                self._note(upload, item)
                for start in range(BLOCKS_PER_REQUEST, len(upload.blocks), BLOCKS_PER_REQUEST):
                    following = upload.blocks[start : start + BLOCKS_PER_REQUEST]
                    more = self._api.request(
                        "POST",
                        f"files/upload/{upload.upload_id}/blocks",
                        json={"start_index": start, "blocks": _block_items(following)},
                    )
                    self._note(upload, more)
            if upload.failure:
                on_result(upload.file, upload.failure)
                continue
            opened.append(upload)
        return opened

    def _note(self, upload: Upload, answer: dict[str, Any]) -> None:
        """What is to be sent, and the URLs that came along."""
        wanted = {
            block["block_hash"] for block in answer.get("blocks", []) if block["state"] == "send"
        }
        for ref in upload.blocks:
            if ref.block_hash in wanted:
                upload.to_send.setdefault(ref.block_hash, ref)
        for signed in answer.get("uploads", []):
            upload.urls[signed["block_hash"]] = Presigned.of(signed)

    def _resume(self, upload: Upload) -> None:
        """Ask which blocks arrived before a crash, so that they are not sent again."""
        hashes = list(upload.to_send)
        for start in range(0, len(hashes), HASHES_PER_REQUEST):
            self._ask_urls(upload, done=hashes[start : start + HASHES_PER_REQUEST], want=[])

    def _ask_urls(self, upload: Upload, *, done: list[str], want: list[str]) -> None:
        answer = self._api.request(
            "POST", f"files/upload/{upload.upload_id}/urls", json={"done": done, "want": want}
        )
        for block_hash in answer["verified"]:
            upload.to_send.pop(block_hash, None)
        for signed in answer["uploads"]:
            upload.urls[signed["block_hash"]] = Presigned.of(signed)

    # Send

    def _send_blocks(self, uploads: list[Upload]) -> None:
        """All missing blocks, each once however many files have it."""
        owners: dict[str, list[Upload]] = {}
        for upload in uploads:
            for block_hash in upload.to_send:
                owners.setdefault(block_hash, []).append(upload)
        small = [
            block_hash
            for block_hash, having in owners.items()
            if _is_small(having[0].to_send[block_hash])
        ]
        single = {block_hash: having[0] for block_hash, having in owners.items()}
        if len(small) >= WORTH_A_PACK:
            for block_hash in small:
                del single[block_hash]
            refused = self._send_packs({block_hash: owners[block_hash] for block_hash in small})
            single.update(
                (block_hash, owners[block_hash][0])
                for block_hash in refused
                if not owners[block_hash][0].failure
            )
        self._send_singly(single)
        # Whoever shares a block has it sent by now, or still lacks it: the commit tells.
        for upload in uploads:
            upload.to_send.clear()

    def _send_packs(self, owners: dict[str, list[Upload]]) -> list[str]:
        """Small blocks, many in one object. The answer: those of packs that were refused."""
        refused: list[str] = []
        packs = list(self._packs(owners))
        idle_rounds = 0
        while packs:
            answer = self._api.request(
                "POST", "files/upload/packs", json={"items": [_pack_item(pack) for pack in packs]}
            )
            running: dict[Future[None], Pack] = {}
            for pack, item in zip(packs, answer["items"], strict=True):
                if "problem" in item:
                    refused += pack.hashes
                    continue
                put = self._moving.submit(self._store.put, Presigned.of(item), pack.content)
                running[put] = pack
            # On a slow line, the URLs of the last ones expire while the first are on their way.
            packs = []
            with finishing(running) as done:
                for job in done:
                    pack = running[job]
                    try:
                        job.result()
                    except StaleUrl:
                        packs.append(pack)
                    except ObjectTrouble:
                        refused += pack.hashes
                    else:
                        self._on_bytes(len(pack.content), 0)
            idle_rounds = 0 if len(packs) < len(running) else idle_rounds + 1
            if idle_rounds == ROUNDS:
                refused += [block_hash for pack in packs for block_hash in pack.hashes]
                break
        return refused

    def _packs(self, owners: dict[str, list[Upload]]) -> Iterator[Pack]:
        reading = {
            block_hash: self._moving.submit(self._read_any, block_hash, having)
            for block_hash, having in owners.items()
        }
        content = bytearray()
        blocks: list[tuple[Upload, BlockRef, int]] = []
        for block_hash, future in reading.items():
            found = future.result()
            if found is None:
                continue
            upload, block = found
            if len(content) + len(block) > PACK_BYTES:
                yield Pack(bytes(content), blocks)
                content, blocks = bytearray(), []
            blocks.append((upload, upload.to_send[block_hash], len(content)))
            content += block
        if blocks:
            yield Pack(bytes(content), blocks)

    def _read_any(self, block_hash: str, having: list[Upload]) -> tuple[Upload, bytes] | None:
        """The block from one of the files that have it; a file that changed has failed."""
        for upload in having:
            try:
                return upload, self._read(upload, upload.to_send[block_hash])
            except PathProblem as problem:
                upload.failure = problem
        return None

    def _send_singly(self, owners: dict[str, Upload]) -> None:
        """Blocks each by a URL of its own, eight at a time."""
        waiting = deque(owners.items())
        running: dict[Future[None], tuple[str, Upload]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < PARALLEL_REQUESTS:
                    block_hash, upload = waiting.popleft()
                    if upload.failure or block_hash not in upload.to_send:
                        continue
                    presigned = self._url_of(block_hash, upload, waiting)
                    if presigned:
                        job = self._moving.submit(self._send_one, block_hash, upload, presigned)
                        running[job] = block_hash, upload
                for job in wait(running, return_when=FIRST_COMPLETED).done:
                    block_hash, upload = running.pop(job)
                    try:
                        job.result()
                    except PathProblem as problem:
                        upload.failure = problem
                    except ObjectTrouble as trouble:
                        upload.failure = Transient(str(trouble))
                    except StaleUrl:
                        upload.refusals[block_hash] += 1
                        if upload.refusals[block_hash] >= ROUNDS:
                            upload.failure = _refused_block()
                        waiting.append((block_hash, upload))
                    else:
                        upload.unreported.append(block_hash)
        finally:
            for job in running:
                job.cancel()
            wait(running)

    def _url_of(
        self, block_hash: str, upload: Upload, waiting: Iterable[tuple[str, Upload]]
    ) -> Presigned | None:
        """Where to send a block; None when it need not be sent, or the upload has failed."""
        if block_hash not in upload.urls:
            following = (other for other, owner in waiting if owner is upload)
            want = [block_hash, *islice(following, URLS_PER_REQUEST - 1)]
            done, upload.unreported = upload.unreported, []
            with _own_trouble(upload):
                self._ask_urls(upload, done=done[-HASHES_PER_REQUEST:], want=want)
            if upload.failure:
                return None
        return upload.urls.pop(block_hash, None)

    def _send_one(self, block_hash: str, upload: Upload, presigned: Presigned) -> None:
        block = self._read(upload, upload.to_send[block_hash])
        self._store.put(presigned, block)
        self._on_bytes(len(block), 0)

    def _read(self, upload: Upload, ref: BlockRef) -> bytes:
        """A block of the file, if it is still the one that was named."""
        try:
            block = self._fs.read_at(upload.file.path, ref.offset, ref.size_bytes)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise changed_while_read(printable(upload.file.path)) from error
        except OSError as error:
            raise PathProblem(
                printable(upload.file.path),
                "unreadable",
                f"The file cannot be read: {error.strerror}.",
            ) from error
        if block_hash_of(block) != ref.block_hash:
            raise changed_while_read(printable(upload.file.path))
        return block

    def _give_up(self, upload: Upload, failure: SyncError, on_result: OnResult) -> None:
        """Answer for a file that failed, and give its reserved storage back."""
        try:
            self._api.request("DELETE", f"files/upload/{upload.upload_id}")
        except ApiProblem as problem:
            # Over already: then nothing is reserved any more.
            if problem.code not in {"not-found", "upload-expired"}:
                raise
        except Transient as error:
            # The server forgets it by itself, after 7 days.
            if error.concerns_all:
                raise
        self._state.end([upload.file.op_id])
        on_result(upload.file, failure)

    # Commit

    def _commit(self, uploads: list[Upload], on_result: OnResult, *, is_last: bool) -> list[Upload]:
        """Make the sent files visible. The answer: those of which blocks are missing."""
        lacking: list[Upload] = []
        waiting = uploads
        for verifying in range(VERIFYING_ROUNDS):
            if not waiting:
                return lacking
            answer = self._api.request(
                "POST",
                "files/upload/commit",
                json={"items": [{"upload_id": upload.upload_id} for upload in waiting]},
            )
            unverified: list[Upload] = []
            for upload, item in zip(waiting, answer["items"], strict=True):
                code = item["problem"]["code"] if "problem" in item else None
                if code == "missing-blocks" and not is_last:
                    hashes = set(item["problem"]["block_hashes"])
                    for ref in upload.blocks:
                        if ref.block_hash in hashes:
                            upload.to_send.setdefault(ref.block_hash, ref)
                    lacking.append(upload)
                elif code == "verify-first" and verifying < VERIFYING_ROUNDS - 1:
                    unverified.append(upload)
                else:
                    self._settle(upload, item, on_result)
            if unverified and not self._verify(unverified):
                # A worker of the server is reading them.
                self._stopped.wait(min(0.5 + verifying * 0.5, 5))
            for upload in unverified:
                if upload.failure:
                    on_result(upload.file, upload.failure)
            waiting = [upload for upload in unverified if not upload.failure]
        return lacking

    def _verify(self, uploads: list[Upload]) -> bool:
        """Have what was sent verified, part by part; whether anything is left of it."""
        is_everything = True
        for upload in uploads:
            hashes = list(dict.fromkeys(ref.block_hash for ref in upload.blocks))
            for start in range(0, len(hashes), HASHES_PER_REQUEST):
                part = hashes[start : start + HASHES_PER_REQUEST]
                with _own_trouble(upload):
                    answer = self._api.request(
                        "POST",
                        f"files/upload/{upload.upload_id}/urls",
                        json={"done": part, "want": []},
                    )
                    is_everything &= set(part) <= set(answer["verified"])
                if upload.failure:
                    break
        return is_everything

    def _settle(self, upload: Upload, item: dict[str, Any], on_result: OnResult) -> None:
        problem = problem_error(item["problem"]) if "problem" in item else None
        if not isinstance(problem, Transient):
            self._state.end([upload.file.op_id])
        if problem is not None:
            on_result(upload.file, problem)
        else:
            on_result(upload.file, Sent(item, upload.content_hash, upload.blocks))


@contextmanager
def _own_trouble(upload: Upload) -> Iterator[None]:
    """What goes wrong in requests about one upload is that upload's failure."""
    try:
        yield
    except ApiProblem as problem:
        upload.failure = problem
    except Transient as error:
        if error.concerns_all:
            raise
        upload.failure = error


def _init_item(upload: Upload) -> dict[str, Any]:
    file = upload.file
    # Only where there is something to say: a server of before does not know the fields.
    conflict = {"conflict_of_file_id": file.conflict_of, "conflict_kind": file.conflict_kind}
    return {
        **(conflict if file.conflict_of is not None else {}),
        "op_id": file.op_id,
        "name": file.name,
        "parent_folder_id": file.parent_folder_id,
        "file_id": file.file_id,
        "base_version_id": file.base_version_id,
        "size_bytes": file.signature.size_bytes,
        "content_hash": upload.content_hash,
        "client_modified_ns": file.signature.mtime_ns,
        "executable": file.signature.executable,
        "on_conflict": file.on_conflict,
        "block_count": len(upload.blocks),
        "blocks": _block_items(upload.blocks[:BLOCKS_PER_REQUEST]),
    }


def _block_items(blocks: Iterable[BlockRef]) -> list[dict[str, Any]]:
    return [{"block_hash": ref.block_hash, "size_bytes": ref.size_bytes} for ref in blocks]


def _pack_item(pack: Pack) -> dict[str, Any]:
    return {
        "sha256": pack.sha256,
        "size_bytes": len(pack.content),
        "blocks": [
            {"block_hash": ref.block_hash, "offset": offset, "size_bytes": ref.size_bytes}
            for _, ref, offset in pack.blocks
        ],
    }


def _is_small(ref: BlockRef) -> bool:
    return ref.size_bytes <= PACKED_BLOCK_BYTES


def _refused_block() -> ApiProblem:
    return ApiProblem(
        400, "block-refused", "The block store refused a block of this file four times.", {}
    )
