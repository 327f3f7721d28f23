"""The versions of a file and the trash, as commands show them and go back to them."""

import difflib
import pathlib
import tempfile
from typing import Any

from sync_client.copying import Copying
from sync_client.errors import PathProblem
from sync_client.linking import Refused
from sync_client.listing import NotThere, composed, id_of, pages
from sync_client.ports import Api
from sync_client.system import new_id

# Beyond this, two texts are not compared line by line.
LARGEST_TEXT_BYTES = 8 * 1024 * 1024


def history_of(api: Api, file: dict[str, Any]) -> list[dict[str, Any]]:
    """The versions of a file, newest first, each with its `number`: 1 is the oldest kept one."""
    versions = list(pages(api, f"files/{file['file_id']}/versions"))
    return [
        {"number": len(versions) - position, **version} for position, version in enumerate(versions)
    ]


def version_named(versions: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """A version by its number in `history`, or its id. Raises Refused."""
    for version in versions:
        if name in {str(version["number"]), version["file_version_id"]}:
            return version
    raise Refused(
        f"There is no version {name!r}: it is a number from 1 to {len(versions)}, or an id. "
        "See: drive history"
    )


def restore_version(api: Api, file: dict[str, Any], version: dict[str, Any]) -> dict[str, Any]:
    """Make an old version's content the current one, as a new version; the file."""
    return api.request(
        "POST",
        f"files/{file['file_id']}/versions/{version['file_version_id']}/restore",
        json={"op_id": new_id()},
    )


def difference(
    api: Api, file: dict[str, Any], older: dict[str, Any], newer: dict[str, Any]
) -> list[str] | None:
    """The lines of a unified diff between two versions of a file; None for what is no text.

    Both are fetched and checked; nothing of them stays here.
    """
    if older["content_hash"] == newer["content_hash"]:
        return []
    if max(older["size_bytes"], newer["size_bytes"]) > LARGEST_TEXT_BYTES:
        return None
    texts = [_text(content_of(api, file, version)) for version in (older, newer)]
    if texts[0] is None or texts[1] is None:
        return None
    labels = [
        f"{file['name']} (version {version['number']}, {version['committed_at']})"
        for version in (older, newer)
    ]
    lines = difflib.unified_diff(
        texts[0].splitlines(keepends=True), texts[1].splitlines(keepends=True), labels[0], labels[1]
    )
    found = []
    for line in lines:
        found.append(line.removesuffix("\n"))
        if not line.endswith("\n"):
            found.append("\\ No newline at end of file")
    return found


def content_of(api: Api, file: dict[str, Any], version: dict[str, Any]) -> bytes:
    """A whole version in memory. Raises PathProblem where the server cannot give it."""
    with tempfile.TemporaryDirectory(prefix="drive-") as folder:
        target = pathlib.Path(folder) / "content"
        item = {
            **version,
            "type": "file",
            "file_id": file["file_id"],
            "name": file["name"],
            "current_version_id": version["file_version_id"],
        }
        copying = Copying(api, None, force=False)
        problems = copying.get(item, target).problems
        copying.close()
        if problems:
            raise PathProblem(file["name"], problems[0].code, str(problems[0]))
        return target.read_bytes()


def trash(api: Api) -> list[dict[str, Any]]:
    """What is in the trash, the latest first."""
    return list(pages(api, "trash"))


def restore_deleted(api: Api, name: str) -> tuple[dict[str, Any], int]:
    """Bring back what had a path (the latest of it) or has an id; the item, and how many more
    deleted ones had this path. Raises NotThere."""
    wanted = composed("/" + "/".join(part for part in name.split("/") if part))
    found = [
        item
        for item in trash(api)
        if id_of(item) == name or composed(item["original_path"]) == wanted
    ]
    if not found:
        raise NotThere(
            f"{name!r} is not in the trash by itself; it may be in a folder that is. "
            "See: drive trash ls"
        )
    item = api.request("POST", f"trash/{id_of(found[0])}/restore", json={"op_id": new_id()})
    return item, len(found) - 1


def _text(content: bytes) -> str | None:
    if b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None
