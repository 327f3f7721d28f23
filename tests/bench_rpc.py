"""What a call of the Block Service costs in the process, and over gRPC.

    python -m tests.bench_rpc [--calls 500]

On SQLite in a folder of its own; the service apart is `manage.py run_block_service`. What
gRPC adds is the difference of the columns. Part of `make bench`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING

from tests.services import dies_with_parent
from tests.services.drive import CHECKOUT

if TYPE_CHECKING:
    from blocks.service import BlockService

MIB = 1024 * 1024
READY = "Block Service is ready at "


@contextmanager
def running_apart(bind: str) -> Iterator[str]:
    """The address of a Block Service that runs as a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", "run_block_service"],
        cwd=CHECKOUT,
        env={**os.environ, "BLOCK_SERVICE_BIND": bind},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=dies_with_parent(),
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().removeprefix(READY).strip()
    finally:
        process.terminate()
        process.communicate()


def microseconds(work: Callable[[], object], calls: int) -> tuple[float, float]:
    """Median and 99th percentile of one call."""
    for _ in range(max(calls // 10, 2)):
        work()
    taken = []
    for _ in range(calls):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1e6)
    cuts = quantiles(taken, n=100)
    return cuts[49], cuts[98]


def measure(services: dict[str, "BlockService"], calls: int) -> None:
    """Print a line for each kind of call, a column for each way to the service."""
    from blocks.service import BlockClaim, NewVersion, Settlement, UploadReport, VersionRange
    from drive_project.common.ids import new_id

    device_id, namespace_id = new_id(), new_id()

    def version(count: int) -> NewVersion:
        claims = [BlockClaim(f"{number:064x}", MIB) for number in range(count)]
        return NewVersion(new_id(), new_id(), namespace_id, device_id, claims)

    any_way = next(iter(services.values()))
    empty, long = version(0), version(10_000)
    any_way.get_or_create_block_locations(versions=[empty, long], readable=[])
    any_way.settle_versions(
        settlements=[
            Settlement(empty.file_version_id, True, empty.file_id, empty.namespace_id),
        ]
    )
    hashes = [claim.block_hash for claim in long.blocks]
    known = version(1)
    kinds: dict[str, tuple[int, Callable[[BlockService], object]]] = {
        "the next page of ids, of 2": (
            calls,
            lambda service: service.recorded_ids(after=None, limit=2),
        ),
        "downloads of a version without blocks": (
            calls,
            lambda service: service.get_block_download_urls(
                ranges=[VersionRange(empty.file_version_id)]
            ),
        ),
        "init of one block, with its URL": (
            max(calls // 5, 10),
            lambda service: service.get_or_create_block_locations(versions=[known], readable=[]),
        ),
        "1,000 URLs of a version of 10,000 blocks": (
            max(calls // 50, 5),
            lambda service: service.refresh_upload_urls(
                device_id=device_id,
                reports=[UploadReport(long.file_version_id, done=(), want=hashes[:1_000])],
            ),
        ),
        "init of 10,000 blocks, repeated": (
            max(calls // 50, 5),
            lambda service: service.get_or_create_block_locations(versions=[long], readable=[]),
        ),
    }
    print(f"{'µs for a call: median (99th percentile)':<44}", *(f"{way:>22}" for way in services))
    for what, (times, ask) in kinds.items():
        shown = []
        for service in services.values():
            median, slow = microseconds(partial(ask, service), times)
            shown.append(f"{f'{median:,.0f} ({slow:,.0f})':>22}")
        print(f"{what:<44}", *shown, flush=True)


def main() -> None:
    """Measure in the process, over loopback, and over a socket."""
    options = argparse.ArgumentParser(prog="python -m tests.bench_rpc")
    options.add_argument("--calls", type=int, default=500)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="drive-bench-") as name:
        os.environ["DRIVE_DATA_DIR"] = name
        os.environ["DJANGO_SETTINGS_MODULE"] = "drive_project.settings"
        # Child processes are started while gRPC runs; see tests/plugin.py.
        os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
        import django

        django.setup()
        from django.core.management import call_command

        from blocks.local import LocalBlockService
        from blocks.rpc.client import RemoteBlockService

        call_command("migrate", database="blocks", verbosity=0)
        with (
            running_apart("127.0.0.1:0") as loopback,
            running_apart(f"unix:{Path(name) / 'blocks.sock'}") as unix,
        ):
            over_loopback, over_unix = RemoteBlockService(loopback), RemoteBlockService(unix)
            measure(
                {
                    "in the process": LocalBlockService(),
                    "gRPC, loopback": over_loopback,
                    "gRPC, UNIX socket": over_unix,
                },
                chosen.calls,
            )
            over_loopback.close()
            over_unix.close()


if __name__ == "__main__":
    main()
