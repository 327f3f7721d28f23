"""The object store on S3 or anything that speaks its language, over django-storages."""

import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypedDict

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from storages.backends.s3 import S3Storage

from blocks import s3_probe
from blocks.locations import block_location
from blocks.presign import S3Presigner, checksum_header, range_header
from blocks.s3_probe import Enforced
from blocks.service import SignedRequest
from blocks.storage import StoredFile, get_headers, put_headers
from blocks.transactions import chunks
from drive_project.common.errors import ServiceUnavailable
from drive_project.common.ids import new_id

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class _Encrypted(TypedDict, total=False):
    ServerSideEncryption: Any


log = logging.getLogger(__name__)

# Requests to the store at once, when many objects are looked at.
PARALLEL = 16
# What S3 takes in one request.
DELETED_AT_ONCE = 1_000


class S3ObjectStore:
    """One bucket, addressed by path.

    public_endpoint: the address that devices reach (default: `endpoint`). encryption: what
    the store is told to encrypt each object with ("AES256", "aws:kms"; "" says nothing).
    origin: of our pages, to find out whether browsers may send blocks ("" does not ask).
    """

    def __init__(
        self,
        *,
        bucket: str,
        endpoint: str,
        public_endpoint: str,
        region: str,
        access_key: str,
        secret_key: str,
        encryption: str = "",
        origin: str = "",
    ) -> None:
        self._bucket = bucket
        self._encryption = encryption
        self._origin = origin
        endpoint = endpoint or f"https://s3.{region}.amazonaws.com"
        self._storage = S3Storage(
            bucket_name=bucket,
            endpoint_url=endpoint,
            region_name=region,
            access_key=access_key,
            secret_key=secret_key,
            client_config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                # Otherwise boto3 adds CRC32 trailers, which older stores refuse.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                connect_timeout=5,
                read_timeout=60,
                max_pool_connections=2 * PARALLEL,
                retries={"mode": "standard", "max_attempts": 3},
            ),
        )
        self._lock = threading.Lock()
        self._deletes_in_bulk = True

        def presigner(address: str) -> S3Presigner:
            return S3Presigner(
                endpoint=address,
                bucket=bucket,
                region=region,
                access_key=access_key,
                secret_key=secret_key,
            )

        self._public = presigner(public_endpoint or endpoint)
        self._internal = presigner(endpoint)

    @cached_property
    def _client(self) -> "S3Client":
        # One for all threads: django-storages keeps one per thread, and making one costs
        # a tenth of a second.
        with self._lock:
            client: S3Client = self._storage.connection.meta.client
            return client

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(PARALLEL, thread_name_prefix="object-store")

    @cached_property
    def enforced(self) -> Enforced:
        """What the store refuses, found out at the first use in this process."""
        return self._probe()

    def enforces_checksums(self) -> bool:
        return self.enforced.checksum

    def describe(self) -> str:
        return str(self.enforced)

    def _put_headers(self, size_bytes: int, sha256: str) -> dict[str, str]:
        headers = put_headers(size_bytes, sha256)
        if self._encryption:
            headers["x-amz-server-side-encryption"] = self._encryption
        return headers

    def sign_put(
        self, location: str, *, size_bytes: int, sha256: str, now: datetime, lifetime: timedelta
    ) -> SignedRequest:
        headers = self._put_headers(size_bytes, sha256)
        url = self._public.sign("PUT", location, now=now, lifetime=lifetime, headers=headers)
        return SignedRequest("PUT", url, headers, now + lifetime)

    def sign_get(
        self,
        location: str,
        *,
        now: datetime,
        lifetime: timedelta,
        start: int | None = None,
        length: int | None = None,
    ) -> SignedRequest:
        headers = get_headers(start, length)
        url = self._public.sign("GET", location, now=now, lifetime=lifetime, headers=headers)
        return SignedRequest("GET", url, headers, now + lifetime)

    def sizes(self, locations: Sequence[str]) -> dict[str, int]:
        found = zip(locations, self._threads.map(self._size, locations), strict=True)
        return {location: size for location, size in found if size is not None}

    def _size(self, location: str) -> int | None:
        with _translated():
            try:
                return self._client.head_object(Bucket=self._bucket, Key=location)["ContentLength"]
            except ClientError as error:
                if _is_absent(error):
                    return None
                raise

    def read(self, location: str, *, start: int = 0, length: int | None = None) -> bytes | None:
        with _translated():
            try:
                if length is None and start == 0:
                    answer = self._client.get_object(Bucket=self._bucket, Key=location)
                else:
                    wanted = f"bytes={start}-" if length is None else range_header(start, length)
                    answer = self._client.get_object(
                        Bucket=self._bucket, Key=location, Range=wanted
                    )
                return answer["Body"].read()
            except ClientError as error:
                if _is_absent(error):
                    return None
                if error.response.get("Error", {}).get("Code") == "InvalidRange":
                    return b""
                raise

    def write(self, location: str, data: bytes, *, sha256: str) -> None:
        encrypted: _Encrypted = {}
        if self._encryption:
            encrypted["ServerSideEncryption"] = self._encryption
        with _translated():
            self._client.put_object(
                Bucket=self._bucket,
                Key=location,
                Body=data,
                ContentLength=len(data),
                ChecksumSHA256=checksum_header(sha256),
                **encrypted,
            )

    def delete(self, location: str) -> None:
        with _translated():
            self._client.delete_object(Bucket=self._bucket, Key=location)

    def delete_all(self, locations: Sequence[str]) -> None:
        for batch in chunks(locations, DELETED_AT_ONCE):
            if self._deletes_in_bulk:
                self._delete_in_bulk(batch)
            else:
                list(self._threads.map(self.delete, batch))

    def _delete_in_bulk(self, locations: Sequence[str]) -> None:
        with _translated():
            try:
                answer = self._client.delete_objects(
                    Bucket=self._bucket,
                    Delete={
                        "Objects": [{"Key": location} for location in locations],
                        "Quiet": True,
                    },
                )
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] not in {400, 405, 501}:
                    raise
                # It does not know the call, or not as boto3 makes it: one at a time, then.
                log.warning("The object store does not delete in bulk: %s", error)
                self._deletes_in_bulk = False
                list(self._threads.map(self.delete, locations))
                return
        failed = [each for each in answer.get("Errors", []) if each.get("Code") != "NoSuchKey"]
        if failed:
            log.warning("%d objects were not deleted: %s", len(failed), failed[0].get("Code"))
            raise ServiceUnavailable("The object store did not delete all that it was asked to.")

    def listing(self) -> Iterator[StoredFile]:
        yield from self._listing("b/", "p/")

    def _listing(self, *prefixes: str) -> Iterator[StoredFile]:
        pages = self._client.get_paginator("list_objects_v2")
        for prefix in prefixes:
            with _translated():
                for page in pages.paginate(Bucket=self._bucket, Prefix=prefix):
                    for entry in page.get("Contents", []):
                        yield StoredFile(entry["Key"], entry["Size"], entry["LastModified"])

    def tidy(self, *, older_than: timedelta) -> int:
        # A PUT is one request: a broken one leaves nothing. A probe that was killed does.
        before = datetime.now(UTC) - older_than
        left = [each for each in self._listing(s3_probe.PREFIX) if each.modified_at < before]
        self.delete_all([each.location for each in left])
        return sum(each.size_bytes for each in left)

    def _probe(self) -> Enforced:
        headers = self._put_headers(len(s3_probe.RIGHT), s3_probe.SHA256)
        now = datetime.now(UTC)
        location = s3_probe.PREFIX + block_location(s3_probe.SHA256, new_id())
        lifetime = s3_probe.LIFETIME
        found = s3_probe.probe(
            s3_probe.Door(
                sign=lambda method, key, signed, moment, life: self._internal.sign(
                    method, key, now=moment, lifetime=life, headers=signed
                ),
                headers=headers,
                size=self._size,
                delete=self.delete,
                public_url=self._public.sign(
                    "PUT", location, now=now, lifetime=lifetime, headers=headers
                ),
                origin=self._origin,
            )
        )
        log.info("The object store %s.", found)
        if not found.checksum:
            log.warning("Without enforced checksums every upload is read and copied once.")
        if not found.length:
            log.warning("Without enforced lengths a URL can put more bytes than were announced.")
        if found.origin is False:
            log.warning("Browsers may not send blocks: set the bucket's CORS for PUBLIC_URL.")
        return found


def _is_absent(error: ClientError) -> bool:
    return error.response.get("Error", {}).get("Code") in {"404", "NoSuchKey", "NotFound"}


@contextmanager
def _translated() -> Iterator[None]:
    """What boto3 raises, as the error that a caller can act on. Its text may hold an address."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        log.warning("The object store failed: %s", error)
        raise ServiceUnavailable("The object store does not answer as it should.") from error
