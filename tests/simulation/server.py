"""The model of the server, with what happens to a server: blocks and their collection,
quota, a journal that is cut, a backup that is restored, the trash.

A block of the model is a few bytes, so that most files have several and share some.
"""

import copy
import hashlib
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.server import FakeServer, Refusal, item_id

BLOCK_BYTES = 6


def cut(content: bytes) -> list[bytes]:
    """A content as blocks of the model."""
    return [content[at : at + BLOCK_BYTES] for at in range(0, len(content), BLOCK_BYTES)]


def name_of(block: bytes) -> str:
    return hashlib.sha256(block).hexdigest()


@dataclass
class Upload:
    """A version that is being uploaded, with references to its blocks from the init on."""

    wanted: dict[str, Any]
    blocks: list[str]
    device: str
    # Of the committed version.
    content: bytes | None = None
    is_over: bool = False


@dataclass
class Backup:
    """What a restore brings back."""

    parts: dict[str, Any] = field(default_factory=dict)


class SimulatedServer(FakeServer):
    """One account. Requests are carried out whole or not at all."""

    def __init__(self) -> None:
        self.oldest = 0
        self.uploads: dict[tuple[str, str], Upload] = {}
        self.blocks: dict[str, bytes] = {}
        self.version_blocks: dict[str, list[str]] = {}
        self.is_over_quota = False
        super().__init__()

    # Uploads, step by step

    def begin(self, device: str, wanted: dict[str, Any], hashes: list[str]) -> list[str]:
        """Init: take the references; the hashes of what is to be sent."""
        key = (device, wanted["op_id"])
        if key not in self.uploads or self.uploads[key].is_over:
            if self.is_over_quota:
                raise Refusal(507, "quota-exceeded")
            self.uploads[key] = Upload(wanted, hashes, device)
        held = {each for blocks in self.version_blocks.values() for each in blocks}
        sent = {each for each in hashes if each in self.blocks}
        return [each for each in dict.fromkeys(hashes) if each not in held & sent]

    def put_block(self, block: bytes) -> None:
        self.blocks[name_of(block)] = block

    def finish(self, device: str, op_id: str) -> dict[str, Any]:
        """Commit. Raises Refusal."""
        upload = self.uploads.get((device, op_id))
        if upload is None or upload.is_over:
            raise Refusal(410, "upload-expired")
        if upload.content is None:
            missing = [each for each in upload.blocks if each not in self.blocks]
            if missing:
                raise Refusal(409, "missing-blocks", block_hashes=missing)
            upload.content = b"".join(self.blocks[each] for each in upload.blocks)
        return self.commit(device=device, content=upload.content, **upload.wanted)

    def commit(self, *, content: bytes, **wanted: Any) -> dict[str, Any]:
        answer = super().commit(content=content, **wanted)
        version = answer["file_version_id"]
        if version not in self.version_blocks:
            for block in cut(content):
                self.put_block(block)
            self.version_blocks[version] = [name_of(each) for each in cut(content)]
        return answer

    def expire_uploads(self) -> None:
        """What nobody has committed is given up."""
        for upload in self.uploads.values():
            if upload.content is None:
                upload.is_over = True

    def collect(self) -> None:
        """Delete the blocks that nothing references."""
        counted = {each for blocks in self.version_blocks.values() for each in blocks}
        for upload in self.uploads.values():
            if not upload.is_over and upload.content is None:
                counted.update(upload.blocks)
        for block_hash in set(self.blocks) - counted:
            del self.blocks[block_hash]

    def blocks_of(self, version: str) -> list[bytes] | None:
        """The content of a version, block by block; None where it is gone."""
        if version not in self.version_blocks:
            return None
        return [self.blocks[each] for each in self.version_blocks[version]]

    # What happens to a server

    def cut_journal(self) -> None:
        """Forget the older half: who is behind takes a snapshot."""
        self.oldest = (self.oldest + self.head_seq) // 2

    def _changes(self, cursor: str | None, limit: int) -> dict[str, Any]:
        epoch, _, position = (cursor or f"{self.epoch}:0").partition(":")
        if int(epoch) == self.epoch and int(position) < self.oldest:
            reset = {"namespace_id": self.namespace_id, "mode": "merge", "reason": "too-old"}
            return {"entries": [], "resets": [reset], "cursor": cursor, "has_more": False}
        return super()._changes(cursor, limit)

    def back_up(self) -> Backup:
        kept = ("items", "contents", "journal", "versions", "version_facts", "answers",
                "uploads", "blocks", "version_blocks", "oldest")  # fmt: skip
        return Backup({name: copy.deepcopy(getattr(self, name)) for name in kept})

    def restore(self, backup: Backup) -> None:
        for name, value in backup.parts.items():
            setattr(self, name, copy.deepcopy(value))
        self.epoch += 1

    # What a person does in the browser

    def path_of(self, item: dict[str, Any]) -> tuple[str, ...]:
        """Where a live item is."""
        names: list[str] = []
        while item["parent_folder_id"] is not None:
            names.append(item["name"])
            item = self.items[item["parent_folder_id"]]
        return tuple(reversed(names))

    def edit(self, item: dict[str, Any], content: bytes, *, mtime_ns: int) -> None:
        self.commit(
            device="web",
            op_id=self.new_id(),
            file_id=item["file_id"],
            base=item["current_version_id"],
            parent_id=item["parent_folder_id"],
            name=item["name"],
            content=content,
            mtime_ns=mtime_ns,
            executable=item["executable"],
        )

    def trashed(self) -> list[dict[str, Any]]:
        return [each for each in self.items.values() if each["deleted_at"] is not None]

    def restore_from_trash(self, item: dict[str, Any]) -> None:
        """Back where it was, or to the root; below it, what was deleted with it."""
        self.restore_item(item_id(item), device="web")
