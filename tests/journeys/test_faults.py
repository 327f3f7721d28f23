"""Real clients and a real server, with faults between them that a proxy makes.

What a client does is one run of `drive sync --once`: a process that the proxy may kill when
it sees a certain request. Whatever happens, the next run has to find its way.
"""

import ctypes
import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from sync_client.status import Exit
from tests.journeys.devices import DRIVE, Device
from tests.services import dies_with_parent
from tests.services.drive import PASSWORD, RunningDrive
from tests.sync_client.proxy import Proxy

pytestmark = pytest.mark.journey

MIB = 1024 * 1024
# The requests of a sync: method and a part of the path.
REQUESTS = {
    "changes": ("POST", "/api/v1/changes"),
    "download": ("POST", "/files/download"),
    "get": ("GET", "/blocks/"),
    "batch": ("POST", "/api/v1/batch"),
    "init": ("POST", "/files/upload/init"),
    "packs": ("POST", "/files/upload/packs"),
    "put": ("PUT", "/blocks/"),
    "commit": ("POST", "/files/upload/commit"),
}
RUN_SECONDS = 120
DISK_MIB = 96

# The client's clock, as far as Python asks for it: the file system keeps its own.
SKEWED_CLOCK = """
import os, pathlib, time
_offset = int(pathlib.Path(os.environ["CLOCK_OFFSET"]).read_text())
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + _offset
time.time_ns = lambda: _time_ns() + _offset * 1_000_000_000
"""


def is_request(name: str, method: str, path: str) -> bool:
    wanted, part = REQUESTS[name]
    return method == wanted and part in path


@pytest.fixture
def proxy(server: RunningDrive) -> Iterator[Proxy]:
    between = Proxy(server.url)
    yield between
    between.close()


class Runs:
    """A device whose client runs now and then, beyond the proxy."""

    def __init__(self, device: Device, proxy: Proxy, **environment: str) -> None:
        self.device = device
        self.folder = device.folder
        self.proxy = proxy
        device.environment.update(environment)
        self.process: subprocess.Popen[bytes] | None = None

    def begin(self, prepare: Callable[[], None] | None = None) -> "subprocess.Popen[bytes]":
        self.process = subprocess.Popen(
            [str(DRIVE), "sync", "--once"],
            env=self.device.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=prepare or dies_with_parent(),
        )
        return self.process

    def sync(self, *, codes: tuple[int, ...] = (0,)) -> None:
        assert self.begin().wait(RUN_SECONDS) in codes

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)

    def killed_at(self, name: str, *, before: bool) -> None:
        """A run that ends when the proxy sees that request, or its answer."""
        hit: list[str] = []

        def strike(method: str, path: str) -> bool:
            if hit or not is_request(name, method, path):
                return bool(hit)
            hit.append(path)
            self.kill()
            return True

        if before:
            self.proxy.rewrite = lambda method, path: (
                "/nobody-is-there" if strike(method, path) else path
            )
        else:
            self.proxy.loses = strike
        self.begin().wait(RUN_SECONDS)
        assert hit, f"there was no {name} to kill it at"
        assert self.process is not None
        assert self.process.returncode == -signal.SIGKILL
        self.proxy.rewrite = lambda method, path: path
        self.proxy.loses = lambda method, path: False


@pytest.fixture
def owner(server: RunningDrive) -> str:
    return server.new_account()


@pytest.fixture
def laptop(server: RunningDrive, proxy: Proxy, owner: str, tmp_path: Path) -> Runs:
    device = Device("laptop", tmp_path, server, url=proxy.url)
    device.sign_in_and_link(owner)
    return Runs(device, proxy)


@pytest.fixture
def phone(server: RunningDrive, proxy: Proxy, owner: str, tmp_path: Path) -> Runs:
    """It sees the server itself, and no fault."""
    device = Device("phone", tmp_path, server)
    device.sign_in_and_link(owner)
    return Runs(device, proxy)


def contents(runs: Runs) -> dict[str, bytes]:
    """What a person has written, by name. A copy, or a version too many, would show."""
    return {
        path.relative_to(runs.folder).as_posix(): path.read_bytes()
        for path in runs.folder.rglob("*")
        if path.is_file() and ".drive" not in path.parts
    }


def write(runs: Runs, expected: dict[str, bytes], name: str, size_bytes: int) -> None:
    expected[name] = random.randbytes(size_bytes)
    path = runs.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(expected[name])


def versions_of(server: RunningDrive, owner: str) -> list[int]:
    """How many versions each file of a person has."""
    sign_in = {
        "email": owner,
        "password": PASSWORD,
        "name": "auditor",
        "platform": "test",
        "client_version": "0",
    }
    with httpx.Client(base_url=f"{server.url}/api/v1") as client:
        token = client.post("/devices/sign-in", json=sign_in).raise_for_status().json()["token"]
        client.headers["Authorization"] = f"Bearer {token}"
        namespace = client.get("/account").json()["root_namespace_id"]
        page = client.get("/changes/snapshot", params={"namespace": namespace}).json()
        assert page["next_page"] is None
        return [
            client.get(f"/files/{item['file_id']}").raise_for_status().json()["version_count"]
            for item in page["items"]
            if item["type"] == "file"
        ]


def test_a_client_killed_at_any_request_loses_and_doubles_nothing(laptop, phone, server, owner):
    expected: dict[str, bytes] = {}
    for number in range(4):
        write(phone, expected, f"from the phone/{number}", 600_000 if number % 2 else 100)
    phone.sync()
    for name in ("changes", "download", "get"):
        for before in (True, False):
            laptop.killed_at(name, before=before)
    for name in ("batch", "init", "packs", "put", "commit"):
        for before in (True, False):
            write(laptop, expected, f"{name} {before}/small", 100)
            write(laptop, expected, f"{name} {before}/large", 600_000)
            laptop.killed_at(name, before=before)
    laptop.sync()
    phone.sync()

    assert contents(laptop) == contents(phone) == expected
    assert versions_of(server, owner) == [1] * len(expected)


def test_an_answer_of_each_kind_that_is_lost_costs_only_time(laptop, phone, server, owner):
    expected: dict[str, bytes] = {}
    write(phone, expected, "from the phone/large", 600_000)
    phone.sync()
    for number in range(3):
        write(laptop, expected, f"from the laptop/small {number}", 100)
    write(laptop, expected, "from the laptop/large", 600_000)
    left = set(REQUESTS)

    def loses(method: str, path: str) -> bool:
        found = next((name for name in left if is_request(name, method, path)), None)
        left.discard(found or "")
        return found is not None

    laptop.proxy.loses = loses
    # Temporary trouble is a proper end of a run, too: the next one goes on.
    for _ in range(len(REQUESTS)):
        if laptop.begin().wait(RUN_SECONDS) == 0:
            break
    assert left == set(), "never asked"
    phone.sync()

    assert contents(laptop) == contents(phone) == expected
    assert versions_of(server, owner) == [1] * len(expected)


def test_urls_that_are_over_are_asked_for_again(laptop, phone):
    expected: dict[str, bytes] = {}
    write(phone, expected, "from the phone", 600_000)
    phone.sync()
    write(laptop, expected, "from the laptop", 600_000)
    spoilt: set[str] = set()

    def rewrite(method: str, path: str) -> str:
        """Of each kind the first: the server refuses what it has not signed, or not for now."""
        if not path.startswith("/blocks/") or method in spoilt:
            return path
        spoilt.add(method)
        return path[:-1] + ("1" if path[-1] != "1" else "2")

    laptop.proxy.rewrite = rewrite
    laptop.sync()
    assert spoilt == {"GET", "PUT"}
    phone.sync()
    assert contents(laptop) == contents(phone) == expected


def skew(runs: Runs, folder: Path) -> Path:
    """Give a client a clock of its own; the answer holds its seconds ahead of the true time."""
    skewed, offset = folder / "skewed", folder / "offset"
    skewed.mkdir()
    (skewed / "sitecustomize.py").write_text(SKEWED_CLOCK)
    offset.write_text("0")
    runs.device.environment.update(PYTHONPATH=str(skewed), CLOCK_OFFSET=str(offset))
    return offset


def test_a_clock_that_steps_changes_nothing_for_the_files(laptop, phone, tmp_path):
    offset = skew(laptop, tmp_path)
    expected: dict[str, bytes] = {}
    for number, days in enumerate((400, -4_000)):
        offset.write_text(str(days * 24 * 3600))
        write(phone, expected, "edited by the phone", 200 + number)
        write(phone, expected, f"phone {number}", 200)
        phone.sync()
        write(laptop, expected, "edited by the laptop", 200 + number)
        write(laptop, expected, f"laptop {number}", 200)
        laptop.sync()
        phone.sync()
        assert contents(laptop) == contents(phone) == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="a file system of a known size needs root")
def test_a_full_disk_sets_aside_what_has_no_room_and_goes_on_with_room(
    server, owner, phone, proxy, tmp_path
):
    home = tmp_path / "small disk"
    home.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(home)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.strip()}")
    try:
        device = Device("tablet", home, server, url=proxy.url)
        device.sign_in_and_link(owner)
        tablet = Runs(device, proxy)
        offset = skew(tablet, tmp_path)
        expected: dict[str, bytes] = {}
        write(phone, expected, "large", 48 * MIB)
        write(tablet, expected, "note", 100)
        phone.sync()
        # Something has to be looked at: it does not fit.
        tablet.sync(codes=(Exit.FATAL,))
        assert contents(tablet) == {"note": expected["note"]}
        assert [each["code"] for each in device.status()["problems"]] == ["disk-full"]
        phone.sync()
        assert contents(phone) == expected

        # To the last byte, so that the client cannot even write its own records.
        filler = home / "filler"
        with pytest.raises(OSError, match="No space"):
            fill(filler)
        write(phone, expected, "later", 100)
        phone.sync()
        tablet.begin().wait(RUN_SECONDS)
        assert contents(tablet) == {"note": expected["note"]}
        filler.unlink()
        subprocess.run(["mount", "-o", "remount,size=400m", str(home)], check=True)
        # What had no room is tried again after ten minutes.
        offset.write_text("700")
        tablet.sync()
        assert contents(tablet) == expected
    finally:
        subprocess.run(["umount", "-l", str(home)], check=True)


def fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(MIB))


def without_rights_of_root() -> Callable[[], None]:
    """For a child: files closed to their owner stay closed, as for everybody but root."""
    dies = dies_with_parent()
    prctl = ctypes.CDLL(None).prctl

    def prepare() -> None:
        dies()
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            # PR_CAPBSET_DROP; who is not root has nothing to drop.
            prctl(24, capability, 0, 0, 0)

    return prepare


def test_what_cannot_be_read_is_listed_and_stays_on_all_sides(laptop, phone):
    expected: dict[str, bytes] = {}
    for name in ("closed/inside", "open", "closed file"):
        write(laptop, expected, name, 100)
    laptop.sync()
    phone.sync()
    (laptop.folder / "closed").chmod(0)
    write(laptop, expected, "closed file", 200)
    (laptop.folder / "closed file").chmod(0)
    write(laptop, expected, "new", 100)
    try:
        assert laptop.begin(without_rights_of_root()).wait(RUN_SECONDS) == Exit.WITH_PROBLEMS
        phone.sync()
        # Unknown is not deleted; and the rest has gone on.
        assert contents(phone).keys() == expected.keys()
        listed = {problem["path"] for problem in laptop.device.status()["problems"]}
        assert listed == {"closed", "closed file"}
    finally:
        for name in ("closed", "closed file"):
            (laptop.folder / name).chmod(0o700)
    laptop.sync()
    phone.sync()
    assert contents(phone) == contents(laptop) == expected
