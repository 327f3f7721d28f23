"""OpenStack Swift with its S3 door in one process: `swift_server.py FOLDER PORT`.

Account, container, object and proxy server share the process and loopback ports of their
own; one device, one replica. For tests only: nothing is fsynced for real safety, and the
account is known to everybody.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import eventlet
import eventlet.wsgi
from swift.common import utils

utils.monkey_patch()

import socket  # noqa: E402 - eventlet has to patch before these are used

from swift.common import constraints, storage_policy  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.wsgi import SwiftHttpProtocol, loadapp  # noqa: E402

SERVERS = ("account", "container", "object")

COMMON = """
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
workers = 0
bind_ip = 127.0.0.1
bind_port = {port}
recon_cache_path = {folder}
log_level = WARNING
log_address = {folder}/no-log-socket
"""

BACKEND = """
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""

PROXY = """
[pipeline:main]
pipeline = catch_errors gatekeeper bulk s3api tempauth slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
"""

SWIFT = """
[swift-hash]
swift_hash_path_suffix = tests
swift_hash_path_prefix = tests
[storage-policy:0]
name = only
default = yes
"""


class Memory:
    """What Swift keeps in memcache, kept in this process."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[Any, float]] = {}

    def get(self, key: str, raise_on_error: bool = False) -> Any:
        value, end = self._values.get(key, (None, 0.0))
        return value if not end or end > time.time() else None

    def set(self, key: str, value: Any, time: float = 0, **options: Any) -> None:
        self._values[key] = (value, _now() + time if time else 0.0)

    def delete(self, key: str, server_key: str | None = None) -> None:
        self._values.pop(key, None)

    def incr(self, key: str, delta: int = 1, time: float = 0) -> int:
        value = int(self.get(key) or 0) + delta
        self.set(key, value, time=time)
        return value

    def decr(self, key: str, delta: int = 1, time: float = 0) -> int:
        return self.incr(key, -delta, time)


def _now() -> float:
    return time.time()


def _with_memory(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    memory = Memory()

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["swift.cache"] = memory
        return app(environ, start_response)

    return answer


def _listen(port: int) -> socket.socket:
    listener: socket.socket = eventlet.listen(("127.0.0.1", port))
    # Otherwise every small answer waits for a delayed ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _ring(folder: Path, name: str, port: int) -> None:
    builder = RingBuilder(2, 1, 0)
    builder.add_dev(
        {
            "id": 0,
            "zone": 0,
            "region": 1,
            "weight": 100,
            "ip": "127.0.0.1",
            "port": port,
            "replication_ip": "127.0.0.1",
            "replication_port": port,
            "device": "d1",
            "meta": "",
        }
    )
    builder.rebalance()
    builder.get_ring().save(str(folder / f"{name}.ring.gz"))


def serve(folder: Path, port: int) -> None:
    (folder / "devices" / "d1").mkdir(parents=True, exist_ok=True)
    (folder / "swift.conf").write_text(SWIFT)
    listeners = {name: _listen(0) for name in SERVERS}
    ports = {name: listener.getsockname()[1] for name, listener in listeners.items()}
    listeners["proxy"], ports["proxy"] = _listen(port), port
    for name, its_port in ports.items():
        body = PROXY if name == "proxy" else BACKEND.format(name=name)
        (folder / f"{name}.conf").write_text(COMMON.format(folder=folder, port=its_port) + body)
    for name in SERVERS:
        _ring(folder, name, ports[name])
    utils.set_swift_dir(str(folder))
    constraints.reload_constraints()
    storage_policy.reload_storage_policies()
    quiet = logging.getLogger("swift.requests")
    quiet.addHandler(logging.NullHandler())
    quiet.propagate = False
    for name, listener in listeners.items():
        app = loadapp(str(folder / f"{name}.conf"), global_conf={"log_name": name})
        eventlet.spawn(
            eventlet.wsgi.server,
            listener,
            _with_memory(app) if name == "proxy" else app,
            quiet,
            protocol=SwiftHttpProtocol,
            max_size=200,
        )
    while True:
        eventlet.sleep(3600)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
