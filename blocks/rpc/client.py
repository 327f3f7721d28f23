"""The Block Service of another process, over gRPC: `BLOCK_SERVICE_ADDRESS` selects it.

It needs neither the block database nor the keys of the object store. While the service is
away each call raises ServiceUnavailable after a few attempts; nothing is lost by it, since
every decision waits in the File Service's outbox until it is heard.
"""

import json
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar
from uuid import UUID

import grpc
from grpc_health.v1 import health_pb2

from blocks.rpc import calls
from blocks.rpc.calls import CALLS, SERVICE, Call
from blocks.rpc.failures import heard
from blocks.rpc.limits import LIMITS, MAX_MESSAGE_BYTES, Option
from blocks.rpc.trust import TOKEN_KEY, TlsFiles, token_header
from blocks.service import (
    BlockLocation,
    BlockStats,
    CommitVerdict,
    Downloads,
    NewPack,
    NewVersion,
    PackUpload,
    RecordedVersion,
    RefreshedUpload,
    Settlement,
    SpaceUsed,
    UploadReport,
    VersionCopy,
    VersionPair,
    VersionRange,
    VersionToCommit,
)
from blocks.transactions import outside_transactions
from drive_project.common.errors import InternalError, InvalidRequest, ServiceUnavailable

log = logging.getLogger(__name__)

R = TypeVar("R")

_connecting = threading.Lock()
# A fork waits until nobody holds it, so that the child never inherits it locked.
os.register_at_fork(
    before=_connecting.acquire,
    after_in_parent=_connecting.release,
    after_in_child=_connecting.release,
)

_RETRIES = {
    # Over the restart of the service: 0.2 + 0.4 + 0.8 + 1.6 seconds at most.
    "maxAttempts": 5,
    "initialBackoff": "0.2s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    # The attempt did not reach the service, or the connection broke under it.
    "retryableStatusCodes": ["UNAVAILABLE"],
}
_SERVICE_CONFIG = {
    # One name may stand for several processes.
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [
                {"service": SERVICE.full_name, "method": call.rpc}
                for call in CALLS
                if call.safe_to_repeat
            ],
            "retryPolicy": _RETRIES,
        }
    ],
    # While most calls fail nobody waits for attempts that will fail too.
    "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.5},
}
_OPTIONS: Sequence[Option] = (
    *LIMITS,
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    # A request is kept for a repetition as long as it fits in here.
    ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),
    # A peer that vanished without a word is noticed within 40 seconds.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # By default it waits up to two minutes before it looks for a server that was away.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # The service is in the same network, whatever proxy the environment names.
    ("grpc.enable_http_proxy", 0),
    # Answers are read by the calling thread: 0.7 ms less for each that comes in pages.
    ("SingleThreadedUnaryStream", 1),
)


class RemoteBlockService:
    """See `blocks.service.BlockService`. May be shared by threads and used after a fork."""

    def __init__(self, address: str, *, token: str = "", tls: TlsFiles | None = None) -> None:
        self._address = address
        # Also without a token: so even health tells that the other side wants one.
        self._metadata = ((TOKEN_KEY, token_header(token)),)
        self._tls = tls or TlsFiles()
        self._channel: grpc.Channel | None = None
        # Channels of a parent process: closing one here would wait for threads that only
        # the parent has.
        self._abandoned: list[grpc.Channel] = []
        self._process = 0

    def close(self) -> None:
        """End the connection; the next call makes another one."""
        with _connecting:
            if self._channel is not None and self._process == os.getpid():
                self._channel.close()
            self._channel = None

    def _connected(self) -> grpc.Channel:
        # At the first call: threads of gRPC do not survive a fork of the web server or worker.
        with _connecting:
            if self._channel is not None and self._process != os.getpid():
                self._abandoned.append(self._channel)
                self._channel = None
            if self._channel is None:
                self._process = os.getpid()
                self._channel = self._connect()
            return self._channel

    def _connect(self) -> grpc.Channel:
        tls = self._tls
        if not tls.authority:
            return grpc.insecure_channel(self._address, _OPTIONS)
        credentials = grpc.ssl_channel_credentials(
            tls.read("authority"), tls.read("key"), tls.read("certificate")
        )
        return grpc.secure_channel(self._address, credentials, _OPTIONS)

    def _begin(self, call: Call[Any], arguments: dict[str, Any]) -> Any:
        """The call under way: an answer, or an iterator of its pages."""
        try:
            request = call.request(arguments)
        except ValueError as error:
            raise InvalidRequest("A value is out of range, or no text.") from error
        if request.ByteSize() > MAX_MESSAGE_BYTES:
            raise InvalidRequest("There is too much in one call.")
        channel = self._connected()
        make = channel.unary_stream if call.descriptor.server_streaming else channel.unary_unary
        ask = make(
            call.path,
            request_serializer=call.request_class.SerializeToString,
            response_deserializer=call.response_class.FromString,
        )
        return ask(request, timeout=call.deadline.total_seconds(), metadata=self._metadata)

    def _ask(self, call: Call[R], **arguments: Any) -> R:
        with heard(call.rpc):
            answer = self._begin(call, arguments)
            try:
                return call.value_of_pages(answer if call.descriptor.server_streaming else [answer])
            except ValueError as error:
                log.error("%s of the Block Service: %s", call.rpc, error)
                raise InternalError from error

    def _stream(self, call: Call[Iterator[R]], **arguments: Any) -> Iterator[R]:
        """The items of an answer. What the service refuses is raised here, not later."""
        with heard(call.rpc):
            stream = self._begin(call, arguments)
            next(stream, None)
        return self._items(call, stream)

    def _items(self, call: Call[Iterator[R]], stream: Any) -> Iterator[R]:
        try:
            with heard(call.rpc):
                for response in stream:
                    yield call.value_of(response)
        finally:
            # Whoever stops reading frees the service's thread.
            stream.cancel()

    def check_health(self, *, timeout_seconds: float) -> bool:
        """Whether the service says that it can work. Raises ServiceUnavailable."""
        ask = self._connected().unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        with heard("Health"):
            answer = ask(
                health_pb2.HealthCheckRequest(service=SERVICE.full_name),
                timeout=timeout_seconds,
                metadata=self._metadata,
            )
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    # --- The interface ------------------------------------------------------------------

    @outside_transactions
    def get_or_create_block_locations(
        self, *, versions: Sequence[NewVersion], readable: Sequence[UUID]
    ) -> list[list[BlockLocation]]:
        return self._ask(calls.GET_OR_CREATE_BLOCK_LOCATIONS, versions=versions, readable=readable)

    @outside_transactions
    def refresh_upload_urls(
        self, *, device_id: UUID, reports: Sequence[UploadReport]
    ) -> list[RefreshedUpload]:
        return self._ask(calls.REFRESH_UPLOAD_URLS, device_id=device_id, reports=reports)

    @outside_transactions
    def create_pack_uploads(self, *, device_id: UUID, packs: Sequence[NewPack]) -> list[PackUpload]:
        return self._ask(calls.CREATE_PACK_UPLOADS, device_id=device_id, packs=packs)

    @outside_transactions
    def verify_versions(self, *, versions: Sequence[VersionToCommit]) -> list[CommitVerdict]:
        return self._ask(calls.COMMIT_VERSION, versions=versions)

    @outside_transactions
    def settle_versions(self, *, settlements: Sequence[Settlement]) -> None:
        self._ask(calls.RELEASE_VERSIONS, settlements=settlements)

    @outside_transactions
    def copy_versions(self, *, copies: Sequence[VersionCopy]) -> None:
        self._ask(calls.COPY_VERSIONS, copies=copies)

    @outside_transactions
    def get_block_download_urls(self, *, ranges: Sequence[VersionRange]) -> Downloads:
        return self._ask(calls.GET_BLOCK_DOWNLOAD_URLS, ranges=ranges)

    @outside_transactions
    def read_version(self, *, file_version_id: UUID, start: int, length: int) -> Iterator[bytes]:
        pieces = self._stream(
            calls.READ_VERSION, file_version_id=file_version_id, start=start, length=length
        )
        return self._read_on(pieces, file_version_id, start, start + length)

    def _read_on(
        self, pieces: Iterator[bytes], file_version_id: UUID, start: int, end: int
    ) -> Iterator[bytes]:
        """The pieces; a stream that breaks after some is taken up where it broke.

        Versions never change, and the block in which it broke was hashed as a whole before
        its first byte was sent.
        """
        has_progressed = False
        while True:
            try:
                for piece in pieces:
                    start += len(piece)
                    has_progressed = True
                    yield piece
                return
            except ServiceUnavailable:
                if not has_progressed or start >= end:
                    raise
                has_progressed = False
                pieces = self._stream(
                    calls.READ_VERSION,
                    file_version_id=file_version_id,
                    start=start,
                    length=end - start,
                )

    @outside_transactions
    def stats(self) -> BlockStats:
        return self._ask(calls.STATS)

    @outside_transactions
    def space_used(self, *, namespaces: Sequence[UUID]) -> SpaceUsed:
        return self._ask(calls.GET_SPACE_USED, namespaces=namespaces)

    @outside_transactions
    def changed_block_counts(self, *, pairs: Sequence[VersionPair]) -> list[int]:
        return self._ask(calls.GET_CHANGED_BLOCK_COUNTS, pairs=pairs)

    @outside_transactions
    def recorded_ids(self, *, after: UUID | None, limit: int) -> list[UUID]:
        return self._ask(calls.LIST_RECORDED_IDS, after=after, limit=limit)

    @outside_transactions
    def recorded_versions(self, *, file_version_ids: Sequence[UUID]) -> list[RecordedVersion]:
        return self._ask(calls.GET_RECORDED_VERSIONS, file_version_ids=file_version_ids)

    @outside_transactions
    def damaged_ids(self, *, after: UUID | None, limit: int) -> list[UUID]:
        return self._ask(calls.LIST_DAMAGED_IDS, after=after, limit=limit)
