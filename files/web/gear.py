"""The gear table of FastCDC 2020, derived as its authors did, and written for the browser.

`static/js/gear.js` is made from here:

    python -m files.web.gear > static/js/gear.js
"""

import hashlib
import sys
from base64 import b64encode

LINE = 112
_MODULE = """\
// Made by `python -m files.web.gear`; a test compares the two. The low 48 bits of
// FastCDC's gear table, in two halves: for byte value n the start of the MD5 of 64 times n.

const bytes = Uint8Array.from(atob(
TABLE,
), (character) => character.charCodeAt(0));
const half = (at) => (bytes[at] << 16) | (bytes[at + 1] << 8) | bytes[at + 2];

export const GEAR_HIGH = Int32Array.from({ length: 256 }, (_, value) => half(6 * value));
export const GEAR_LOW = Int32Array.from({ length: 256 }, (_, value) => half(6 * value + 3));
"""


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
    low = b"".join(number.to_bytes(8, "big")[2:] for number in gear_table())
    text = b64encode(low).decode()
    lines = [f'  "{text[at : at + LINE]}"' for at in range(0, len(text), LINE)]
    return _MODULE.replace("TABLE", " +\n".join(lines))


if __name__ == "__main__":
    sys.stdout.write(gear_module())
