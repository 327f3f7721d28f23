"""`manage.py run_block_service`: the Block Service as a process of its own, over gRPC."""

import errno
import os
import signal
import socket
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import run_checks
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from blocks.local import LocalBlockService
from blocks.rpc.server import BlockServer
from blocks.rpc.trust import UNIX, TlsFiles, host_of
from blocks.storage import get_object_store
from blocks.transactions import ALIAS

CANNOT_LISTEN, MISCONFIGURED = 1, 2


class Command(BaseCommand):
    help = (
        "Serve the Block Service over gRPC at BLOCK_SERVICE_BIND until SIGTERM or SIGINT. "
        f"Exits with {CANNOT_LISTEN} where it cannot listen, {MISCONFIGURED} where the "
        "settings are wrong."
    )
    # They are made here, to be told in one line.
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        wrong = [each for each in run_checks() if each.is_serious()]
        if wrong:
            raise CommandError(f"{wrong[0].msg} {wrong[0].hint}", returncode=MISCONFIGURED)
        server = BlockServer(
            LocalBlockService(),
            probe=probe,
            threads=settings.BLOCK_SERVICE_THREADS,
            token=settings.BLOCK_SERVICE_TOKEN,
            has_reflection=settings.BLOCK_SERVICE_REFLECTION,
        )
        address = self._listen(server)
        is_told_to_stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: is_told_to_stop.set())
        server.start()
        self.stdout.write(f"Block Service is ready at {address}")
        self.stdout.flush()
        is_told_to_stop.wait()
        server.stop(timedelta(seconds=settings.BLOCK_SERVICE_STOP_SECONDS))

    def _listen(self, server: BlockServer) -> str:
        """The address taken, with the port that was found where 0 was asked for."""
        address: str = settings.BLOCK_SERVICE_BIND
        tls = TlsFiles.configured()
        host = host_of(address)
        try:
            if host is None:
                _make_room(Path(address.removeprefix(UNIX)))
                # Whoever may connect may read every block: for this user alone.
                before = os.umask(0o177)
                try:
                    server.listen(address, tls)
                finally:
                    os.umask(before)
                return address
            _try_to_bind(host, int(address.rpartition(":")[2]))
            port = server.listen(address, tls)
        except OSError as error:
            reason = (
                "is in use by another program"
                if error.errno == errno.EADDRINUSE
                else f"cannot be listened on: {error.strerror or error}"
            )
            raise CommandError(
                f"BLOCK_SERVICE_BIND {address} {reason}.", returncode=CANNOT_LISTEN
            ) from error
        return f"{address.rpartition(':')[0]}:{port}"


def probe() -> None:
    """Raises what keeps the service from working: its database, or its store."""
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("SELECT 1 FROM blocks_blocklist LIMIT 1")
    get_object_store().sizes(["b/00/00/readiness"])


def _try_to_bind(host: str, port: int) -> None:
    """Raises OSError with the reason, which gRPC does not tell."""
    [family, kind, protocol, _, place] = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)


def _make_room(path: Path) -> None:
    """Remove the socket of a server that is gone. Raises OSError where one still listens."""
    if not path.is_socket():
        if path.exists():
            raise FileExistsError(errno.EEXIST, "there is something else", str(path))
        return
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise OSError(errno.EADDRINUSE, "a server listens there", str(path))
