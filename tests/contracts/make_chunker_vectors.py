"""Writes chunker_vectors.json: where every client must cut, and the hashes of the blocks.

    python -m tests.contracts.make_chunker_vectors

Run it only to add a vector: a changed boundary makes every device send everything again.
"""

import hashlib
import io
import json
from array import array
from functools import cache
from pathlib import Path
from typing import Any

from sync_client import chunker

VECTORS = Path(__file__).with_name("chunker_vectors.json")
KIB = 1024
MIB = 1024 * KIB


@cache
def xorshift32(seed: int, size_bytes: int) -> bytes:
    """Marsaglia's 32-bit xorshift (13, 17, 5): each state as four little-endian bytes."""
    state = seed
    words = array("I", bytes((size_bytes + 3) // 4 * 4))
    for position in range(len(words)):
        state ^= (state << 13) & 0xFFFFFFFF
        state ^= state >> 17
        state ^= (state << 5) & 0xFFFFFFFF
        words[position] = state
    return words.tobytes()[:size_bytes]


def content_of(source: dict[str, Any]) -> bytes:
    """The bytes that a vector's `source` describes."""
    if source["kind"] == "zeros":
        content = bytes(source["size_bytes"])
    else:
        content = xorshift32(source["seed"], source["size_bytes"])
    for insert in source.get("inserts", []):
        at = insert["offset"]
        content = content[:at] + bytes.fromhex(insert["hex"]) + content[at:]
    return content


def vector(name: str, **source: Any) -> dict[str, Any]:
    content = content_of(source)
    blocks = list(chunker.split(io.BytesIO(content)))
    ends: list[int] = []
    for block in blocks:
        ends.append((ends[-1] if ends else 0) + len(block))
    return {
        "name": name,
        "source": source,
        "size_bytes": len(content),
        "content_hash": hashlib.sha256(content).hexdigest(),
        "cuts": ends,
        "block_hashes": [chunker.block_hash_of(block) for block in blocks],
    }


def main() -> None:
    document = {
        "about": (
            "Golden vectors of the block boundaries. source: zeros, or xorshift32 (13, 17, 5) "
            "from seed, each 32-bit state as four little-endian bytes; then inserts at offset. "
            "cuts: where each block ends."
        ),
        "parameters": {
            "algorithm": "FastCDC 2020",
            "min_bytes": chunker.MIN_BLOCK_BYTES,
            "average_bytes": chunker.AVERAGE_BLOCK_BYTES,
            "max_bytes": chunker.MAX_BLOCK_BYTES,
            "normalisation": chunker.NORMALISATION,
            "seed": 0,
        },
        "vectors": [
            vector("empty", kind="zeros", size_bytes=0),
            vector("one byte", kind="xorshift32", seed=1, size_bytes=1),
            vector("256 KiB", kind="xorshift32", seed=2, size_bytes=256 * KIB),
            vector("256 KiB and a byte", kind="xorshift32", seed=2, size_bytes=256 * KIB + 1),
            vector("10 MiB of zeros", kind="zeros", size_bytes=10 * MIB),
            vector("24 MiB", kind="xorshift32", seed=20201, size_bytes=24 * MIB),
            vector(
                "24 MiB with a byte in front",
                kind="xorshift32",
                seed=20201,
                size_bytes=24 * MIB,
                inserts=[{"offset": 0, "hex": "2a"}],
            ),
            vector(
                "24 MiB with seven bytes in the middle",
                kind="xorshift32",
                seed=20201,
                size_bytes=24 * MIB,
                inserts=[{"offset": 12 * MIB, "hex": "00010203040506"}],
            ),
        ],
    }
    VECTORS.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
