"""Which paths a device does not sync: `.driveignore` files and rules of its own (pure).

The syntax is that of gitignore. Of several rules that match, the last one counts; rules of
the device before those of files, and those of a nearer folder before those of one above.
Nothing below an ignored folder can be taken back in.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pathspec import GitIgnoreSpec
from pathspec.pattern import RegexPattern

from sync_client.ports import Path

RULES_NAME = ".driveignore"
# A larger file is no list of rules that somebody wrote.
LARGEST_RULES_BYTES = 256 * 1024


class BadRule(ValueError):
    """A line that is no rule."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One line. `folder`: that of its file; None for a rule of the device."""

    folder: Path | None
    line: int
    text: str


@dataclass(frozen=True)
class Rules:
    """Everything that is to be ignored in one linked folder.

    device: lines of the device. files: the text of each `.driveignore`, by its folder.
    """

    device: tuple[str, ...] = ()
    files: Mapping[Path, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.device or self.files)

    def verdict(self, path: Path, *, is_folder: bool) -> tuple[bool, Rule] | None:
        """Whether one entry is ignored, and the rule that says so; None where none does.

        Of the entry alone: the folders above it are another question.
        """
        if path[-1] == RULES_NAME:
            # Synced always, or the devices would not agree on the rules.
            return None
        for folder, text in self._texts_for(path):
            subject = "/".join(path[len(folder or ()) :]) + ("/" if is_folder else "")
            for line in reversed(_compiled(text)):
                if line.regex.fullmatch(subject):
                    return line.is_ignored, Rule(folder, line.number, line.text)
        return None

    def ignoring(self, path: Path, *, is_folder: bool) -> Rule | None:
        """The rule that keeps a path, or a folder above it, from being synced."""
        for depth in range(1, len(path) + 1):
            found = self.verdict(path[:depth], is_folder=is_folder or depth < len(path))
            if found is not None and found[0]:
                return found[1]
        return None

    def _texts_for(self, path: Path) -> Iterator[tuple[Path | None, str]]:
        if self.device:
            yield None, "\n".join(self.device)
        for depth in range(len(path) - 1, -1, -1):
            if (text := self.files.get(path[:depth])) is not None:
                yield path[:depth], text


def check_rule(text: str) -> str:
    """A rule of the device as it is kept. Raises BadRule for what would never match."""
    rule = text.strip("\r\n")
    if len(rule.splitlines()) > 1:
        raise BadRule("a rule is one line")
    if not _compiled(rule):
        raise BadRule("this is empty, a comment, or no pattern of gitignore")
    return rule


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    text: str
    is_ignored: bool
    regex: re.Pattern[str]


@functools.lru_cache(maxsize=256)
def _compiled(text: str) -> tuple[_Line, ...]:
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            (pattern,) = GitIgnoreSpec.from_lines([_by_entry(line)]).patterns
        except ValueError:
            # Like git: a line that is no pattern ignores nothing.
            continue
        if not isinstance(pattern, RegexPattern) or pattern.regex is None:
            continue
        if pattern.include is not None:
            found.append(_Line(number, line, pattern.include, pattern.regex))
    return tuple(found)


def _by_entry(line: str) -> str:
    """A pattern whose regular expression covers each entry that it means to the end.

    The library makes prefixes of some, since it judges a path by all that is above it. We ask
    for each entry by itself, as git does: so `!*.c` does not take in all below a folder `x.c`.
    """
    negation = "!" if line.startswith("!") else ""
    pattern = line[len(negation) :].rstrip()
    if not pattern or line.startswith("#") or pattern.endswith("\\"):
        return line
    final = "/" if pattern.endswith("/") else ""
    pattern = pattern.removesuffix("/")
    if pattern in {"*", "**"}:
        pattern = "?*"
    elif pattern.endswith("/**"):
        pattern += "/?*"
    return negation + pattern + final
