"""The Block Service as a gRPC server: each call is one of a `BlockService` in this process."""

import hmac
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeAlias

import grpc
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, OperationalError, close_old_connections, connections
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from blocks.rpc.calls import CALLS, SERVICE, Call
from blocks.rpc.failures import RETRY_AFTER_SECONDS, tell
from blocks.rpc.limits import LIMITS, Option
from blocks.rpc.trust import TOKEN_KEY, TlsFiles, token_header
from blocks.service import BlockService
from drive_project.common.errors import (
    DriveError,
    InternalError,
    InvalidRequest,
    ServiceUnavailable,
)

log = logging.getLogger(__name__)

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_HEALTH = f"/{health.SERVICE_NAME}/"
HEALTH_EVERY = timedelta(seconds=5)

_OPTIONS: Sequence[Option] = (
    *LIMITS,
    # Else a second server on the same port would silently share it.
    ("grpc.so_reuseport", 0),
    # A client that vanished without a word frees its thread within 80 seconds.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Our clients ask every 30 seconds while a call is open.
    ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
)


class BlockServer:
    """Serves `service`; `probe` raises what keeps it from working, and is asked in between.

    threads: calls that are worked on at once, each with a database connection at most. Reads
    of versions, which last as long as their readers like, take at most three quarters.
    """

    def __init__(
        self,
        service: BlockService,
        *,
        probe: Callable[[], object],
        threads: int,
        token: str = "",
        has_reflection: bool = False,
    ) -> None:
        self._service = service
        self._probe = probe
        self._reads = threading.BoundedSemaphore(max(threads * 3 // 4, 1))
        self._health = health.HealthServicer()
        self._is_stopping = threading.Event()
        self._server = grpc.server(
            ThreadPoolExecutor(threads, thread_name_prefix="block-service"),
            interceptors=[TokenInterceptor(token)] if token else [],
            options=_OPTIONS,
            # The rest is told at once to come again, rather than after its deadline.
            maximum_concurrent_rpcs=threads * 8,
        )
        handlers = {call.rpc: self._handler(call) for call in CALLS}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE.full_name, handlers),)
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._tell_health(is_serving=False)
        if has_reflection:
            # Off by default, and loaded only then.
            from grpc_reflection.v1alpha import reflection

            reflection.enable_server_reflection(
                [SERVICE.full_name, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server
            )

    def listen(self, address: str, tls: TlsFiles) -> int:
        """Take HOST:PORT (0: any port) or unix:PATH; the port. Raises OSError.

        With a certificate it speaks TLS; with an authority, only to clients that have a
        certificate of it.
        """
        try:
            if not tls.certificate:
                return self._server.add_insecure_port(address)
            pair = (tls.read("key") or b"", tls.read("certificate") or b"")
            authority = tls.read("authority")
            return self._server.add_secure_port(
                address,
                grpc.ssl_server_credentials(
                    [pair],
                    root_certificates=authority,
                    require_client_auth=authority is not None,
                ),
            )
        except RuntimeError as error:
            raise OSError(str(error)) from error

    def start(self) -> None:
        """Serve, and tell health what the probe says, from now on."""
        self._server.start()
        threading.Thread(target=self._watch_health, name="health", daemon=True).start()

    def stop(self, grace: timedelta) -> None:
        """Take no more calls, and wait for those under way; after `grace` they are cut off."""
        self._is_stopping.set()
        # NOT_SERVING for good, so that balancers look elsewhere.
        self._health.enter_graceful_shutdown()
        self._server.stop(grace.total_seconds()).wait()

    # --- Health -------------------------------------------------------------------------

    def _watch_health(self) -> None:
        was_able = True
        while not self._is_stopping.is_set():
            is_able = self._is_able(is_news=was_able)
            if is_able and not was_able:
                log.warning("The Block Service can work again.")
            self._tell_health(is_serving=is_able)
            was_able = is_able
            self._is_stopping.wait(HEALTH_EVERY.total_seconds())

    def _is_able(self, *, is_news: bool) -> bool:
        close_old_connections()
        try:
            self._probe()
        except (DatabaseError, DriveError, ImproperlyConfigured) as error:
            # Said once, not every five seconds.
            if is_news:
                log.error("The Block Service cannot work now: %s", error)
            return False
        except Exception:
            log.exception("The Block Service cannot tell whether it can work")
            return False
        finally:
            close_old_connections()
        return True

    def _tell_health(self, *, is_serving: bool) -> None:
        states = health_pb2.HealthCheckResponse
        state = states.SERVING if is_serving else states.NOT_SERVING
        for name in ("", SERVICE.full_name):
            self._health.set(name, state)

    # --- Calls --------------------------------------------------------------------------

    def _handler(self, call: Call[Any]) -> Handler:
        if call.is_iterator:
            make, answer = grpc.unary_stream_rpc_method_handler, self._answer_stream
        elif call.descriptor.server_streaming:
            make, answer = grpc.unary_stream_rpc_method_handler, self._answer_in_pages
        else:
            make, answer = grpc.unary_unary_rpc_method_handler, self._answer

        def handle(request: Message, context: grpc.ServicerContext) -> Any:
            return answer(call, request, context)

        return make(
            handle,
            request_deserializer=call.request_class.FromString,
            response_serializer=call.response_class.SerializeToString,
        )

    def _answer(self, call: Call[Any], request: Message, context: grpc.ServicerContext) -> Any:
        with _told(call, context):
            return call.response(self._result(call, request))
        raise AssertionError("A call that failed was ended.")

    def _answer_in_pages(
        self, call: Call[Any], request: Message, context: grpc.ServicerContext
    ) -> Iterator[Message]:
        with _told(call, context):
            pages = list(call.pages(self._result(call, request)))
        # The database is let go: how fast the caller reads is no concern of it.
        yield from pages

    def _answer_stream(
        self, call: Call[Any], request: Message, context: grpc.ServicerContext
    ) -> Iterator[Message]:
        with _told(call, context):
            if not self._reads.acquire(blocking=False):
                raise ServiceUnavailable(
                    "Too many versions are being read.", retry_after_seconds=RETRY_AFTER_SECONDS
                )
            try:
                items = self._result(call, request)
                yield call.response_class()
                for item in items:
                    # While a slow reader takes it, others may have the connection.
                    connections.close_all()
                    yield call.response(item)
            finally:
                self._reads.release()

    def _result(self, call: Call[Any], request: Message) -> Any:
        try:
            arguments = call.arguments_of(request)
        except ValueError as error:
            raise InvalidRequest("The request is malformed.") from error
        return getattr(self._service, call.function.__name__)(**arguments)


@contextmanager
def _told(call: Call[Any], context: grpc.ServicerContext) -> Iterator[None]:
    """Do for a call what Django does for a request: connections, and errors to answers."""
    close_old_connections()
    try:
        yield
    except DriveError as error:
        tell(error, context)
    except OperationalError as error:
        # The database is busy, restarting, or chose us to end a deadlock.
        log.error("%s: the database has failed", call.rpc, exc_info=error)
        tell(ServiceUnavailable(retry_after_seconds=RETRY_AFTER_SECONDS), context)
    except Exception:
        log.exception("%s has failed", call.rpc)
        tell(InternalError(), context)
    finally:
        close_old_connections()


class TokenInterceptor(grpc.ServerInterceptor):
    """Lets in who knows the shared token; health also those who show none, as probes do."""

    def __init__(self, token: str) -> None:
        self._expected = token_header(token).encode()

        def refuse(request: Message, context: grpc.ServicerContext) -> None:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "BLOCK_SERVICE_TOKEN is another one")

        self._refusal: Handler = grpc.unary_unary_rpc_method_handler(refuse)

    def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Handler | None]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        metadata = dict(handler_call_details.invocation_metadata)
        if TOKEN_KEY not in metadata and handler_call_details.method.startswith(_HEALTH):
            return continuation(handler_call_details)
        given = metadata.get(TOKEN_KEY, "")
        given_bytes = given if isinstance(given, bytes) else given.encode()
        if hmac.compare_digest(given_bytes, self._expected):
            return continuation(handler_call_details)
        return self._refusal
