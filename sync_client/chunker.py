"""Cut a file into content-defined blocks.

FastCDC (Xia et al., USENIX ATC 2016), the 2020 variant, so that inserting a byte moves one
or two boundaries and not all behind it. `tests/contracts/chunker_vectors.json` fixes where
the cuts are; the browser cuts at the same places. A changed boundary means that every
device sends everything again.
"""

import hashlib
from collections.abc import Iterator
from io import BytesIO, RawIOBase
from typing import Literal

from pyfastcdc import FastCDC

MIN_BLOCK_BYTES = 256 * 1024
AVERAGE_BLOCK_BYTES = 1024 * 1024
MAX_BLOCK_BYTES = 4 * 1024 * 1024
NORMALISATION: Literal[2] = 2

if ".cy" not in FastCDC.__module__:
    # The pure Python fallback cuts at the same places at a two-hundredth of the speed.
    raise ImportError("pyfastcdc was installed without its compiled part; install a wheel of it.")


def split(stream: RawIOBase | BytesIO) -> Iterator[bytes]:
    """The content of a seekable, unbuffered stream as blocks, in order.

    Each is 256 KiB to 4 MiB, the last may be shorter; a stream up to 256 KiB is one block,
    an empty one has none. Holds at most three blocks of the largest size in memory. The
    caller checks that the file did not change meanwhile.

    Never give the cutter a path or a mapping instead: when somebody truncates a mapped file,
    the process dies of SIGBUS.
    """
    head = _read_up_to(stream, MIN_BLOCK_BYTES + 1)
    if len(head) <= MIN_BLOCK_BYTES:
        # Most files: no need for the cutter and its large buffer.
        if head:
            yield head
        return
    stream.seek(-len(head), 1)
    cutter = FastCDC(
        AVERAGE_BLOCK_BYTES,
        min_size=MIN_BLOCK_BYTES,
        max_size=MAX_BLOCK_BYTES,
        normalized_chunking=NORMALISATION,
        seed=0,
    )
    for chunk in cutter.cut_stream(stream):
        # The cutter's view is valid only until its next block.
        yield bytes(chunk.data)


def block_hash_of(block: bytes) -> str:
    """The name of a block: its SHA-256 in lower-case hex."""
    return hashlib.sha256(block).hexdigest()


def _read_up_to(stream: RawIOBase | BytesIO, length: int) -> bytes:
    parts: list[bytes] = []
    wanted = length
    while wanted and (part := stream.read(wanted)):
        parts.append(part)
        wanted -= len(part)
    return b"".join(parts)
