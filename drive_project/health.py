"""Is this server alive, and can it work? Answered without sign-in; nothing here is secret."""

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import redis
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from blocks.service import get_block_service
from blocks.storage import get_object_store
from drive_project import __version__
from drive_project.common.errors import DriveError, ServiceUnavailable
from drive_project.common.redis_clients import REDIS_AWAY, connect
from drive_project.databases import missing_migrations

logger = logging.getLogger(__name__)

API_VERSION = "v1"
CHECK_TIMEOUT_SECONDS = 2.0
# Set by every worker every few seconds (drive_project.celery), gone when none does.
WORKER_ALIVE_KEY = "worker-alive"
WORKER_ALIVE_SECONDS = 30
# Below this an upload fails sooner or later; better said before.
MIN_FREE_BYTES = 64 * 1024 * 1024


class Unready(Exception):
    """One part cannot work. The message is for the operator."""


class DatabaseCheck:
    """The database answers, and has the tables of this release."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._is_migrated = False

    def __call__(self) -> str:
        connection = connections[self._alias]
        # This thread serves no requests, so nobody else looks after its connection.
        connection.close_if_unusable_or_obsolete()
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            if not self._is_migrated:
                # Looked up until it holds: reading all migrations is too slow for each time.
                lacking = missing_migrations(self._alias)
                if lacking:
                    raise Unready(f"{lacking} migrations are missing: manage.py prepare")
                self._is_migrated = True
        except DatabaseError as error:
            connection.close()
            logger.warning("Database %s: %s", self._alias, error)
            raise Unready("does not answer") from error
        # Back to the pool, until somebody asks again.
        connection.close_if_unusable_or_obsolete()
        return str(connection.vendor)


def check_redis() -> str:
    for url in {settings.REDIS_URL, settings.EVENTS_REDIS_URL}:
        try:
            with connect(
                url,
                socket_timeout=CHECK_TIMEOUT_SECONDS,
                socket_connect_timeout=CHECK_TIMEOUT_SECONDS,
            ) as client:
                client.ping()
        except REDIS_AWAY as error:
            which = "" if url == settings.REDIS_URL else "EVENTS_REDIS_URL "
            raise Unready(f"{which}does not answer") from error
    return "answers"


def check_store() -> str:
    """The object store answers and, on local disk, has room."""
    store = get_object_store()
    try:
        store.sizes(["b/00/00/readiness"])
        enforced = store.describe()
    except (DriveError, ImproperlyConfigured) as error:
        raise Unready(str(error)) from error
    if settings.S3_BUCKET:
        return f"answers; {enforced}"
    settings.BLOCKS_DIR.mkdir(parents=True, exist_ok=True)
    disk = os.statvfs(settings.BLOCKS_DIR)
    if disk.f_flag & os.ST_RDONLY:
        raise Unready("the disk of the blocks is mounted read-only")
    free_bytes = disk.f_bavail * disk.f_frsize
    if free_bytes < MIN_FREE_BYTES:
        raise Unready("the disk of the blocks is full")
    return f"{free_bytes // 1024**2} MiB free; {enforced}"


def check_worker() -> str:
    try:
        is_alive = cache.get(WORKER_ALIVE_KEY) is not None
    except redis.RedisError as error:
        raise Unready("unknown while Redis does not answer") from error
    if not is_alive:
        raise Unready(f"no sign of life for {WORKER_ALIVE_SECONDS} seconds")
    return "alive"


def check_block_service() -> str:
    """The Block Service of another process answers, and says that it can work."""
    # Loaded only where it is used: gRPC costs memory and time to start.
    from blocks.rpc.client import RemoteBlockService

    service = get_block_service()
    if not isinstance(service, RemoteBlockService):
        raise TypeError("The Block Service runs in this process.")
    try:
        is_serving = service.check_health(timeout_seconds=CHECK_TIMEOUT_SECONDS * 0.9)
    except ServiceUnavailable as error:
        raise Unready("does not answer, or refuses our token; the log says which") from error
    if not is_serving:
        raise Unready("says that it cannot work; its log says why")
    return "serving"


class Readiness:
    """Runs all checks side by side, none for longer than the time limit.

    A check that hangs is not started again before it has ended: asking often must not
    pile up threads on a part that is in trouble.
    """

    def __init__(self, checks: dict[str, Callable[[], str]]) -> None:
        self._checks = checks
        self._threads = ThreadPoolExecutor(len(checks), thread_name_prefix="readiness")
        self._running: dict[str, Future[str]] = {}
        self._lock = threading.Lock()

    def report(self) -> dict[str, dict[str, object]]:
        """Per check: `ok` and a `detail` for the operator."""
        with self._lock:
            for name, check in self._checks.items():
                if name not in self._running or self._running[name].done():
                    self._running[name] = self._threads.submit(check)
            running = dict(self._running)
        wait(running.values(), timeout=CHECK_TIMEOUT_SECONDS)
        return {name: self._outcome(name, future) for name, future in running.items()}

    def _outcome(self, name: str, future: "Future[str]") -> dict[str, object]:
        if not future.done():
            return {"ok": False, "detail": f"no answer within {CHECK_TIMEOUT_SECONDS:g} seconds"}
        error = future.exception()
        if error is None:
            return {"ok": True, "detail": future.result()}
        if isinstance(error, Unready):
            return {"ok": False, "detail": str(error)}
        logger.error("The check of %s failed", name, exc_info=error)
        return {"ok": False, "detail": "failed; the log says why"}


# What only the Block Service uses is its own to look after where it runs apart.
_block_service_checks: dict[str, Callable[[], str]] = (
    {"block-service": check_block_service}
    if settings.BLOCK_SERVICE_ADDRESS
    else {"blocks": DatabaseCheck("blocks"), "store": check_store}
)
readiness = Readiness(
    {
        "default": DatabaseCheck("default"),
        "redis": check_redis,
        "worker": check_worker,
        **_block_service_checks,
    }
)


@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """200 while this process answers requests, whatever the state of the parts it needs."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when every part works, else 503; `checks` says which do not."""
    checks = readiness.report()
    is_ready = all(check["ok"] for check in checks.values())
    response = JsonResponse(
        {"status": "ready" if is_ready else "unready", "checks": checks},
        status=200 if is_ready else 503,
    )
    # Who asks will act on it; Django would report each such answer as an error.
    response._has_been_logged = True  # type: ignore[attr-defined]  # Django's own mark
    return response


@require_safe
def version(request: HttpRequest) -> JsonResponse:
    """Which release this is, and which version of the API it speaks."""
    return JsonResponse({"version": __version__, "api": API_VERSION})
