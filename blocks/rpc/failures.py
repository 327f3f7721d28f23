"""Errors across the border: a DriveError goes as a status and comes out as itself.

What nobody foresaw goes as INTERNAL without a word of its own: its text may hold anything,
and the log of the Block Service has it with its traceback.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import grpc

from blocks.rpc import blocks_pb2
from blocks.rpc.limits import MAX_FAILURE_BYTES
from drive_project.common.errors import (
    DriveError,
    InternalError,
    ServiceUnavailable,
    all_errors,
)

log = logging.getLogger(__name__)

FAILURE_KEY = "drive-failure-bin"
RETRY_AFTER_SECONDS = 2

_STATUS = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    507: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
# What gRPC itself says when the other side cannot be asked now. UNAUTHENTICATED is about our
# token, so nothing that a device could mend by signing in again.
_AWAY = {
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


def tell(error: DriveError, context: grpc.ServicerContext) -> None:
    """End the call with this error; does not return."""
    failure = blocks_pb2.Failure(
        code=error.code, detail=error.detail, extra_json=json.dumps(error.extra, default=str)
    )
    if failure.ByteSize() > MAX_FAILURE_BYTES:
        # Better the error without its data than a broken call.
        failure.extra_json = "{}"
    context.set_trailing_metadata(
        (
            (FAILURE_KEY, failure.SerializeToString()),
            # It is an answer: asking again at once would only repeat the work.
            ("grpc-retry-pushback-ms", "-1"),
        )
    )
    context.abort(_STATUS.get(error.status, grpc.StatusCode.FAILED_PRECONDITION), error.code)


@contextmanager
def heard(rpc: str) -> Iterator[None]:
    """Turn what gRPC raises into the DriveError that the other side meant."""
    try:
        yield
    except grpc.RpcError as error:
        raise _meant(rpc, error) from error


def _meant(rpc: str, error: grpc.RpcError) -> DriveError:
    # Every error of a channel is also the call that failed, which no type says.
    failed = cast(grpc.Call, error)
    code = failed.code()
    for key, value in failed.trailing_metadata() or ():
        if key == FAILURE_KEY and isinstance(value, bytes):
            return _from_bytes(rpc, value)
    # gRPC's own words name addresses and limits: for the operator, not for the caller.
    log.error("%s of the Block Service: %s %s", rpc, code.name, failed.details())
    if code in _AWAY:
        return ServiceUnavailable(retry_after_seconds=RETRY_AFTER_SECONDS)
    return InternalError()


def _from_bytes(rpc: str, value: bytes) -> DriveError:
    failure = blocks_pb2.Failure.FromString(value)
    kinds = {kind.code: kind for kind in all_errors()}
    if failure.code not in kinds:
        log.error("%s of the Block Service: unknown error %s", rpc, failure.code)
        return InternalError()
    return kinds[failure.code](failure.detail, **json.loads(failure.extra_json))
