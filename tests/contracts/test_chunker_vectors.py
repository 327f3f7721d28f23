"""Where the Python client cuts. The browser's cutter runs the same vectors."""

import hashlib
import io
import json

import pytest

from sync_client import chunker
from tests.contracts.make_chunker_vectors import VECTORS, content_of

DOCUMENT = json.loads(VECTORS.read_text())
VECTOR = {vector["name"]: vector for vector in DOCUMENT["vectors"]}


class ShortReads(io.BytesIO):
    """A stream that gives at most 10,007 bytes at a time, as a pipe or a slow disk may."""

    def read(self, size=-1):
        return super().read(min(size, 10_007) if size >= 0 else size)

    def readinto(self, buffer):
        part = super().read(min(len(buffer), 10_007))
        buffer[: len(part)] = part
        return len(part)


@pytest.mark.parametrize("name", VECTOR)
@pytest.mark.parametrize("stream", [io.BytesIO, ShortReads])
def test_the_cuts_are_where_every_client_has_them(name, stream):
    vector = VECTOR[name]
    content = content_of(vector["source"])
    assert hashlib.sha256(content).hexdigest() == vector["content_hash"]

    blocks = list(chunker.split(stream(content)))

    ends = [sum(map(len, blocks[: count + 1])) for count in range(len(blocks))]
    assert ends == vector["cuts"]
    assert [chunker.block_hash_of(block) for block in blocks] == vector["block_hashes"]
    assert b"".join(blocks) == content


def test_the_parameters_are_those_of_the_protocol():
    assert DOCUMENT["parameters"] == {
        "algorithm": "FastCDC 2020",
        "min_bytes": chunker.MIN_BLOCK_BYTES,
        "average_bytes": chunker.AVERAGE_BLOCK_BYTES,
        "max_bytes": chunker.MAX_BLOCK_BYTES,
        "normalisation": chunker.NORMALISATION,
        "seed": 0,
    }


def test_a_byte_in_front_costs_one_block():
    before = set(VECTOR["24 MiB"]["block_hashes"])
    after = set(VECTOR["24 MiB with a byte in front"]["block_hashes"])
    assert len(before) > 10
    assert len(after - before) <= 2


def test_a_real_file_is_cut_from_its_unbuffered_stream(tmp_path):
    vector = VECTOR["24 MiB"]
    path = tmp_path / "file"
    path.write_bytes(content_of(vector["source"]))
    with path.open("rb", buffering=0) as stream:
        assert [chunker.block_hash_of(block) for block in chunker.split(stream)] == vector[
            "block_hashes"
        ]
