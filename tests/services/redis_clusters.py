"""Redis as those run it who cannot do without: watched by Sentinels, or spread as a cluster.

Every server is real, on ports of the loopback address, and can be stopped by itself.
"""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException, RedisError
from redis.sentinel import Sentinel

from tests.services import ServiceMissing, dies_with_parent, free_port
from tests.services.redis import redis_executable

SERVICE = "drive"
DOWN_AFTER_MILLISECONDS = 500


def _wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if condition():
                return
            problem: object = ""
        except (RedisError, RedisClusterException, OSError) as error:
            problem = repr(error)
        if time.monotonic() > deadline:
            raise ServiceMissing(f"Redis: {what} did not come about. {problem}")
        time.sleep(0.05)


def _port_with_bus() -> int:
    """A free port for which that of the cluster's bus, 10,000 above, is free too."""
    while True:
        port = free_port()
        if port + 10_000 > 65_535:
            continue
        with socket.socket() as bus:
            try:
                bus.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
        return port


class Node:
    """One server on a port of its own, started with these settings."""

    def __init__(self, folder: Path, *, port: int, arguments: tuple[str, ...]) -> None:
        self.port = port
        self._folder = folder
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [redis_executable(), *self._arguments],
                cwd=self._folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=dies_with_parent(),
            )
        with self.client() as client:
            _wait_for(client.ping, f"an answer at port {self.port}")

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, decode_responses=True)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


class _Nodes:
    """Some servers in a folder; all are killed in the end."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="drive-redis-"))
        self._nodes: list[Node] = []

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        for node in self._nodes:
            node.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, *arguments: str, port: int | None = None) -> Node:
        port = port or free_port()
        plain = ("--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no")
        node = Node(
            self._folder / str(port),
            port=port,
            arguments=arguments if arguments[:1] == ("sentinel.conf",) else (*plain, *arguments),
        )
        self._nodes.append(node)
        return node


class WatchedRedis(_Nodes):
    """A master, its replica and three Sentinels, which make the replica master when it dies."""

    def start(self) -> None:
        self.master = self._run()
        self.master.start()
        self.replica = self._run("--replicaof", "127.0.0.1", str(self.master.port))
        self.replica.start()
        # Else the Sentinels may not know yet who could take over.
        with self.replica.client() as client:
            _wait_for(lambda: client.info()["master_link_status"] == "up", "replication")
        self._sentinels = [self._sentinel() for _ in range(3)]
        places = [("127.0.0.1", node.port) for node in self._sentinels]
        self.url = "redis+sentinel://" + ",".join(f"{h}:{p}" for h, p in places) + f"/{SERVICE}/1"
        self._asked = Sentinel(places, socket_timeout=1)
        _wait_for(
            lambda: all(self._knows_all(node) for node in self._sentinels),
            "Sentinels that know each other",
        )

    @staticmethod
    def _knows_all(node: Node) -> bool:
        with node.client() as client:
            [state] = client.sentinel_masters().values()
            return bool(state["num-other-sentinels"] == 2 and state["num-slaves"] == 1)

    def _sentinel(self) -> Node:
        port = free_port()
        node = self._run("sentinel.conf", "--sentinel", port=port)
        (self._folder / str(port) / "sentinel.conf").write_text(
            f"bind 127.0.0.1\nport {port}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.master.port} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MILLISECONDS}\n"
            f"sentinel failover-timeout {SERVICE} 5000\n"
        )
        node.start()
        return node

    def fail_over(self) -> None:
        """Kill the master; returns when the Sentinels name the replica in its place."""
        self.master.kill()
        _wait_for(
            lambda: self._asked.discover_master(SERVICE) == ("127.0.0.1", self.replica.port),
            "a new master",
        )

    def client(self) -> redis.Redis:
        """Straight to whoever is master now."""
        _, port = self._asked.discover_master(SERVICE)
        return redis.Redis(port=port, db=1, decode_responses=True)


class RedisOfThree(_Nodes):
    """A cluster of three masters without replicas, each with a third of the slots."""

    SLOTS = 16384

    def start(self) -> None:
        nodes = [
            self._run(
                *("--cluster-enabled", "yes", "--cluster-node-timeout", "1000"),
                # The others stay of use while one is away.
                *("--cluster-require-full-coverage", "no"),
                port=_port_with_bus(),
            )
            for _ in range(3)
        ]
        for number, node in enumerate(nodes):
            node.start()
            with node.client() as client:
                first = number * self.SLOTS // 3
                slots = range(first, (number + 1) * self.SLOTS // 3)
                client.execute_command("CLUSTER", "ADDSLOTS", *slots)
                if number:
                    client.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        self._wait_until_whole()

    def client(self) -> RedisCluster:
        return RedisCluster(host="127.0.0.1", port=self._nodes[0].port, decode_responses=True)

    def restart(self) -> None:
        """Kill every server and start it again; the slots are kept, the data is not."""
        for node in self._nodes:
            node.kill()
        for node in self._nodes:
            node.start()
        self._wait_until_whole()

    def _wait_until_whole(self) -> None:
        _wait_for(lambda: all(self._is_whole(node) for node in self._nodes), "a cluster")

    def _is_whole(self, node: Node) -> bool:
        with node.client() as client:
            # As one word: only so redis-py reads the answer.
            state = client.execute_command("CLUSTER INFO")
        wanted = {"cluster_state": "ok", "cluster_known_nodes": "3"}
        return wanted.items() <= state.items() and state["cluster_slots_ok"] == str(self.SLOTS)
