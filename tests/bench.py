"""`make bench`: what was promised about speed and memory, measured on the real thing.

    python -m tests.bench [--large-mib 256] [--small 1000]

A server as `make up` starts it, two sync clients, HTTP between them, all on this machine.
Ends with exit 1 where a promise does not hold.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.journeys.devices import Device
from tests.services.drive import PASSWORD, RunningDrive

MIB = 1024 * 1024
EMAIL = "bench@example.com"
# What DESIGN and the issues promise.
MAX_SENT_AFTER_INSERT_MIB = 8
MAX_MEMORY_MB = 300
READS = 500

broken: list[str] = []


def report(what: str, value: str) -> None:
    print(f"{what:<58} {value}", flush=True)


def promise(what: str, value: float, limit: float, unit: str) -> None:
    """Report a value that must not be above its limit."""
    report(what, f"{value:8.1f} {unit} (at most {limit:g})")
    if value > limit:
        broken.append(what)


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def stored_bytes(server: RunningDrive) -> int:
    blocks = server.data_dir / "blocks"
    return sum(path.stat().st_size for path in blocks.rglob("*") if path.is_file())


def peak_memory_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(f"no VmHWM of {pid}")


def write_random(path: Path, size_bytes: int) -> None:
    with path.open("wb") as file:
        for start in range(0, size_bytes, 16 * MIB):
            file.write(random.randbytes(min(16 * MIB, size_bytes - start)))


def measure_large_file(server: RunningDrive, laptop: Device, phone: Device, size_mib: int) -> None:
    large = laptop.folder / "large.bin"
    write_random(large, size_mib * MIB)
    up = seconds(laptop.wait)
    report(f"one file of {size_mib} MiB up", f"{up:8.1f} s, {size_mib / up:.0f} MiB/s")
    down = seconds(phone.wait)
    report("the same down to another device, from then", f"{down:8.1f} s")

    before = stored_bytes(server)
    content = large.read_bytes()
    large.write_bytes(b"!" + content)
    again = seconds(laptop.wait)
    report("one byte inserted at its front, synced", f"{again:8.1f} s")
    sent_mib = (stored_bytes(server) - before) / MIB
    promise("sent for it", sent_mib, MAX_SENT_AFTER_INSERT_MIB, "MiB")
    phone.wait()
    if (phone.folder / "large.bin").read_bytes() != b"!" + content:
        broken.append("the other device has the same bytes")


def measure_small_files(laptop: Device, phone: Device, count: int) -> None:
    folder = laptop.folder / "small"
    for number in range(count):
        place = folder / f"{number // 50}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.txt").write_bytes(random.randbytes(4096))
    up = seconds(laptop.wait)
    report(f"{count} files of 4 KiB up", f"{up:8.1f} s, {count / up:.0f} files/s")
    down = seconds(phone.wait)
    report("the same down to another device, from then", f"{down:8.1f} s")
    if laptop.tree() != phone.tree():
        broken.append("both devices are the same")


def measure_api(server: RunningDrive) -> None:
    signed_in = httpx.post(
        f"{server.url}/api/v1/devices/sign-in",
        json={
            "email": EMAIL,
            "password": PASSWORD,
            "name": "bench",
            "platform": "bench",
            "client_version": "0",
        },
    )
    headers = {"Authorization": f"Bearer {signed_in.raise_for_status().json()['token']}"}
    with httpx.Client(base_url=server.url, headers=headers) as client:

        def read() -> None:
            for _ in range(READS):
                client.get("/api/v1/folders/root/children").raise_for_status()

        report("GET a folder's children, one after another", f"{READS / seconds(read):8.0f} /s")


def main() -> None:
    """Measure everything and say what did not hold."""
    options = argparse.ArgumentParser(prog="python -m tests.bench")
    options.add_argument("--large-mib", type=int, default=256)
    options.add_argument("--small", type=int, default=1000)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="drive-bench-") as name:
        home = Path(name)
        server = RunningDrive(home / "server")
        report("start of a new server until it is ready", f"{seconds(server.start):8.1f} s")
        server.create_user(EMAIL)
        devices = [Device(who, home, server) for who in ("laptop", "phone")]
        try:
            for device in devices:
                device.sign_in_and_link(EMAIL)
                device.start()
            measure_api(server)
            laptop, phone = devices
            measure_small_files(laptop, phone, chosen.small)
            measure_large_file(server, laptop, phone, chosen.large_mib)
            pids = {f"server: {part}": pid for part, pid in server.parts().items()} | {
                f"client on the {one.name}": one.daemon.pid for one in devices if one.daemon
            }
            for which, pid in pids.items():
                promise(f"peak memory, {which}", peak_memory_mb(pid), MAX_MEMORY_MB, "MB")
        finally:
            for device in devices:
                device.close()
            server.close()
    if broken:
        sys.exit("Not as promised: " + "; ".join(broken))


if __name__ == "__main__":
    main()
