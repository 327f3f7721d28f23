"""A Block Service behind gRPC, in this process: real sockets, real threads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.db import connections

from blocks.rpc.client import RemoteBlockService
from blocks.rpc.server import BlockServer
from blocks.rpc.trust import TlsFiles
from blocks.service import BlockService

TOKEN = "a token of the tests, long enough"


@contextmanager
def serving(
    service: BlockService,
    *,
    address: str = "127.0.0.1:0",
    tls: TlsFiles | None = None,
    threads: int = 4,
    probe: Callable[[], object] = lambda: None,
    has_reflection: bool = False,
) -> Iterator[str]:
    """The address at which the service answers."""
    server = BlockServer(
        service, probe=probe, threads=threads, token=TOKEN, has_reflection=has_reflection
    )
    port = server.listen(address, tls or TlsFiles())
    settings = connections["blocks"].settings_dict
    before = settings["CONN_MAX_AGE"]
    # Its threads end with the test, and leave no connection to the test's database behind.
    settings["CONN_MAX_AGE"] = 0
    server.start()
    try:
        yield address if address.startswith("unix:") else f"127.0.0.1:{port}"
    finally:
        server.stop(timedelta(seconds=5))
        settings["CONN_MAX_AGE"] = before


@contextmanager
def remote(service: BlockService, *, token: str = TOKEN) -> Iterator[RemoteBlockService]:
    """The service as another process has it."""
    with serving(service) as address:
        client = RemoteBlockService(address, token=token)
        try:
            yield client
        finally:
            client.close()
