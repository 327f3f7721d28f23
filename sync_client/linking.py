"""Link a folder: which ones may be linked, and what stands on both sides afterwards."""

import contextlib
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from sync_client.api import HttpApi
from sync_client.config import Config, Login, Root, Store
from sync_client.errors import ApiProblem, RootMissing, SyncError
from sync_client.filesystem import MARKER, LocalFileSystem, prepare_root, read_marker
from sync_client.names import OWN_FOLDER, name_key, printable
from sync_client.ports import Api, Displaced, Why
from sync_client.system import new_id


class Refused(SyncError):
    """The command asks for something that is never done (exit 2)."""


def link(store: Store, config: Config, api: HttpApi, *, folder: Path, remote: str) -> Root:
    """Link a local folder with one of the server, both made if missing.

    A link that is broken, because the mark of the folder or the folder of the server is
    gone, is made anew. Nothing is merged yet; the next sync does that and deletes nothing.
    Raises Refused.
    """
    login = config.signed_in()
    names = remote_names(remote)
    remote_path = "/" + "/".join(names)
    path = folder.expanduser().resolve()
    before = next((root for root in config.roots if Path(root.path) == path), None)
    if before is not None:
        _check_broken(api, before, remote_path)
    others = tuple(root for root in config.roots if root is not before)
    allowed_folder(store, others, path, ours=_marks_of(config, login))
    _check_apart(others, names, remote_path)
    at_server = remote_folder(api, names, others)
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
    store.put_root(root, instead_of=before)
    return root


def _check_broken(api: HttpApi, root: Root, remote_path: str) -> None:
    """Raises Refused where a folder is linked and the link does its work."""
    if remote_path != root.remote_path:
        raise Refused(f"{root.path} is linked already, with {root.remote_path}.")
    try:
        LocalFileSystem(Path(root.path), root_id=root.root_id).check_root()
        folder = api.request("GET", f"folders/{root.folder_id}")
    except RootMissing:
        return
    except ApiProblem as problem:
        if problem.code != "not-found":
            raise
        return
    if folder.get("deleted_at") is None:
        raise Refused(f"{root.path} is linked already, with {root.remote_path}.")


def _check_apart(roots: Sequence[Root], names: tuple[str, ...], remote_path: str) -> None:
    """Raises Refused where the path is at, inside or around that of a linked folder."""
    wanted = [name_key(name) for name in names]
    for root in roots:
        other = [name_key(name) for name in remote_names(root.remote_path)]
        shorter = min(len(other), len(wanted))
        if other[:shorter] == wanted[:shorter]:
            raise _taken(root, remote_path)


def _taken(root: Root, remote_path: str) -> Refused:
    return Refused(
        f"{remote_path} on the server is already linked with {root.path} (or lies "
        "inside or around it). Choose another one with --path."
    )


def linked_root(config: Config, folder: Path) -> Root:
    """The link of a folder, by its path or that of its link. Raises Refused."""
    paths = {os.fspath(folder.expanduser().absolute()), os.fspath(folder.expanduser().resolve())}
    found = next((root for root in config.linked() if root.path in paths), None)
    if found is None:
        linked = ", ".join(printable((root.path,)) for root in config.roots)
        raise Refused(f"{printable((os.fspath(folder),))} is not linked. Linked: {linked}.")
    return found


def root_around(config: Config, path: Path) -> tuple[Root, tuple[str, ...]]:
    """The linked folder in which a path lies, and where in it. Raises Refused.

    Nothing need be at the path. Links on the way to the linked folder are followed.
    """
    absolute = path.expanduser().absolute()
    for candidate in (Path(os.path.normpath(absolute)), absolute.parent.resolve() / absolute.name):
        for root in config.linked():
            if candidate.is_relative_to(root.path):
                return root, candidate.relative_to(root.path).parts
    linked = ", ".join(printable((root.path,)) for root in config.roots)
    raise Refused(f"{printable((os.fspath(path),))} is in no linked folder. Linked: {linked}.")


def clear_own_folder(store: Store, root: Root) -> None:
    """Take what the client had made out of a folder that is linked no more.

    What may be somebody's file goes to the stash; that stays, for its 7 days where it is
    outside, and until somebody deletes it where it is in the folder.
    """
    path = Path(root.path)
    fs = LocalFileSystem(path, root_id=root.root_id, stash=store.stash_dir(root))
    try:
        fs.check_root()
        for name, signature in fs.staged().items():
            if name.endswith(".part"):
                fs.drop_staged(name)
            else:
                fs.discard(Displaced(name, signature), (printable((name,)),), why=Why.LEFT_OVER)
    except (RootMissing, OSError):
        # The disk is not there, or is another one: nothing of it is ours to touch.
        return
    unlink_locally(root)
    for folder in ("staging", "stash", ""):
        with contextlib.suppress(OSError):
            # Not empty: somebody may want what is in it.
            (path / OWN_FOLDER / folder).rmdir()


def unlink_locally(root: Root) -> None:
    """Take the mark off a folder; its content stays, what was removed from it too."""
    marker = Path(root.path) / OWN_FOLDER / MARKER
    try:
        marker.unlink(missing_ok=True)
    except OSError:
        # The disk is not there: then a later link writes a new mark.
        return


def allowed_folder(
    store: Store, roots: Sequence[Root], path: Path, *, ours: Collection[str]
) -> None:
    """Raises Refused unless the folder at this absolute path may be linked.

    ours: the ids of links and devices that a mark may name and be of this device.
    """
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
    for root in roots:
        linked = Path(root.path)
        if path.is_relative_to(linked) or linked.is_relative_to(path):
            raise Refused(f"{path} lies inside or around {linked}, which is linked already.")
    for folder in (path, *path.parents):
        marker = folder / OWN_FOLDER / MARKER
        if _is_of_another_device(marker, ours if folder == path else ()):
            where = "is" if folder == path else f"lies inside {folder}, which is"
            raise Refused(
                f"{path} {where} linked by another device of this machine. "
                f"If that is no longer so, delete {marker}."
            )


def _marks_of(config: Config, login: Login) -> set[str]:
    return {login.device_id, *(root.root_id for root in config.roots)}


def _is_of_another_device(marker: Path, ours: Collection[str]) -> bool:
    try:
        found = read_marker(marker)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        # Damaged, as a power cut may leave it.
        found = {}
    if not found:
        # It names nobody. Above, it still counts.
        return not ours
    return {found.get("root_id"), found.get("device_id")}.isdisjoint(ours)


def remote_names(remote: str) -> tuple[str, ...]:
    """The names of a path on the server. Raises Refused for what is no such path."""
    names = tuple(name for name in remote.split("/") if name)
    if any(name in {".", ".."} for name in names):
        raise Refused(f"{remote!r} is not a path on the server: write it like /Projects/2026.")
    return names


def remote_folder(api: Api, names: tuple[str, ...], others: Sequence[Root] = ()) -> dict[str, str]:
    """The folder of the server with this path; what is missing of it is made.

    Raises Refused where it turns out to be at, inside or around one that is linked, such as
    one that was renamed since.
    """
    remote_path = "/" + "/".join(names)
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
        for root in others:
            if folder["folder_id"] == root.folder_id:
                raise _taken(root, remote_path)
    for root in others:
        if folder["folder_id"] in above(api, root.folder_id):
            raise _taken(root, remote_path)
    return {"namespace_id": folder["namespace_id"], "folder_id": folder["folder_id"]}


def above(api: Api, folder_id: str) -> Iterator[str]:
    """The folders of the server in which this one lies, from the nearest; none if it is gone."""
    here: str | None = folder_id
    while here is not None:
        try:
            here = api.request("GET", f"folders/{here}")["parent_folder_id"]
        except ApiProblem as problem:
            if problem.code != "not-found":
                raise
            return
        if here is not None:
            yield here
