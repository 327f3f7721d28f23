"""A device as the Block Service meets it, with the File Service's part played plainly."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import httpx

from blocks import local_store
from blocks.service import (
    BlockClaim,
    BlockLocation,
    BlockService,
    CommitVerdict,
    LocationState,
    NewPack,
    NewVersion,
    PackedBlock,
    RefreshedUpload,
    Settlement,
    SignedRequest,
    UploadReport,
    VersionRange,
    VersionToCommit,
)
from drive_project.common.ids import new_id


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def claim(data: bytes) -> BlockClaim:
    return BlockClaim(sha256(data), len(data))


def pack_of(blocks: Sequence[bytes]) -> tuple[NewPack, bytes]:
    """A pack of these blocks as a device announces it, and its bytes."""
    body = b"".join(blocks)
    offset = 0
    packed = []
    for data in blocks:
        packed.append(PackedBlock(sha256(data), offset, len(data)))
        offset += len(data)
    return NewPack(sha256(body), len(body), packed), body


class Door:
    """Signed requests, carried out: by HTTP to S3, through the ASGI door for our own."""

    def request(
        self,
        signed: SignedRequest,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        sent = signed.headers if headers is None else headers
        if not signed.url.startswith("/"):
            with httpx.Client(trust_env=False) as client:
                return client.request(signed.method, signed.url, content=body, headers=sent)
        return self.to_local_store(signed.method, signed.url, body, sent)

    def to_local_store(
        self, method: str, url: str, body: bytes | None, headers: dict[str, str]
    ) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(local_store.application)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://drive.test"
            ) as client:
                return await client.request(method, url, content=body, headers=headers)

        return asyncio.run(ask())


@dataclass
class Device:
    """Uploads, commits and reads versions; its namespace is all that it can read."""

    service: BlockService
    door: Door
    device_id: UUID = field(default_factory=new_id)
    namespace_id: UUID = field(default_factory=new_id)

    def version(self, contents: Sequence[bytes], **changes: object) -> NewVersion:
        fields: dict[str, object] = {
            "file_version_id": new_id(),
            "file_id": new_id(),
            "namespace_id": self.namespace_id,
            "device_id": self.device_id,
            "blocks": [claim(data) for data in contents],
            **changes,
        }
        return NewVersion(**fields)  # type: ignore[arg-type]

    def begin(self, version: NewVersion) -> list[BlockLocation]:
        [locations] = self.service.get_or_create_block_locations(
            versions=[version], readable=[self.namespace_id]
        )
        return locations

    def put(self, signed: SignedRequest, body: bytes) -> None:
        answer = self.door.request(signed, body)
        assert answer.status_code in {200, 201, 204, 412}, answer.text

    def send(self, version: NewVersion, blocks: Sequence[bytes]) -> None:
        """Put these blocks of a version that was begun, each by a URL of its own."""
        urls = self.refresh(version, want=blocks).urls
        for data in blocks:
            if signed := urls.pop(sha256(data), None):
                self.put(signed, data)

    def refresh(
        self, version: NewVersion, done: Sequence[bytes] = (), want: Sequence[bytes] = ()
    ) -> RefreshedUpload:
        """Report these blocks of a version as sent, and ask for URLs for those."""
        [refreshed] = self.service.refresh_upload_urls(
            device_id=self.device_id,
            reports=[
                UploadReport(
                    version.file_version_id,
                    done=[sha256(data) for data in done],
                    want=[sha256(data) for data in want],
                )
            ],
        )
        return refreshed

    def send_pack(self, blocks: Sequence[bytes]) -> None:
        pack, body = pack_of(blocks)
        self.put(self.pack_url(pack), body)

    def pack_url(self, pack: NewPack) -> SignedRequest:
        """Where to put a pack that is not refused."""
        [answer] = self.service.create_pack_uploads(device_id=self.device_id, packs=[pack])
        assert answer.upload is not None, answer
        return answer.upload

    def verdict(self, version: NewVersion) -> CommitVerdict:
        [verdict] = self.service.verify_versions(
            versions=[
                VersionToCommit(
                    version.file_version_id,
                    self.device_id,
                    sum(each.size_bytes for each in version.blocks),
                    len(version.blocks),
                )
            ]
        )
        return verdict

    def settle(self, version: NewVersion, *, is_committed: bool = True) -> None:
        self.service.settle_versions(
            settlements=[
                Settlement(
                    version.file_version_id,
                    is_committed,
                    version.file_id if is_committed else None,
                    version.namespace_id if is_committed else None,
                )
            ]
        )

    def upload(self, blocks: Sequence[bytes]) -> NewVersion:
        """The plain way from content to a committed version: only what is asked for is sent."""
        version = self.version(blocks)
        by_hash = {sha256(data): data for data in blocks}
        wanted = [
            by_hash[location.block_hash]
            for location in self.begin(version)
            if location.state == LocationState.SEND
        ]
        self.send(version, wanted)
        verdict = self.verdict(version)
        assert verdict.verdict == "ready", verdict
        self.settle(version)
        return version

    def download(self, version: NewVersion) -> list[bytes]:
        """A version's blocks by signed URLs, each checked."""
        blocks: list[bytes] = []
        next_index: int | None = 0
        while next_index is not None:
            found = self.service.get_block_download_urls(
                ranges=[VersionRange(version.file_version_id, next_index)]
            )
            answers = []
            for source in found.sources:
                answer = self.door.request(source.request)
                assert answer.status_code in {200, 206}, answer.text
                assert len(answer.content) == source.size_bytes
                answers.append(answer.content)
            [part] = found.versions
            for block in part.blocks:
                data = answers[block.source][block.offset : block.offset + block.size_bytes]
                assert sha256(data) == block.block_hash
                blocks.append(data)
            next_index = part.next_index
        return blocks

    def read(self, version: NewVersion, start: int = 0, length: int | None = None) -> bytes:
        size = sum(each.size_bytes for each in version.blocks)
        return b"".join(
            self.service.read_version(
                file_version_id=version.file_version_id,
                start=start,
                length=size - start if length is None else length,
            )
        )
