"""Steps on the server's tree: create, move, delete, metadata; up to 1,000 in one request."""

from dataclasses import replace
from typing import Any

from sync_client.api import problem_error
from sync_client.feed import item_id_of, remote_item
from sync_client.names import PARKED_PREFIX
from sync_client.nodes import LocalNode, RemoteItem, SyncedItem
from sync_client.operations import Action, Operation
from sync_client.workbench import NO_COPY_CODES, Workbench

ACTIONS = frozenset(
    {
        Action.CREATE_REMOTE, Action.MOVE_REMOTE, Action.PARK_REMOTE, Action.PATCH_REMOTE,
        Action.DELETE_REMOTE,
    }
)  # fmt: skip

BATCH = 1_000


def apply_server(bench: Workbench, operations: list[Operation]) -> None:
    """Send steps in their order; a refused one leaves the others standing."""
    for start in range(0, len(operations), BATCH):
        _send(bench, operations[start : start + BATCH])
        bench.on_progress()


def _send(bench: Workbench, operations: list[Operation]) -> None:
    # Nodes of folders that this request creates, with the id that each will have.
    coming: dict[int, str] = {}
    sent: list[Operation] = []
    op_ids: list[str] = []
    items: list[dict[str, Any]] = []
    for operation, op_id, request in _requests(bench, operations):
        # The id of a request does for the folder it creates too: a repeat names the same one.
        if operation.action is Action.CREATE_REMOTE and operation.local_id is not None:
            coming[operation.local_id] = request["folder_id"] = op_id
            request["parent_folder_id"] = request["parent_folder_id"] or coming.get(
                request.pop("parent_node")
            )
            request.pop("parent_node", None)
            if request["parent_folder_id"] is None:
                continue
        sent.append(operation)
        op_ids.append(op_id)
        items.append({**request, "op_id": op_id})
    if not items:
        return
    # Also where the answer is lost: a deletion says up to where this device knows of its own
    # writes.
    bench.pull = True
    results = bench.api.request("POST", "/batch", json={"items": items})["items"]
    with bench.trees.transaction():
        for operation, item, result in zip(sent, items, results, strict=True):
            if "problem" in result:
                _refused(bench, operation, result)
            else:
                _record(bench, operation, item, result)
        bench.pending.forget_op_ids(op_ids)


def _requests(
    bench: Workbench, operations: list[Operation]
) -> list[tuple[Operation, str, dict[str, Any]]]:
    """Each operation that still makes sense, the id of its request, and what is asked."""
    found: list[tuple[Operation, str, dict[str, Any]]] = []
    with bench.trees.transaction():
        for operation in operations:
            if operation.action is Action.CREATE_REMOTE:
                body = _creation(bench, operation)
            else:
                body = _update(bench, operation)
            if body is not None:
                subject = (operation.action, operation.local_id, *sorted(body.items(), key=str))
                found.append((operation, bench.pending.op_id(subject), body))
    return found


def _creation(bench: Workbench, operation: Operation) -> dict[str, Any] | None:
    local = bench.trees.local(operation.node)
    if local is None:
        return None
    return {
        "op": "create_folder",
        "parent_folder_id": operation.parent_item_id,
        "parent_node": local.parent_id,
        "name": local.name,
    }


def _update(bench: Workbench, operation: Operation) -> dict[str, Any] | None:
    remote = bench.trees.remote(operation.item)
    if remote is None:
        return None
    kind = "folder" if remote.is_folder else "file"
    body: dict[str, Any] = {f"{kind}_id": remote.item_id, "if_match": remote.rev}
    match operation.action:
        case Action.MOVE_REMOTE:
            body |= {"op": f"update_{kind}", "name": operation.name}
            body["parent_folder_id"] = operation.parent_item_id
            local = bench.trees.local(operation.node)
            copy = local and bench.trees.copy_at(local.parent_id, local.name)
            if copy and not remote.is_folder:
                body["conflict_of_file_id"] = copy.original
                body["conflict_kind"] = copy.kind
        case Action.PARK_REMOTE:
            body |= {"op": f"update_{kind}", "name": f"{PARKED_PREFIX}{remote.item_id}"}
        case Action.PATCH_REMOTE:
            local = bench.trees.local(operation.node)
            if local is None:
                return None
            synced = bench.trees.synced(remote.item_id)
            body |= {"op": "update_file", "executable": local.signature.executable}
            if synced is None or local.signature.mtime_ns != synced.signature.mtime_ns:
                body["client_modified_ns"] = local.signature.mtime_ns
        case Action.DELETE_REMOTE:
            body["op"] = f"delete_{kind}"
            if remote.is_folder:
                # All that Remote has below it was there when the user deleted it: the
                # planner has compared it. What is newer survives.
                body["as_of_seq"] = bench.feed.head_seq
    return body


def _refused(bench: Workbench, operation: Operation, result: dict[str, Any]) -> None:
    problem = dict(result["problem"])
    if problem["code"] in NO_COPY_CODES:
        _drop_copy(bench, operation)
    if isinstance(problem.get("current"), dict):
        bench.feed.note(problem["current"])
    bench.failed(operation, problem_error({"status": result["status"], **problem}), ())


def _record(
    bench: Workbench, operation: Operation, item: dict[str, Any], result: dict[str, Any]
) -> None:
    trees = bench.trees
    local = trees.local(operation.local_id) if operation.local_id is not None else None
    if operation.action is Action.DELETE_REMOTE:
        trees.drop_remote(operation.item, seq=result["item"]["rev"])
        for survivor in result.get("survivors", ()):
            bench.feed.note(survivor)
        if trees.remote(operation.item) is None and local is None:
            trees.drop_synced(operation.item)
        return
    remote = bench.feed.note(result["item"])
    if operation.action is Action.CREATE_REMOTE:
        answered = remote or remote_item(result["item"])
        if local is not None and item_id_of(result["item"]) == answered.item_id:
            trees.put_synced(bench.is_one_thing(local, answered))
        return
    synced = trees.synced(operation.item)
    if synced is None or remote is None or local is None:
        return
    if operation.action is Action.MOVE_REMOTE:
        _drop_copy(bench, operation)
        trees.put_synced(_placed(synced, local, remote))
    elif operation.action is Action.PATCH_REMOTE:
        trees.put_synced(
            replace(
                synced,
                mtime_ns=item.get("client_modified_ns", synced.mtime_ns),
                executable=item["executable"],
                signature=local.signature,
            )
        )


def _drop_copy(bench: Workbench, operation: Operation) -> None:
    """The server has heard of which file one is the conflict copy, or refuses to."""
    local = bench.trees.local(operation.local_id) if operation.local_id is not None else None
    if operation.action is Action.MOVE_REMOTE and local is not None:
        bench.trees.drop_copy(local.parent_id, local.name)


def _placed(synced: SyncedItem, local: LocalNode, remote: RemoteItem) -> SyncedItem:
    return replace(
        synced, parent_id=remote.parent_id, parent_local_id=local.parent_id, name=local.name
    )
