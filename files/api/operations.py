"""The writes on the tree: their shapes, and how each is carried out.

A single request and an item of a batch are the same operation, so a device may repeat one as
the other with the same key.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from rest_framework import serializers

from drive_project.common.errors import PreconditionRequired
from files import journal
from files.api.items import BigIntegerField, NameField, WriteSerializer
from files.idempotency import Answer
from files.models import ConflictKind, UserDevice
from files.services import deletions, folders, moves, trash
from files.services.batches import folder_answer
from files.services.folders import NewFolder

Fields = Mapping[str, Any]


class CreateFolder(WriteSerializer):
    folder_id = serializers.UUIDField(required=False, help_text="Chosen by the client, UUIDv7.")
    parent_folder_id = serializers.UUIDField()
    name = NameField()


class UpdateFolder(WriteSerializer):
    name = NameField(required=False)
    parent_folder_id = serializers.UUIDField(required=False)


class UpdateFile(WriteSerializer):
    name = NameField(required=False)
    parent_folder_id = serializers.UUIDField(required=False)
    executable = serializers.BooleanField(required=False)
    client_modified_ns = BigIntegerField(required=False)
    conflict_of_file_id = serializers.UUIDField(
        required=False,
        help_text="The name is that of a conflict copy, which the client gave it: of which file.",
    )
    conflict_kind = serializers.ChoiceField(ConflictKind.choices, required=False)


class DeleteFolder(WriteSerializer):
    as_of_seq = BigIntegerField(
        required=False,
        min_value=0,
        help_text="The seq up to which the device had applied the namespace's changes.",
    )


class DeleteFile(WriteSerializer):
    pass


class RestoreItem(WriteSerializer):
    parent_folder_id = serializers.UUIDField(
        required=False, help_text="Default: where it was, or the root where that is gone."
    )


class DeleteForEver(WriteSerializer):
    pass


def create_folder(device: UserDevice, fields: Fields) -> Answer:
    return folder_answer(folders.create_folder(device=device, **fields))


def update_folder(device: UserDevice, fields: Fields) -> Answer:
    return Answer(
        200, {"item": journal.state_of(moves.update_folder(device=device, **_with_rev(fields)))}
    )


def update_file(device: UserDevice, fields: Fields) -> Answer:
    return Answer(
        200, {"item": journal.state_of(moves.update_file(device=device, **_with_rev(fields)))}
    )


def delete_folder(device: UserDevice, fields: Fields) -> Answer:
    deleted = deletions.delete_folder(device=device, **_with_rev(fields))
    return Answer(
        200,
        {
            "item": journal.state_of(deleted.folder),
            "survivors": [journal.state_of(item) for item in deleted.survivors],
        },
    )


def delete_file(device: UserDevice, fields: Fields) -> Answer:
    return Answer(
        200, {"item": journal.state_of(deletions.delete_file(device=device, **_with_rev(fields)))}
    )


def restore(device: UserDevice, fields: Fields) -> Answer:
    return Answer(200, {"item": journal.state_of(trash.restore(device=device, **fields))})


def delete_for_ever(device: UserDevice, fields: Fields) -> Answer:
    trash.delete_for_ever(device=device, **fields)
    return Answer(204, {})


def _with_rev(fields: Fields) -> dict[str, Any]:
    named = dict(fields)
    rev = named.pop("if_match", None)
    if rev is None:
        raise PreconditionRequired
    return {**named, "rev": rev}


@dataclass(frozen=True, slots=True)
class Operation:
    """One of the writes, with all that decides it (`if_match` included) but its key."""

    name: str
    fields: Fields

    def write(self, device: UserDevice) -> Answer:
        """Carry it out. Raises DriveError."""
        return _WRITES[self.name](device, self.fields)

    @property
    def new_folder(self) -> NewFolder | None:
        """The folder that it makes, where it makes one."""
        return NewFolder(**self.fields) if self.name == "create_folder" else None

    @property
    def identity(self) -> list[Any]:
        """What has to be the same for a key to be repeated."""
        return [self.name, dict(self.fields)]

    @property
    def item_ids(self) -> list[UUID]:
        """Every item that it names."""
        return [value for value in self.fields.values() if isinstance(value, UUID)]


_WRITES: dict[str, Callable[[UserDevice, Fields], Answer]] = {
    "create_folder": create_folder,
    "update_folder": update_folder,
    "update_file": update_file,
    "delete_folder": delete_folder,
    "delete_file": delete_file,
    "restore": restore,
    "delete_for_ever": delete_for_ever,
}
