"""What FILE means in a command: a path of this machine in a linked folder, or of the server.

The rule: `server:/PATH` is of the server. Else what lies in a linked folder is of this
machine. Else what begins with `/` is of the server, and anything else is refused.
"""

import os
import pathlib
from dataclasses import dataclass
from typing import Any

from sync_client.config import Config, Root
from sync_client.errors import ApiProblem
from sync_client.known import item_id_at
from sync_client.linking import Refused, remote_names
from sync_client.listing import NotThere, item_at, item_below
from sync_client.names import name_key
from sync_client.ports import Api, Path

PREFIX = "server:"


@dataclass(frozen=True, slots=True)
class Subject:
    """shown: the path for people. remote_path: where it is on the server, as far as the
    linked folder says. root, path: where it is, or would be, in a linked folder."""

    shown: str
    remote_path: str
    is_local: bool
    root: Root | None = None
    path: Path = ()


def subject_of(config: Config, text: str) -> Subject:
    """Raises Refused where a path is of neither."""
    if text.startswith(PREFIX):
        return _of_server(config, text.removeprefix(PREFIX))
    here = pathlib.Path(text).expanduser().absolute()
    # Links on the way to it are followed; what is at it may be one itself.
    here = here.resolve() if here.name in {"", ".."} else here.parent.resolve() / here.name
    for root in config.roots:
        if here.is_relative_to(root.path):
            path = here.relative_to(root.path).parts
            remote = "/".join([*remote_names(root.remote_path), *path])
            return Subject(os.fspath(here), f"/{remote}", True, root, path)
    if text.startswith("/"):
        return _of_server(config, text)
    raise Refused(
        f"{text!r} lies in no linked folder. A path of the server begins with /, like /{text}."
    )


def _of_server(config: Config, text: str) -> Subject:
    names = remote_names(text)
    shown = "/" + "/".join(names)
    for root in config.roots:
        above = remote_names(root.remote_path)
        if [name_key(name) for name in names[: len(above)]] == [name_key(name) for name in above]:
            return Subject(shown, shown, False, root, names[len(above) :])
    return Subject(shown, shown, False)


def item_of(api: Api, subject: Subject, *, state: pathlib.Path | None) -> dict[str, Any]:
    """The item of the server that a subject is. Raises NotThere.

    state: the state database of the linked folder, which knows an item also under a name that
    only this machine gives it yet.
    """
    if not subject.is_local or subject.root is None:
        return item_at(api, subject.remote_path)
    known = item_id_at(state, subject.root, subject.path) if state else None
    if known is not None:
        kind, item_id = known
        try:
            item = api.request("GET", f"{kind}s/{item_id}")
        except ApiProblem as problem:
            if problem.code != "not-found":
                raise
        else:
            if item["deleted_at"] is None:
                return item
    try:
        return item_below(api, subject.root.folder_id, subject.path, subject.remote_path)
    except NotThere as error:
        raise NotThere(
            f"{subject.shown!r} is not on the server (yet, or any more). See: drive why"
        ) from error


def file_of(api: Api, subject: Subject, *, state: pathlib.Path | None) -> dict[str, Any]:
    """The file of the server that a subject is. Raises NotThere, and Refused for a folder."""
    item = item_of(api, subject, state=state)
    if item["type"] != "file":
        raise Refused(f"{subject.shown!r} is a folder; only files have versions.")
    return item
