"""The server's disk loses bytes; a computer that still has the file gives them back."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.devices import Device
from tests.services.drive import RunningDrive, wait_until

pytestmark = pytest.mark.journey


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningDrive]:
    with RunningDrive(tmp_path / "server") as drive:
        yield drive


def test_a_device_heals_by_itself_what_the_server_has_lost(
    server: RunningDrive, tmp_path: Path
) -> None:
    email = f"{uuid.uuid4()}@example.com"
    server.create_user(email)
    laptop = Device("laptop", tmp_path, server)
    laptop.sign_in_and_link(email)
    laptop.start()
    try:
        for number in range(3):
            (laptop.folder / f"photo {number}").write_bytes(b"%d" % number * 400_000)
        laptop.wait()
        lost, flipped, _ = sorted((server.data_dir / "blocks" / "b").glob("*/*/*"))
        lost.unlink()
        data = bytearray(flipped.read_bytes())
        data[1000] ^= 0x10
        flipped.write_bytes(data)

        found = server.manage("scrub")

        assert found.returncode == 1, found.stderr
        assert found.stdout.count("I1 /photo ") == 2
        wait_until(
            lambda: server.manage("fsck", "--deep").returncode == 0,
            seconds=120,
            what="the laptop sending its copies",
            every=1,
            explain=lambda: server.manage("fsck", "--deep").stdout,
        )
        assert server.manage("scrub").returncode == 0
        assert laptop.status()["problems"] == []
    finally:
        laptop.close()
