"""What of a linked folder this device follows (pure): not what is ignored, nor deselected.

The view is kept in the state database and changes only together with the trees (`viewing.py`),
so that nothing left out of it ever looks like something deleted.
"""

import json
import os
from dataclasses import dataclass, field

from sync_client.ignore import Rules
from sync_client.ports import Path

# Why an entry of the disk is left alone, as `LocalNode.set_aside` says it.
IGNORED = "ignored"


@dataclass(frozen=True)
class View:
    """rules: what is ignored, by its path on either side. deselected: ids of folders of the
    server that are not kept here."""

    rules: Rules = field(default_factory=Rules)
    deselected: frozenset[str] = frozenset()

    def ignores(self, path: Path, *, is_folder: bool) -> bool:
        """Whether one entry is ignored, if the folder that it is in is not."""
        if not self.rules:
            return False
        found = self.rules.verdict(path, is_folder=is_folder)
        return found is not None and found[0]

    def dump(self) -> str:
        """As text, for the state database."""
        return json.dumps(
            {
                "device": self.rules.device,
                # Bytes of names that are no text survive as lone surrogates, escaped.
                "files": [[list(path), text] for path, text in sorted(self.rules.files.items())],
                "deselected": sorted(self.deselected),
            }
        )


def load_view(text: str | None) -> View:
    """What `View.dump` wrote; of nothing, the view of everything."""
    if text is None:
        return View()
    stored = json.loads(text)
    files = {tuple(path): rules for path, rules in stored["files"]}
    return View(Rules(tuple(stored["device"]), files), frozenset(stored["deselected"]))


def rules_text(content: bytes) -> str:
    """The rules of a file; bytes that are no text match names with the same bytes."""
    return os.fsdecode(content)
