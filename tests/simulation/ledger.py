"""Every content that somebody has written, and whether it may be gone by now.

Each write has a content of its own. It is discharged only when a person overwrites or removes
it, on a replica that held exactly it. What is not discharged must, at rest, be in a file on
every device.
"""

from dataclasses import dataclass, field


@dataclass
class Ledger:
    """What people have written."""

    # True: it must be in a file on every device. False: it went into an open file that the
    # client had moved away already; on that device, in the stash, is enough.
    owed: dict[bytes, bool] = field(default_factory=dict)
    discharged: set[bytes] = field(default_factory=set)
    written: int = 0

    def register(self, content: bytes, *, is_shown: bool = True) -> None:
        self.written += 1
        self.owed[content] = is_shown

    def discharge(self, content: bytes) -> None:
        if self.owed.pop(content, None) is not None:
            self.discharged.add(content)
