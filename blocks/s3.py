"""The object store on S3 or anything that speaks its language, over django-storages."""

import hashlib
import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import urllib3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.core.exceptions import ImproperlyConfigured
from storages.backends.s3 import S3Storage

from blocks.locations import block_location
from blocks.presign import S3Presigner, checksum_header, range_header
from blocks.service import SignedRequest
from blocks.storage import StoredFile, get_headers, put_headers
from drive_project.common.errors import ServiceUnavailable
from drive_project.common.ids import new_id

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

# Requests to the store at once, when many objects are looked at.
PARALLEL = 16


class S3ObjectStore:
    """One bucket. `public_endpoint` is the address that devices reach (default: `endpoint`)."""

    def __init__(
        self,
        *,
        bucket: str,
        endpoint: str,
        public_endpoint: str,
        region: str,
        access_key: str,
        secret_key: str,
    ) -> None:
        self._bucket = bucket
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
    def _is_strict(self) -> bool:
        return self._probe()

    def enforces_checksums(self) -> bool:
        return self._is_strict

    def sign_put(
        self, location: str, *, size_bytes: int, sha256: str, now: datetime, lifetime: timedelta
    ) -> SignedRequest:
        headers = put_headers(size_bytes, sha256)
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
        with _translated():
            self._client.put_object(
                Bucket=self._bucket,
                Key=location,
                Body=data,
                ContentLength=len(data),
                ChecksumSHA256=checksum_header(sha256),
            )

    def delete(self, location: str) -> None:
        with _translated():
            self._client.delete_object(Bucket=self._bucket, Key=location)

    def listing(self) -> Iterator[StoredFile]:
        pages = self._client.get_paginator("list_objects_v2")
        for prefix in ("b/", "p/"):
            with _translated():
                for page in pages.paginate(Bucket=self._bucket, Prefix=prefix):
                    for entry in page.get("Contents", []):
                        yield StoredFile(entry["Key"], entry["Size"], entry["LastModified"])

    def tidy(self, *, older_than: timedelta) -> int:
        # A PUT is one request: a broken one leaves nothing.
        return 0

    def _probe(self) -> bool:
        """Send wrong bytes to a signed URL, then the right ones.

        Raises ImproperlyConfigured when not even the right ones are taken: address, keys or
        bucket are wrong then.
        """
        right, wrong = b"the right bytes", b"the wrong bytes"
        sha256 = hashlib.sha256(right).hexdigest()
        location = "probe/" + block_location(sha256, new_id())
        headers = put_headers(len(right), sha256)
        url = self._internal.sign(
            "PUT",
            location,
            now=datetime.now(UTC),
            lifetime=timedelta(minutes=1),
            headers=headers,
        )
        try:
            # Not httpx: it logs whole URLs, and these are secrets.
            with urllib3.PoolManager(timeout=20, retries=False) as client:
                refused = client.request("PUT", url, body=wrong, headers=headers).status
                is_strict = 400 <= refused < 500 and self._size(location) is None
                if is_strict:
                    taken = client.request("PUT", url, body=right, headers=headers).status
                    if taken not in {200, 201, 204}:
                        raise ImproperlyConfigured(
                            f"The object store refuses a PUT to a signed URL (status {taken}). "
                            "Check S3_ENDPOINT, S3_BUCKET, S3_REGION and the S3 keys."
                        )
        except urllib3.exceptions.HTTPError as error:
            raise ServiceUnavailable("The object store does not answer.") from error
        self.delete(location)
        log.info(
            "The object store %s checksums%s.",
            "enforces" if is_strict else "does not enforce",
            "" if is_strict else "; every upload is read and copied once",
        )
        return is_strict


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
