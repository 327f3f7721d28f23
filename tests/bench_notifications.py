"""`make bench-notifications`: ten thousand devices that wait, on this one machine.

    python -m tests.bench_notifications [--sockets 10000] [--polls 2000] [--processes 2]

A private PostgreSQL and Redis, `manage.py run_notifications` as often as said, and devices
that are nothing but a connection each. All of it on the loopback address; ends by itself.
What is not as promised, or does not happen at all, is reported, the rest is measured all
the same, and the end is exit 1.
"""

import argparse
import asyncio
import json
import os
import random
import resource
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
from psycopg.sql import SQL, Identifier

from drive_project.server import allow_many_files
from sync_client.notify import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS
from sync_client.system import jitter
from tests.services import dies_with_parent, free_port
from tests.services.postgres import PrivatePostgres
from tests.services.redis import PrivateRedis

W = TypeVar("W", bound="Wire")
DEVICES_OF_A_PERSON = 3
# The rest belong to people with many, so that not too many accounts have to be made.
PERSONS = 200
DEVICES_OF_A_TEAM = 100
# What the issue promises.
MAX_P50_MS, MAX_P99_MS = 100, 500
MAX_FAN_OUT_SECONDS = 2
MAX_STORM_SECONDS = 30
CONNECTING_AT_ONCE = 200
PATIENCE_SECONDS = 300.0
# What was not heard by then is not waited for.
HEARD_WITHIN_SECONDS = 60.0

broken: list[str] = []


def report(what: str, value: str) -> None:
    print(f"{what:<62} {value}", flush=True)


def promise(what: str, value: float, limit: float, unit: str) -> None:
    """Report a value that must not be above its limit."""
    report(what, f"{value:8.1f} {unit} (at most {limit:g})")
    if value > limit:
        broken.append(what)


def miss(what: str, errors: Mapping[str, int] | None = None) -> None:
    """Report what should have happened and has not."""
    told = ", ".join(f"{kind}: {count}" for kind, count in (errors or {}).items())
    report(what, f"         MISSED {told}")
    broken.append(what)


# --- Devices ------------------------------------------------------------------------------


@dataclass(slots=True)
class Tally:
    """What went wrong for any device, by kind."""

    refused_while_down: int = 0
    errors: dict[str, int] = field(default_factory=dict)

    def error(self, kind: str) -> None:
        self.errors[kind] = self.errors.get(kind, 0) + 1


def masked_text(text: bytes) -> bytes:
    # A mask of zeros is a mask; the server unmasks all the same.
    return bytes([0x81, 0x80 | len(text)]) + bytes(4) + text


PONG = masked_text(b'{"type": "pong"}')


class Wire(asyncio.Protocol):
    """One request on a connection of its own, and what comes back."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._received = b""
        self.transport: asyncio.Transport | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self._request)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("lost before it was ready"))
        if not self.lost.done():
            self.lost.set_result(None)

    def close(self) -> None:
        # Nobody asks any more; a failure that is noted already stays.
        self.ready.cancel()
        if self.transport is not None:
            self.transport.abort()

    def fail(self, what: str) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(what))
        self.close()


class SocketWire(Wire):
    """A WebSocket: ready after its hello, answers pings, notes when it hears of changes."""

    def __init__(self, request: bytes) -> None:
        super().__init__(request)
        self._is_open = False
        self.waiting: asyncio.Future[float] | None = None

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._is_open:
            head, end, rest = self._received.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.fail(head[:40].decode("latin-1"))
                return
            self._is_open, self._received = True, rest
        while (frame := self._frame()) is not None:
            opcode, payload = frame
            if opcode == 9:
                assert self.transport is not None
                self.transport.write(bytes([0x8A, 0x80 | len(payload)]) + bytes(4) + payload)
            elif opcode == 8:
                code = struct.unpack("!H", payload[:2])[0] if payload else 0
                self.fail(f"closed with {code}")
            elif opcode == 1:
                self._hear(json.loads(payload))

    def _frame(self) -> tuple[int, bytes] | None:
        data = self._received
        if len(data) < 2:
            return None
        size, start = data[1], 2
        if size == 126:
            if len(data) < 4:
                return None
            size, start = int.from_bytes(data[2:4], "big"), 4
        if len(data) < start + size:
            return None
        self._received = data[start + size :]
        return data[0] & 15, data[start : start + size]

    def _hear(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "hello":
                if not self.ready.done():
                    self.ready.set_result(None)
            case "ping":
                assert self.transport is not None
                self.transport.write(PONG)
            case "changed":
                if self.waiting is not None and not self.waiting.done():
                    self.waiting.set_result(time.perf_counter())

    def hears(self) -> "asyncio.Future[float]":
        """The moment at which it hears of the next change."""
        self.waiting = asyncio.get_running_loop().create_future()
        return self.waiting


class PollWire(Wire):
    """A long poll: ready when it is answered."""

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or not body.endswith(b"}"):
            return
        if head.startswith(b"HTTP/1.1 200"):
            if not self.ready.done():
                self.ready.set_result(None)
        else:
            self.fail(head[:40].decode("latin-1"))


@dataclass(slots=True)
class Place:
    """A device: its token, and the processes that it comes to, to any of them each time."""

    token: str
    ports: Sequence[int]
    cursor: str = ""

    def socket_request(self) -> bytes:
        return (
            "GET /ws/notifications HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {self.token}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ).encode()

    def poll_request(self, timeout_seconds: int) -> bytes:
        return (
            f"GET /api/v1/notifications/poll?cursor={self.cursor}&timeout={timeout_seconds} "
            "HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {self.token}\r\n\r\n"
        ).encode()

    async def open(self, wire: W) -> W:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: wire, "127.0.0.1", random.choice(self.ports))
        return wire


async def each(items: Iterable[Any], work: Callable[[Any], Any], *, at_once: int) -> list[Any]:
    """The results of `work` for all items, so many at a time."""
    limit = asyncio.Semaphore(at_once)

    async def one(item: Any) -> Any:
        async with limit:
            return await work(item)

    return list(await asyncio.gather(*(one(item) for item in items)))


# --- Processes ----------------------------------------------------------------------------


class Process:
    """`manage.py run_notifications`, and what it takes."""

    def __init__(self, log: Path) -> None:
        self.port = free_port()
        self._log = log
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as output:
            self.running = subprocess.Popen(
                [sys.executable, "manage.py", "run_notifications"],
                env={**os.environ, "NOTIFICATIONS_BIND": f"127.0.0.1:{self.port}"},
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=dies_with_parent(),
            )

    def wait(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{self.port}/healthz").raise_for_status()
                return
            except httpx.TransportError:
                if self.running.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(self._log.read_text()[-2000:]) from None
                time.sleep(0.05)

    def stop(self) -> None:
        self.running.send_signal(signal.SIGTERM)
        try:
            self.running.wait(60)
        except subprocess.TimeoutExpired:
            broken.append("a process ends within 60 s")
            self.running.kill()
            self.running.wait()

    @property
    def memory_mb(self) -> float:
        return memory_mb(self.running.pid)

    @property
    def cpu_seconds(self) -> float:
        return cpu_seconds(self.running.pid)


def memory_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(f"no VmRSS of {pid}")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_seconds_of(program: str) -> float:
    """Of all processes of that name below this one, those included that have ended."""
    ticks: dict[int, int] = {}
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue  # It ended just now.
        pid, fields = int(stat.parent.name), rest.split()
        parents[pid] = int(fields[1])
        if name.startswith(program):
            ticks[pid] = sum(map(int, fields[11:15]))

    def is_ours(pid: int) -> bool:
        while pid > 1 and pid != os.getpid():
            pid = parents.get(pid, 0)
        return pid == os.getpid()

    return sum(ticks[pid] for pid in ticks if is_ours(pid)) / os.sysconf("SC_CLK_TCK")


def load() -> str:
    return "load average " + ", ".join(f"{value:.1f}" for value in os.getloadavg())


class Spent:
    """CPU of everything that takes part, since a moment, in parts of one core."""

    def __init__(self, processes: list[Process]) -> None:
        self._processes = processes
        self._before = self._seconds()
        self._began = time.perf_counter()

    def _seconds(self) -> dict[str, float]:
        return {
            "processes": sum(process.cpu_seconds for process in self._processes),
            "PostgreSQL": cpu_seconds_of("postgres"),
            "Redis": cpu_seconds_of("redis-server") + cpu_seconds_of("valkey-server"),
            "generator": cpu_seconds(os.getpid()),
        }

    def __str__(self) -> str:
        took = time.perf_counter() - self._began
        after = self._seconds()
        shares = ", ".join(
            f"{name} {(after[name] - before) / took:.0%}" for name, before in self._before.items()
        )
        memory = sum(process.memory_mb for process in self._processes)
        return (
            f"{took:8.1f} s; CPU of {shares} of a core; memory of the processes {memory:.0f} MB, "
            f"of the generator {memory_mb(os.getpid()):.0f} MB; {load()}"
        )


# --- People -------------------------------------------------------------------------------


@dataclass(slots=True)
class Person:
    """Somebody's devices, and a way to change something of theirs."""

    devices: list[Any]
    sockets: list[SocketWire] = field(default_factory=list)

    def root(self) -> str:
        from tests.people import Api

        root: str = Api(self.devices[0]).get("/account").json()["root_folder_id"]
        return root

    def change(self, root: str, name: str) -> None:
        """Make a folder, as their first device does by HTTP."""
        from tests.people import Api

        api = Api(self.devices[0])
        made = api.post("/folders", {"op_id": name, "parent_folder_id": root, "name": name})
        if made.status_code != 201:
            raise ConnectionError(f"HTTP {made.status_code}")


def people(count: int, devices: int) -> list[Person]:
    from drive_project.common.tokens import token_digest
    from files.models import UserDevice
    from tests.people import new_person, token_of

    found = []
    for _ in range(count):
        user = new_person(f"person-{random.getrandbits(64):x}")
        rows = [UserDevice(user=user, name=f"device {number}") for number in range(devices)]
        for row in rows:
            row.token_digest = token_digest(token_of(row))
        UserDevice.objects.bulk_create(rows)
        found.append(Person(rows))
    return found


# --- The measurements ---------------------------------------------------------------------


async def open_socket(place: Place) -> SocketWire:
    wire = await place.open(SocketWire(place.socket_request()))
    await asyncio.wait_for(wire.ready, PATIENCE_SECONDS)
    return wire


async def open_all(
    places: Iterable[Place], open_one: Callable[[Place], Any], what: str
) -> list[Any]:
    """The connection of each place, None where it did not come about, which is a miss."""
    tally = Tally()

    async def attempt(place: Place) -> Any:
        try:
            return await open_one(place)
        except (OSError, TimeoutError) as error:
            tally.error(str(error) or type(error).__name__)
            return None

    wires = await each(places, attempt, at_once=CONNECTING_AT_ONCE)
    if tally.errors:
        miss(what, tally.errors)
    return wires


async def heard_by(futures: "list[asyncio.Future[float]]", what: str) -> list[float]:
    """The moments at which it was heard; who did not hear in time is a miss."""
    heard, deaf = await asyncio.wait(futures, timeout=HEARD_WITHIN_SECONDS) if futures else ((), ())
    if deaf:
        miss(what, {f"not within {HEARD_WITHIN_SECONDS:g} s": len(deaf)})
    return [future.result() for future in heard]


async def measure_commits(persons: list[Person], count: int) -> None:
    """A change of one person to their three devices, while all others are idle."""
    delays: list[float] = []
    for number in range(count):
        person = random.choice(persons)
        root = await asyncio.to_thread(person.root)
        futures = [socket.hears() for socket in person.sockets]
        began = time.perf_counter()
        try:
            await asyncio.to_thread(person.change, root, f"change {number}")
        except ConnectionError as error:
            miss(f"commit {number} is accepted", {str(error): 1})
            continue
        moments = await heard_by(futures, f"commit {number} is heard by 3 devices")
        delays += [(moment - began) * 1000 for moment in moments]
    if len(delays) < 2:
        return
    cuts = statistics.quantiles(delays, n=100)
    promise(f"{count} commits, begun to heard by 3 devices: p50", cuts[49], MAX_P50_MS, "ms")
    promise("the same: p99", cuts[98], MAX_P99_MS, "ms")


async def measure_fan_out(crowd: Person) -> None:
    root = await asyncio.to_thread(crowd.root)
    futures = [socket.hears() for socket in crowd.sockets]
    began = time.perf_counter()
    try:
        await asyncio.to_thread(crowd.change, root, "for all")
    except ConnectionError as error:
        miss("a commit for all is accepted", {str(error): 1})
        return
    moments = await heard_by(futures, "one commit is heard by all devices of an account")
    promise(
        f"one commit heard by all {len(futures)} devices of an account",
        max(moments, default=began) - began,
        MAX_FAN_OUT_SECONDS,
        "s",
    )


async def measure_storm(processes: list[Process], places: list[Place]) -> None:
    """All devices lose their connection at once and come back as the client does."""
    tally = Tally()
    opened = await open_all(places, open_socket, "all devices are connected before the storm")
    wires = [(place, wire) for place, wire in zip(places, opened, strict=True) if wire]
    back: list[float] = []
    # A device may come to a process that is about to end, too.
    is_ending = True

    async def come_back(place: Place, wire: SocketWire) -> None:
        await wire.lost
        failures = 0
        while True:
            # As the client does.
            pause = min(FIRST_PAUSE_SECONDS * 2**failures, LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(jitter(pause))
            try:
                # A long poll on coming online, then the socket.
                poll = await place.open(PollWire(place.poll_request(1)))
                await asyncio.wait_for(poll.ready, PATIENCE_SECONDS)
                poll.close()
                kept.append(await open_socket(place))
            except (OSError, TimeoutError) as error:
                if is_ending or isinstance(error, ConnectionRefusedError):
                    tally.refused_while_down += 1
                else:
                    tally.error(str(error) or type(error).__name__)
            else:
                back.append(time.perf_counter())
                return
            failures += 1

    kept: list[SocketWire] = []
    returning = [asyncio.ensure_future(come_back(place, wire)) for place, wire in wires]
    await asyncio.gather(*(asyncio.to_thread(process.stop) for process in processes))
    is_ending = False
    for process in processes:
        process.start()
    for process in processes:
        await asyncio.to_thread(process.wait)
    spent, began = Spent(processes), time.perf_counter()
    await asyncio.gather(*returning)
    promise(
        f"{len(wires)} devices come back after a restart, by poll and socket",
        max(back, default=began) - began,
        MAX_STORM_SECONDS,
        "s",
    )
    if back:
        report("half of them", f"{statistics.median(back) - began:8.1f} s")
    promise("errors to any of them", sum(tally.errors.values()), 0, "")
    if tally.errors:
        report("which", str(tally.errors))
    report("attempts while nothing listened", str(tally.refused_while_down))
    report("meanwhile", str(spent))
    for wire in kept:
        wire.close()


async def measure(chosen: argparse.Namespace, processes: list[Process]) -> None:
    crowd_size = min(chosen.crowd, chosen.sockets)
    began = time.perf_counter()
    [crowd] = await asyncio.to_thread(people, 1, crowd_size)
    persons = await asyncio.to_thread(people, PERSONS, DEVICES_OF_A_PERSON)
    rest = max(0, chosen.sockets - crowd_size - PERSONS * DEVICES_OF_A_PERSON)
    teams = await asyncio.to_thread(people, -(-rest // DEVICES_OF_A_TEAM), DEVICES_OF_A_TEAM)
    others = await asyncio.to_thread(
        people, -(-chosen.polls // DEVICES_OF_A_TEAM), DEVICES_OF_A_TEAM
    )
    report("accounts and devices made", f"{time.perf_counter() - began:8.1f} s")

    from tests.people import Api, token_of

    ports = [process.port for process in processes]

    def place_of(number: int, device: Any) -> Place:
        own = ports if chosen.anywhere else [ports[number % len(ports)]]
        return Place(token_of(device), own)

    def cursor_of(person: Person) -> str:
        cursor: str = Api(person.devices[0]).get("/changes/latest").json()["cursor"]
        return cursor

    before = sum(process.memory_mb for process in processes)
    own_before = memory_mb(os.getpid())
    spent = Spent(processes)
    owners = [
        (person, device) for person in [crowd, *persons, *teams] for device in person.devices
    ][: chosen.sockets]
    places = [place_of(number, device) for number, (_, device) in enumerate(owners)]
    opened = await open_all(places, open_socket, "every socket is opened")
    for (person, _), socket in zip(owners, opened, strict=True):
        if socket is not None:
            person.sockets.append(socket)
    sockets = [socket for socket in opened if socket is not None]
    report(f"{len(sockets)} sockets opened", str(spent))

    pollers: list[Place] = []
    for other in others:
        cursor = await asyncio.to_thread(cursor_of, other)
        pollers += [place_of(number, device) for number, device in enumerate(other.devices)]
        for place in pollers[-len(other.devices) :]:
            place.cursor = cursor
    pollers = pollers[: chosen.polls]
    spent = Spent(processes)

    async def hold(place: Place) -> PollWire:
        return await place.open(PollWire(place.poll_request(300)))

    held = await open_all(pollers, hold, "every long poll is opened")
    polls = [poll for poll in held if poll is not None]
    # Held, not just sent: each process says of the devices that they are here.
    await asyncio.sleep(10)
    report(f"{len(polls)} long polls opened", str(spent))

    count = len(sockets) + len(polls)
    after = sum(process.memory_mb for process in processes)
    report(
        f"memory of {len(processes)} processes with {count} connections",
        f"{after:8.0f} MB, {(after - before) * 1000 / count:.0f} KB each "
        f"({before:.0f} MB without); generator {memory_mb(os.getpid()):.0f} MB "
        f"({own_before:.0f} without)",
    )
    spent = Spent(processes)
    await asyncio.sleep(chosen.idle_seconds)
    report("idle", str(spent))
    lost = sum(wire.lost.done() for wire in [*sockets, *polls])
    promise("connections lost so far", lost, 0, "")
    answered = sum(wire.ready.done() for wire in polls)
    promise("long polls answered without a reason", answered, 0, "")

    spent = Spent(processes)
    await measure_commits(persons, chosen.commits)
    report("meanwhile", str(spent))
    await measure_fan_out(crowd)

    for wire in [*sockets, *polls]:
        wire.close()
    await asyncio.sleep(2)
    await measure_storm(processes, places[: chosen.storm])


def main() -> None:
    """Measure, with the numbers that the command line names."""
    options = argparse.ArgumentParser(prog="python -m tests.bench_notifications")
    options.add_argument("--sockets", type=int, default=10_000)
    options.add_argument("--polls", type=int, default=2_000)
    options.add_argument("--crowd", type=int, default=1_000, help="devices of one account")
    options.add_argument("--storm", type=int, default=5_000)
    options.add_argument("--commits", type=int, default=200)
    options.add_argument("--processes", type=int, default=2)
    options.add_argument(
        "--anywhere",
        action="store_true",
        help="a device comes to any process each time, as behind a load balancer",
    )
    options.add_argument("--idle-seconds", type=float, default=60)
    chosen = options.parse_args()
    allow_many_files()
    needed = chosen.sockets + chosen.polls + 1_000
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < needed:
        raise SystemExit(f"Too few open files are allowed. Run before: ulimit -Hn {needed}")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="drive-bench-"))
        os.environ["DRIVE_DATA_DIR"] = folder
        os.environ["REDIS_URL"] = stack.enter_context(PrivateRedis()).url
        os.environ["LOG_LEVEL"] = "WARNING"
        server = stack.enter_context(PrivatePostgres(is_durable=True))
        for variable, name in (("DATABASE_URL", "files"), ("BLOCKS_DATABASE_URL", "blocks")):
            with psycopg.connect(f"{server.url}postgres", autocommit=True) as connection:
                connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
            os.environ[variable] = f"{server.url}{name}"
        os.environ["DJANGO_SETTINGS_MODULE"] = "drive_project.settings"
        import django

        django.setup()
        from django.conf import settings

        from drive_project.databases import migrate_all

        settings.ALLOWED_HOSTS = ["testserver"]
        # Thousands of passwords that nobody will use.
        settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
        migrate_all()
        report("on this machine", f"{os.cpu_count()} cores, {load()}")
        processes = []
        for number in range(chosen.processes):
            processes.append(Process(Path(folder) / f"notifications-{number}.log"))
            stack.callback(processes[-1].stop)
        for process in processes:
            process.wait()
        asyncio.run(measure(chosen, processes))
    for what in broken:
        print(f"Not as promised: {what}", file=sys.stderr)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
