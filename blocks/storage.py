"""The object store: local disk or S3, one contract (`tests/contracts/test_object_store.py`).

Devices use it by signed URLs; the Block Service itself looks, reads, writes copies and
deletes. Nothing here touches a database, and nothing here is called inside a transaction.
"""

import errno
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Protocol

from django.conf import settings
from django.core.files.storage import FileSystemStorage

from blocks import disk
from blocks.locations import for_the_log
from blocks.presign import LocalPresigner, LocalRequest, checksum_header, range_header
from blocks.service import SignedRequest
from drive_project.common.errors import ObjectExists, ServiceUnavailable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An object as the store lists it."""

    location: str
    size_bytes: int
    modified_at: datetime


class ObjectStore(Protocol):
    """Immutable objects by location. Raises ServiceUnavailable when the store does not answer."""

    def enforces_checksums(self) -> bool:
        """Whether a PUT of other bytes than the signed SHA-256 and length is refused.

        Decided by trying it, once per process; a store's own reports are no evidence.
        """

    def describe(self) -> str:
        """What it enforces, in words for the operator."""

    def sign_put(
        self, location: str, *, size_bytes: int, sha256: str, now: datetime, lifetime: timedelta
    ) -> SignedRequest:
        """A right to write these bytes, and no others, where nothing is yet."""

    def sign_get(
        self,
        location: str,
        *,
        now: datetime,
        lifetime: timedelta,
        start: int | None = None,
        length: int | None = None,
    ) -> SignedRequest:
        """A right to read an object, or only `length` bytes of it from `start`."""

    def sizes(self, locations: Sequence[str]) -> dict[str, int]:
        """The sizes of those objects that are there, and would be after a power cut."""

    def read(self, location: str, *, start: int = 0, length: int | None = None) -> bytes | None:
        """The object, or a part of it (shorter where it ends before); None where it is not."""

    def write(self, location: str, data: bytes, *, sha256: str) -> None:
        """Write an object that no URL was ever signed for; repeating it is harmless."""

    def delete(self, location: str) -> None:
        """Delete one object; nothing happens where it is gone."""

    def delete_all(self, locations: Sequence[str]) -> None:
        """Delete objects, in bulk where the store can; after an error some may be left."""

    def listing(self) -> Iterator[StoredFile]:
        """Every object, in no particular order, those written meanwhile perhaps not."""

    def tidy(self, *, older_than: timedelta) -> int:
        """Remove what broken transfers left in the store; the bytes that this freed."""


class LocalObjectStore:
    """Plain files below a folder; devices reach them through `blocks.local_store`."""

    def __init__(self, root: Path, *, secret_key: str) -> None:
        self._root = root
        self._files = FileSystemStorage(location=root)
        self._presigner = LocalPresigner(secret_key)

    def enforces_checksums(self) -> bool:
        # The door hashes while it receives, and never overwrites.
        return True

    def describe(self) -> str:
        return "enforces checksum, length, If-None-Match"

    def sign_put(
        self, location: str, *, size_bytes: int, sha256: str, now: datetime, lifetime: timedelta
    ) -> SignedRequest:
        expires_at = now + lifetime
        request = LocalRequest("PUT", location, expires_at, size_bytes=size_bytes, sha256=sha256)
        return SignedRequest(
            "PUT", self._presigner.sign(request), put_headers(size_bytes, sha256), expires_at
        )

    def sign_get(
        self,
        location: str,
        *,
        now: datetime,
        lifetime: timedelta,
        start: int | None = None,
        length: int | None = None,
    ) -> SignedRequest:
        expires_at = now + lifetime
        request = LocalRequest("GET", location, expires_at, start=start, length=length)
        return SignedRequest(
            "GET", self._presigner.sign(request), get_headers(start, length), expires_at
        )

    def sizes(self, locations: Sequence[str]) -> dict[str, int]:
        found = {}
        for location in locations:
            try:
                found[location] = self._files.size(location)
                # Seen is not yet safe: its PUT may still be on the way to its last fsync, or
                # may have died there.
                if not disk.is_known_durable(location):
                    disk.make_durable(self._root, location)
            except FileNotFoundError:
                found.pop(location, None)
        return found

    def read(self, location: str, *, start: int = 0, length: int | None = None) -> bytes | None:
        try:
            with self._files.open(location) as file:
                file.seek(start)
                data: bytes = file.read(-1 if length is None else length)
                return data
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.EIO:
                raise ServiceUnavailable("The folder of the blocks cannot be read.") from error
            # The disk itself says that it has lost them; other objects may be fine.
            log.error("The disk cannot read object %s.", for_the_log(location))
            return b""

    def write(self, location: str, data: bytes, *, sha256: str) -> None:
        with disk.IncomingFile(self._root) as incoming:
            incoming.write(data)
            try:
                incoming.finish(location, size_bytes=len(data), sha256=sha256)
            except ObjectExists:
                # Written before by this very call, which is being repeated.
                return

    def delete(self, location: str) -> None:
        disk.remove(self._root, location)

    def delete_all(self, locations: Sequence[str]) -> None:
        for location in locations:
            self.delete(location)

    def listing(self) -> Iterator[StoredFile]:
        for kind in ("b", "p"):
            for path in (self._root / kind).glob("*/*/*"):
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue
                yield StoredFile(
                    location=path.relative_to(self._root).as_posix(),
                    size_bytes=status.st_size,
                    modified_at=datetime.fromtimestamp(status.st_mtime, UTC),
                )

    def tidy(self, *, older_than: timedelta) -> int:
        return disk.remove_abandoned(self._root, older_than_seconds=older_than.total_seconds())


def put_headers(size_bytes: int, sha256: str) -> dict[str, str]:
    """The headers that every signed PUT demands."""
    return {
        "Content-Length": str(size_bytes),
        "If-None-Match": "*",
        "x-amz-checksum-sha256": checksum_header(sha256),
    }


def get_headers(start: int | None, length: int | None) -> dict[str, str]:
    if start is None or length is None:
        return {}
    return {"Range": range_header(start, length)}


@cache
def get_object_store() -> ObjectStore:
    """The configured store: S3 where a bucket is named, else the local disk."""
    if settings.S3_BUCKET:
        # boto3 costs 70 MB; an installation without S3 does not pay for it.
        from blocks.s3 import S3ObjectStore

        return S3ObjectStore(
            bucket=settings.S3_BUCKET,
            endpoint=settings.S3_ENDPOINT,
            public_endpoint=settings.S3_PUBLIC_ENDPOINT,
            region=settings.S3_REGION,
            access_key=settings.S3_ACCESS_KEY_ID,
            secret_key=settings.S3_SECRET_ACCESS_KEY,
            encryption=settings.S3_SERVER_SIDE_ENCRYPTION,
            origin=settings.PUBLIC_URL,
        )
    return LocalObjectStore(settings.BLOCKS_DIR, secret_key=settings.SECRET_KEY)
