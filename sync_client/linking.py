"""Link a folder: which ones may be linked, and what stands on both sides afterwards."""

import os
from pathlib import Path

from sync_client.api import HttpApi
from sync_client.config import Config, Root, Store
from sync_client.errors import ApiProblem, SyncError
from sync_client.filesystem import MARKER, prepare_root
from sync_client.names import OWN_FOLDER
from sync_client.system import new_id


class Refused(SyncError):
    """The command asks for something that is never done (exit 2)."""


def link(store: Store, config: Config, api: HttpApi, *, folder: Path, remote: str) -> Root:
    """Link a local folder with one of the server, both made if missing.

    Nothing is merged yet; the next sync does that and deletes nothing. Raises Refused.
    """
    login = config.signed_in()
    path = allowed_folder(store, config, folder)
    names = remote_names(remote)
    remote_path = "/" + "/".join(names)
    for root in config.roots:
        other = remote_names(root.remote_path)
        shorter = min(len(other), len(names))
        if other[:shorter] == names[:shorter]:
            raise Refused(
                f"{remote_path} on the server is already linked with {root.path} (or lies "
                "inside or around it). Choose another one with --path."
            )
    at_server = remote_folder(api, names)
    root = Root(
        root_id=new_id(),
        path=os.fspath(path),
        remote_path=remote_path,
        namespace_id=at_server["namespace_id"],
        folder_id=at_server["folder_id"],
    )
    try:
        prepare_root(path, root_id=root.root_id, device_id=login.device_id)
    except OSError as error:
        raise Refused(f"{path} cannot be used: {error.strerror}.") from error
    store.add_root(root)
    return root


def unlink_locally(root: Root) -> None:
    """Take the mark off a folder; its content stays, the stash of removed files too."""
    marker = Path(root.path) / OWN_FOLDER / MARKER
    try:
        marker.unlink(missing_ok=True)
    except OSError:
        # The disk is not there: then a later link writes a new mark.
        return


def allowed_folder(store: Store, config: Config, folder: Path) -> Path:
    """The absolute path of a folder that may be linked. Raises Refused otherwise."""
    path = folder.expanduser().resolve()
    home = Path.home().resolve()
    if path == Path(path.anchor):
        raise Refused("/ cannot be linked: link a folder of your own.")
    if path == home:
        raise Refused(
            f"Your home folder itself cannot be linked: link a folder in it, {path}/Drive."
        )
    if home.is_relative_to(path):
        raise Refused(f"{path} holds your home folder: link a folder of your own.")
    if path.exists() and not path.is_dir():
        raise Refused(f"{path} is not a folder.")
    own = store.folder.resolve()
    if own.is_relative_to(path) or path.is_relative_to(own):
        raise Refused(
            f"{path} and the client's own settings in {own} cannot be in one another. "
            "Set DRIVE_CONFIG_DIR to another place."
        )
    for root in config.roots:
        linked = Path(root.path)
        if path == linked:
            raise Refused(f"{path} is linked already, with {root.remote_path}.")
        if path.is_relative_to(linked) or linked.is_relative_to(path):
            raise Refused(f"{path} lies inside or around {linked}, which is linked already.")
    for above in path.parents:
        if (above / OWN_FOLDER / MARKER).exists():
            raise Refused(
                f"{path} lies inside {above}, which another device on this machine has linked. "
                f"If it no longer does, delete {above / OWN_FOLDER / MARKER}."
            )
    return path


def remote_names(remote: str) -> tuple[str, ...]:
    """The names of a path on the server. Raises Refused for what is no such path."""
    names = tuple(name for name in remote.split("/") if name)
    if any(name in {".", ".."} for name in names):
        raise Refused(f"{remote!r} is not a path on the server: write it like /Projects/2026.")
    return names


def remote_folder(api: HttpApi, names: tuple[str, ...]) -> dict[str, str]:
    """The folder of the server with this path; what is missing of it is made."""
    folder = api.request("GET", "folders/root")
    for name in names:
        try:
            folder = api.request(
                "POST",
                "folders",
                json={
                    "op_id": new_id(),
                    "parent_folder_id": folder["folder_id"],
                    "name": name,
                },
            )
        except ApiProblem as problem:
            if problem.code in {"name-taken", "invalid-name", "invalid-request"}:
                raise Refused(
                    f"{name!r} cannot be a folder on the server: {problem.detail}."
                ) from problem
            raise
    return {"namespace_id": folder["namespace_id"], "folder_id": folder["folder_id"]}
