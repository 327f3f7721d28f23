"""The gear table of FastCDC 2020, derived as its authors did, and written for the browser.

`static/js/gear.js` is made from here:

    python -m files.web.gear > static/js/gear.js
"""

import hashlib
import sys

HALF_BITS = 24


def gear_table() -> list[int]:
    """One 64-bit number per byte value: the start of the MD5 of 64 such bytes."""
    return [
        int.from_bytes(
            hashlib.md5(bytes([value]) * 64, usedforsecurity=False).digest()[:8], byteorder="big"
        )
        for value in range(256)
    ]


def gear_module() -> str:
    """The ES module that `static/js/chunker.js` imports: the low 48 bits, in two halves."""

    def rows(name: str, numbers: list[int]) -> str:
        lines = [
            "  " + " ".join(f"0x{number:06x}," for number in numbers[at : at + 8])
            for at in range(0, len(numbers), 8)
        ]
        return "\n".join([f"export const {name} = Int32Array.of(", *lines, ");", ""])

    table = gear_table()
    mask = (1 << HALF_BITS) - 1
    return "\n".join(
        [
            "// Made by `python -m files.web.gear`; a test compares the two. The low 48 bits of",
            "// FastCDC's gear table: for byte value n the start of the MD5 of 64 times n.",
            "",
            rows("GEAR_HIGH", [(number >> HALF_BITS) & mask for number in table]),
            rows("GEAR_LOW", [number & mask for number in table]),
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(gear_module())
