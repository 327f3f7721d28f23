"""From a device's bytes to another device's, through the real door."""

from tests.blocks.devices import Device


def test_what_one_device_sends_another_reads(laptop: Device, phone: Device) -> None:
    blocks = [b"a" * 300_000, b"b" * 500_000, b"a" * 300_000]

    version = laptop.upload(blocks)

    assert phone.download(version) == blocks
    assert phone.read(version) == b"".join(blocks)
    assert phone.read(version, 299_990, 20) == b"a" * 10 + b"b" * 10


def test_an_empty_file_has_no_blocks(laptop: Device, phone: Device) -> None:
    version = laptop.upload([])

    assert phone.download(version) == []
    assert phone.read(version) == b""
