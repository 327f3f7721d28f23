"""Make, move and remove what is on the server by a command, beside all linked folders."""

from typing import Any

from sync_client.config import Config
from sync_client.errors import ApiProblem
from sync_client.linking import Refused, above, remote_names
from sync_client.listing import NotThere, child, id_of, item_at, item_below
from sync_client.ports import Api
from sync_client.system import new_id


def place_of(api: Api, path: str) -> tuple[dict[str, Any], str]:
    """The folder in which a path is, and the last name of it. Raises NotThere and Refused."""
    names = remote_names(path)
    if not names:
        raise Refused("/ is the whole of your storage: name something in it.")
    folder = item_below(api, "root", names[:-1], path)
    if folder["type"] != "folder":
        raise NotThere(f"{'/' + '/'.join(names[:-1])!r} is a file: nothing can be in it.")
    return folder, names[-1]


def target_of(api: Api, path: str, name: str) -> tuple[dict[str, Any], str]:
    """The folder and the name of what is to be put at a path: into it under `name`, where it is
    a folder or ends with a slash; else the path itself is what it will be called."""
    if path.endswith("/") or not remote_names(path):
        folder = item_at(api, path)
        if folder["type"] != "folder":
            raise Refused(f"{path!r} is a file, not a folder.")
        return folder, name
    folder, last = place_of(api, path)
    there = child(api, folder["folder_id"], last)
    if there is not None and there["type"] == "folder":
        return there, name
    return folder, last


def make_folder(api: Api, path: str) -> None:
    """Make one folder. Raises Refused where something has the path."""
    parent, name = place_of(api, path)
    if child(api, parent["folder_id"], name) is not None:
        raise Refused(f"{path!r} is on the server already.")
    body = {"op_id": new_id(), "parent_folder_id": parent["folder_id"], "name": name}
    api.request("POST", "folders", json=body)


def move(api: Api, source: str, target: str) -> str:
    """Move or rename; nothing is overwritten. The answer is the new path.

    Raises NotThere, Refused and ApiProblem `stale-precondition`.
    """
    item = _not_the_root(api, source)
    folder, name = target_of(api, target, item["name"])
    there = child(api, folder["folder_id"], name)
    if there is not None and id_of(there) != id_of(item):
        raise Refused(f"{target!r} has a {there['type']} {name!r} already; remove it first.")
    body: dict[str, Any] = {"op_id": new_id()}
    if name != item["name"]:
        body["name"] = name
    if folder["folder_id"] != item["parent_folder_id"]:
        body["parent_folder_id"] = folder["folder_id"]
    try:
        api.request("PATCH", f"{item['type']}s/{id_of(item)}", json=body, headers=_if_match(item))
    except ApiProblem as problem:
        if problem.code in {"move-into-itself", "invalid-name", "name-taken"}:
            raise Refused(f"{source!r} cannot be moved there: {problem.detail}") from problem
        raise
    return path_of(api, folder, name)


def remove(api: Api, config: Config, path: str, *, is_recursive: bool) -> dict[str, Any]:
    """Put into the trash; the item. Raises Refused for a folder unless is_recursive, and for
    what is linked with a folder of this machine."""
    item = _not_the_root(api, path)
    if item["type"] == "folder":
        if not is_recursive:
            raise Refused(f"{path!r} is a folder: give -r to remove it with all that is in it.")
        for root in config.roots:
            if root.folder_id == item["folder_id"] or item["folder_id"] in above(
                api, root.folder_id
            ):
                raise Refused(
                    f"{root.remote_path} is linked with {root.path}: what is in it is removed "
                    "there. To remove it from the server alone, unlink it first: drive unlink."
                )
    api.request(
        "DELETE",
        f"{item['type']}s/{id_of(item)}",
        json={"op_id": new_id()},
        headers=_if_match(item),
    )
    return item


def _not_the_root(api: Api, path: str) -> dict[str, Any]:
    if not remote_names(path):
        raise Refused("/ is the whole of your storage: name something in it.")
    return item_at(api, path)


def path_of(api: Api, folder: dict[str, Any], name: str) -> str:
    """The path of what has a name in a folder of the server."""
    names = []
    if folder["parent_folder_id"] is not None:
        items = api.request("GET", f"folders/{folder['folder_id']}/path")["items"]
        names = [item["name"] for item in items if item["parent_folder_id"] is not None]
    return "/" + "/".join([*names, name])


def _if_match(item: dict[str, Any]) -> dict[str, str]:
    return {"If-Match": f'"{item["rev"]}"'}
