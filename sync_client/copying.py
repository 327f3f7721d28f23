"""Copy files and folders to and from the server by a command, beside all linked folders.

Bytes travel as those of linked folders do: by blocks, each checked against its hash, only
those that are missing, and going on where an interrupted command stopped.
"""

import contextlib
import hashlib
import os
import pathlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sync_client.errors import ApiProblem, PathProblem, SyncError, path_problem
from sync_client.filesystem import MARKER
from sync_client.limits import Limits, Rates
from sync_client.linking import Refused
from sync_client.listing import child, children, composed
from sync_client.loose import STAGED_PREFIX, LooseFiles, files_below
from sync_client.names import MAX_NAME_BYTES, OWN_FOLDER, REFUSALS, printable
from sync_client.ports import (
    Api,
    Fetched,
    FileToFetch,
    FileToSend,
    Kind,
    Path,
    Sent,
    Signature,
)
from sync_client.system import new_id
from sync_client.transfer import HttpTransfers
from sync_client.transfer_state import TransferState

_BUFFER_BYTES = 1024 * 1024
EXISTS_HERE = "exists-here"
EXISTS_THERE = "exists-there"


@dataclass(slots=True)
class Report:
    """What became of everything that was to be copied, and how much is left of it."""

    files: int = 0
    size_bytes: int = 0
    # Equal on both sides before; not copied.
    same: int = 0
    left_files: int = 0
    left_bytes: int = 0
    moved_bytes: int = 0
    problems: list[PathProblem] = field(default_factory=list)

    def plan(self, size_bytes: int) -> None:
        self.left_files += 1
        self.left_bytes += size_bytes

    def done(self, size_bytes: int) -> None:
        self.files += 1
        self.size_bytes += size_bytes

    def no_longer_left(self, size_bytes: int) -> None:
        self.left_files -= 1
        self.left_bytes -= size_bytes

    def fail(self, path: str, code: str, message: str) -> None:
        self.problems.append(PathProblem(path, code, message))


class NoBlocks:
    """`ports.LocalBlocks` of a command: it knows no block of this disk."""

    def places_of(self, block_hash: str) -> Sequence[tuple[Path, int]]:
        return ()


class Copying:
    """One command's copies. `report` may be read by another thread; `stop` ends it soon."""

    def __init__(
        self, api: Api, state: pathlib.Path | None, *, force: bool, rates: Rates | None = None
    ) -> None:
        """state: where is kept what has begun. force: other content is replaced. rates: how
        fast contents may move."""
        self._api = api
        self._state = TransferState(state)
        self._force = force
        self._limits = Limits(rates or Rates())
        self._stopped = threading.Event()
        self._transfers: HttpTransfers | None = None
        self.report = Report()

    def stop(self) -> None:
        """End what is under way soon; from any thread. The next command goes on there."""
        self._stopped.set()
        if self._transfers:
            self._transfers.stop()

    def close(self) -> None:
        self._state.close()

    # From the server

    def get(self, item: dict[str, Any], target: pathlib.Path) -> Report:
        """A file as `target`; a folder's content into `target`, which is made if missing."""
        if item["type"] == "file":
            self._fetch(target.parent, [((target.name,), item)])
        else:
            self._fetch(target, list(self._tree(item["folder_id"], target)))
        return self.report

    def _tree(self, folder_id: str, target: pathlib.Path) -> list[tuple[Path, dict[str, Any]]]:
        """The files below a folder of the server; their folders are made here."""
        files: list[tuple[Path, dict[str, Any]]] = []
        waiting: list[tuple[Path, str]] = [((), folder_id)]
        while waiting:
            here, folder_id = waiting.pop()
            folder = target.joinpath(*here)
            try:
                folder.mkdir(exist_ok=True)
            except OSError as error:
                problem = path_problem(os.fspath(folder), error)
                self.report.problems.append(problem)
                continue
            if here and folder.is_symlink():
                self.report.fail(
                    os.fspath(folder), "not-a-folder", "A link is in the place of this folder."
                )
                continue
            for item in children(self._api, folder_id):
                path = (*here, item["name"])
                if item["type"] == "folder":
                    waiting.append((path, item["folder_id"]))
                else:
                    files.append((path, item))
        return files

    def _fetch(self, base: pathlib.Path, items: Sequence[tuple[Path, dict[str, Any]]]) -> None:
        loose = LooseFiles(base)
        paths: dict[str, Path] = {}
        wanted: list[FileToFetch] = []
        for path, item in items:
            if not self._may_write(loose, base, path, item):
                continue
            version_id = item["current_version_id"]
            staged = base.joinpath(*path[:-1], f"{STAGED_PREFIX}{version_id}")
            file = FileToFetch(
                file_id=item["file_id"],
                file_version_id=version_id,
                size_bytes=item["size_bytes"],
                mtime_ns=int(item["client_modified_ns"]),
                executable=item["executable"],
                staged=os.fspath(staged),
            )
            paths[file.staged] = path
            wanted.append(file)
            self.report.plan(file.size_bytes)

        def on_result(file: FileToFetch, result: Fetched | SyncError) -> None:
            self.report.no_longer_left(file.size_bytes)
            path = paths[file.staged]
            shown = os.fspath(base.joinpath(*path))
            if isinstance(result, SyncError):
                self._failed(shown, result)
                return
            try:
                loose.place(file.staged, path, replace=self._force)
            except FileExistsError:
                loose.drop(file.staged)
                self.report.fail(shown, EXISTS_HERE, _EXISTS)
            except OSError as error:
                loose.drop(file.staged)
                self.report.problems.append(path_problem(shown, error))
            else:
                self.report.done(file.size_bytes)

        with self._moving(loose) as transfers:
            transfers.fetch(wanted, on_result=on_result)

    def _may_write(
        self, loose: LooseFiles, base: pathlib.Path, path: Path, item: dict[str, Any]
    ) -> bool:
        """Whether a file is to be fetched; if not, the report says why."""
        seen = loose.observe(path)
        if seen is None:
            return True
        shown = os.fspath(base.joinpath(*path))
        if seen.kind is Kind.FOLDER:
            self.report.fail(shown, EXISTS_HERE, "A folder has this name here.")
            return False
        if seen.kind is Kind.FILE and _is_content(loose, path, seen.signature, item):
            self.report.same += 1
            return False
        if not self._force:
            self.report.fail(shown, EXISTS_HERE, _EXISTS)
        return self._force

    # To the server

    def put(self, source: pathlib.Path, parent_folder_id: str, name: str) -> Report:
        """A file or folder of this machine into a folder of the server, under a name there."""
        loose = LooseFiles(source.parent)
        seen = loose.observe((source.name,))
        if seen is None:
            raise Refused(f"{source} is not here.")
        if seen.kind is Kind.OTHER:
            raise Refused(f"{source}: only files and folders can be sent.")
        existing = child(self._api, parent_folder_id, name)
        if seen.kind is Kind.FILE:
            file = self._to_send(
                loose, (source.name,), seen.signature, parent_folder_id, name, existing
            )
            self._send(loose, source.parent, [file] if file else [])
            return self.report
        files = self._tree_to_send(source, parent_folder_id, name, existing)
        self._send(LooseFiles(source), source, files)
        return self.report

    def _tree_to_send(
        self,
        source: pathlib.Path,
        parent_folder_id: str,
        name: str,
        existing: dict[str, Any] | None,
    ) -> list[FileToSend]:
        """Make the folders there; the files that are to be sent."""
        loose = LooseFiles(source)
        there: dict[Path, str] = {(): self._folder(parent_folder_id, name, existing)}
        known: dict[Path, dict[str, dict[str, Any]]] = {(): self._known(there[()], existing)}
        files: list[FileToSend] = []
        is_linked = (source / OWN_FOLDER / MARKER).exists()
        for path, kind, signature, why in files_below(source):
            shown = printable((os.fspath(source), *path))
            if (is_linked and path[0] == OWN_FOLDER) or path[:-1] not in there:
                # The client's own; or below what could not be made.
                continue
            if signature is None or kind is Kind.OTHER:
                code = "unreadable" if why else "not-a-file"
                self.report.fail(shown, code, why or REFUSALS["not-a-file"])
                continue
            if not _is_name(path[-1]):
                self.report.fail(shown, "invalid-name", REFUSALS["invalid-name"])
                continue
            folder_id, before = there[path[:-1]], known[path[:-1]].get(composed(path[-1]))
            if kind is Kind.FOLDER:
                try:
                    there[path] = self._folder(folder_id, path[-1], before)
                except ApiProblem as problem:
                    self._failed(shown, problem)
                    continue
                known[path] = self._known(there[path], before)
            elif file := self._to_send(loose, path, signature, folder_id, path[-1], before):
                files.append(file)
        return files

    def _folder(self, parent_id: str, name: str, existing: dict[str, Any] | None) -> str:
        if existing is not None and existing["type"] == "folder":
            return str(existing["folder_id"])
        made = self._api.request(
            "POST",
            "folders",
            json={"op_id": new_id(), "parent_folder_id": parent_id, "name": name},
        )
        return str(made["folder_id"])

    def _known(self, folder_id: str, existing: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
        """What is in a folder by name; nothing in one that was made just now."""
        if existing is None:
            return {}
        return {composed(item["name"]): item for item in children(self._api, folder_id)}

    def _to_send(
        self,
        loose: LooseFiles,
        path: Path,
        signature: Signature,
        parent_folder_id: str,
        name: str,
        existing: dict[str, Any] | None,
    ) -> FileToSend | None:
        """The file to send; None where nothing is, and then the report says why."""
        base_version_id = None
        if existing is not None:
            if existing["type"] == "folder":
                self.report.fail(printable(path), EXISTS_THERE, "A folder has this name there.")
                return None
            if _is_content(loose, path, signature, existing):
                self.report.same += 1
                return None
            if not self._force:
                self.report.fail(
                    printable(path),
                    EXISTS_THERE,
                    "The server has a file of this name with other content; --force makes this "
                    "its new version, and keeps the old one in its history.",
                )
                return None
            base_version_id = existing["current_version_id"]
        subject = repr((parent_folder_id, name, base_version_id, signature))
        self.report.plan(signature.size_bytes)
        return FileToSend(
            op_id=self._state.op_id(hashlib.sha256(subject.encode()).hexdigest(), new_id()),
            path=path,
            signature=signature,
            file_id=existing["file_id"] if existing else None,
            base_version_id=base_version_id,
            parent_folder_id=parent_folder_id,
            name=name,
            on_conflict="fail",
        )

    def _send(self, loose: LooseFiles, base: pathlib.Path, files: Sequence[FileToSend]) -> None:
        def on_result(file: FileToSend, result: Sent | SyncError) -> None:
            self.report.no_longer_left(file.signature.size_bytes)
            if isinstance(result, SyncError):
                self._failed(printable((os.fspath(base), *file.path)), result)
            else:
                self.report.done(file.signature.size_bytes)

        with self._moving(loose) as transfers:
            transfers.send(files, on_result=on_result)

    def _failed(self, shown: str, error: SyncError) -> None:
        match error:
            case PathProblem():
                self.report.fail(shown, error.code, str(error))
            case ApiProblem() if error.code in {"version-conflict", "name-taken"}:
                self.report.fail(
                    shown, error.code, "Somebody else has changed it on the server meanwhile."
                )
            case ApiProblem():
                self.report.fail(shown, error.code, error.detail)
            case _:
                self.report.fail(shown, "try-later", str(error))

    @contextlib.contextmanager
    def _moving(self, loose: LooseFiles) -> Iterator[HttpTransfers]:
        self._transfers = HttpTransfers(
            self._api,
            loose,
            NoBlocks(),
            self._state,
            limits=self._limits,
            on_bytes=self._note_bytes,
        )
        try:
            if self._stopped.is_set():
                self._transfers.stop()
            yield self._transfers
        finally:
            self._transfers.close()

    def _note_bytes(self, up: int, down: int) -> None:
        self.report.moved_bytes += up + down


def _is_content(loose: LooseFiles, path: Path, signature: Signature, item: dict[str, Any]) -> bool:
    """Whether a file here has the content that an item has on the server."""
    if signature.size_bytes != item["size_bytes"]:
        return False
    digest = hashlib.sha256()
    offset = 0
    try:
        while content := loose.read_at(path, offset, _BUFFER_BYTES):
            digest.update(content)
            offset += len(content)
    except OSError:
        # Nobody can tell; whoever goes on with it meets the same, and says so.
        return False
    return digest.hexdigest() == str(item["content_hash"])


def _is_name(name: str) -> bool:
    try:
        return len(name.encode()) <= MAX_NAME_BYTES
    except UnicodeEncodeError:
        return False


_EXISTS = "A file with other content has this name here; --force replaces it."
