"""Answers as the OpenAPI document describes them.

The answers themselves are plain dicts (`files.journal.state_of` and the views): a serializer
for each of a thousand rows would cost more than the query. A test compares the two.
"""

from typing import Any

from drf_spectacular.utils import OpenApiResponse, PolymorphicProxySerializer
from rest_framework import serializers

from drive_project.common.errors import DriveError, InvalidRequest, NotAuthenticated
from files.models import ChangeAction, ConflictKind, DeviceKind, Role, Settled
from files.queries import ConflictState, Holding


class Shape(serializers.Serializer[Any]):
    """The shape of an answer."""


class Problem(Shape):
    """RFC 9457. Further fields depend on the code."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField()
    detail = serializers.CharField(allow_blank=True)


class FolderItem(Shape):
    type = serializers.CharField(help_text="Always `folder`.")
    folder_id = serializers.UUIDField()
    namespace_id = serializers.UUIDField()
    parent_folder_id = serializers.UUIDField(allow_null=True, help_text="null: the root")
    name = serializers.CharField(allow_blank=True)
    rev = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    modified_at = serializers.DateTimeField()
    deleted_at = serializers.DateTimeField(allow_null=True)


class FileItem(Shape):
    type = serializers.CharField(help_text="Always `file`.")
    file_id = serializers.UUIDField()
    namespace_id = serializers.UUIDField()
    parent_folder_id = serializers.UUIDField()
    name = serializers.CharField()
    size_bytes = serializers.IntegerField()
    content_hash = serializers.CharField()
    current_version_id = serializers.UUIDField()
    executable = serializers.BooleanField()
    client_modified_ns = serializers.IntegerField()
    rev = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    modified_at = serializers.DateTimeField()
    deleted_at = serializers.DateTimeField(allow_null=True)
    is_damaged = serializers.BooleanField()


class FileDetail(FileItem):
    block_count = serializers.IntegerField()
    version_count = serializers.IntegerField()


class MountItem(Shape):
    type = serializers.CharField(help_text="Always `mount`.")
    mount_id = serializers.UUIDField()
    namespace_id = serializers.UUIDField()
    parent_folder_id = serializers.UUIDField()
    name = serializers.CharField()
    rev = serializers.IntegerField()


def any_item(**options: Any) -> PolymorphicProxySerializer:
    """A folder or a file."""
    return PolymorphicProxySerializer(
        component_name="Item",
        serializers={"folder": FolderItem, "file": FileItem},
        resource_type_field_name="type",
        **options,
    )


def journal_item(**options: Any) -> PolymorphicProxySerializer:
    """What a journal entry is about."""
    return PolymorphicProxySerializer(
        component_name="JournalItem",
        serializers={"folder": FolderItem, "file": FileItem, "mount": MountItem},
        resource_type_field_name="type",
        **options,
    )


class ItemPage(Shape):
    items = any_item(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class CopiedItems(Shape):
    items = any_item(many=True)


class FolderPath(Shape):
    items = FolderItem(many=True)


class DeletedFolderAnswer(Shape):
    folder_id = serializers.UUIDField()
    rev = serializers.IntegerField()
    survivors = any_item(many=True)


class TrashedFolder(FolderItem):
    original_path = serializers.CharField()
    is_parent_live = serializers.BooleanField()
    expires_at = serializers.DateTimeField()


class TrashedFile(FileItem):
    original_path = serializers.CharField()
    is_parent_live = serializers.BooleanField()
    expires_at = serializers.DateTimeField()


class TrashPage(Shape):
    items = PolymorphicProxySerializer(
        component_name="TrashedItem",
        serializers={"folder": TrashedFolder, "file": TrashedFile},
        resource_type_field_name="type",
        many=True,
    )
    next_cursor = serializers.CharField(allow_null=True)


class BatchResult(Shape):
    status = serializers.IntegerField()
    item = any_item(required=False)
    survivors = any_item(many=True, required=False)
    problem = Problem(required=False)


class BatchAnswer(Shape):
    items = BatchResult(many=True)


class ChangeEntry(Shape):
    namespace_id = serializers.UUIDField()
    seq = serializers.IntegerField()
    change_id = serializers.UUIDField()
    changed_at = serializers.DateTimeField()
    device_id = serializers.UUIDField(allow_null=True)
    action = serializers.ChoiceField(ChangeAction.choices)
    item = journal_item()


class CursorReset(Shape):
    namespace_id = serializers.UUIDField()
    mode = serializers.ChoiceField(["merge"])
    reason = serializers.CharField()


class ChangesAnswer(Shape):
    entries = ChangeEntry(many=True)
    resets = CursorReset(many=True)
    cursor = serializers.CharField()
    has_more = serializers.BooleanField()


class LatestCursor(Shape):
    cursor = serializers.CharField()


class SnapshotAnswer(Shape):
    items = any_item(many=True)
    next_page = serializers.CharField(allow_null=True)
    cursor = serializers.CharField()


class NamespaceShape(Shape):
    namespace_id = serializers.UUIDField()
    root_folder_id = serializers.UUIDField()
    is_root = serializers.BooleanField()
    role = serializers.ChoiceField(Role.choices)
    head_seq = serializers.IntegerField()


class NamespaceList(Shape):
    items = NamespaceShape(many=True)


class DigestShape(Shape):
    namespace_id = serializers.UUIDField()
    head_seq = serializers.IntegerField()
    digest = serializers.CharField()


class AccountShape(Shape):
    user_id = serializers.UUIDField()
    email = serializers.EmailField()
    is_staff = serializers.BooleanField()
    used_bytes = serializers.IntegerField()
    reserved_bytes = serializers.IntegerField()
    quota_bytes = serializers.IntegerField(allow_null=True, help_text="null: no limit")
    keep_all_versions_days = serializers.IntegerField()
    keep_daily_versions_days = serializers.IntegerField()
    root_namespace_id = serializers.UUIDField()
    root_folder_id = serializers.UUIDField()
    device_id = serializers.UUIDField()


class DeviceShape(Shape):
    device_id = serializers.UUIDField()
    kind = serializers.ChoiceField(DeviceKind.choices)
    name = serializers.CharField()
    platform = serializers.CharField(allow_blank=True)
    client_version = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    last_sync_time = serializers.DateTimeField(allow_null=True)
    last_seen_at = serializers.DateTimeField(allow_null=True)
    is_this = serializers.BooleanField()
    is_online = serializers.BooleanField()


class DevicePage(Shape):
    items = DeviceShape(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class HolderShape(Shape):
    device_id = serializers.UUIDField()
    name = serializers.CharField()
    last_sync_time = serializers.DateTimeField(allow_null=True)
    last_seen_at = serializers.DateTimeField(allow_null=True)
    is_this = serializers.BooleanField()
    is_online = serializers.BooleanField()
    has = serializers.ChoiceField([holding.value for holding in Holding])
    file_version_id = serializers.UUIDField(allow_null=True, help_text="null: not known")


class HolderPage(Shape):
    items = HolderShape(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class ConflictSide(Shape):
    """The version that was in conflict, and the file as it is now."""

    file_version_id = serializers.UUIDField(allow_null=True)
    committed_at = serializers.DateTimeField(allow_null=True)
    author = serializers.EmailField(allow_null=True)
    device_id = serializers.UUIDField(allow_null=True)
    device = serializers.CharField(allow_null=True)
    file = FileItem()


class ConflictShape(Shape):
    conflict_id = serializers.UUIDField()
    namespace_id = serializers.UUIDField()
    kind = serializers.ChoiceField(ConflictKind.choices)
    state = serializers.ChoiceField([state.value for state in ConflictState])
    rev = serializers.IntegerField(help_text="Of the later change of the two files.")
    created_at = serializers.DateTimeField()
    base_version_id = serializers.UUIDField(allow_null=True)
    original = ConflictSide()
    copy = ConflictSide()
    settled_at = serializers.DateTimeField(
        allow_null=True, help_text="null though settled: one of the files is in the trash."
    )
    settled_how = serializers.ChoiceField(Settled.choices, allow_null=True)
    settled_by = serializers.EmailField(allow_null=True)
    settled_by_device = serializers.CharField(allow_null=True)


class ConflictPage(Shape):
    items = ConflictShape(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class SignedInShape(Shape):
    token = serializers.CharField(help_text="Shown this once; the server keeps its digest.")
    device_id = serializers.UUIDField()
    user_id = serializers.UUIDField()
    email = serializers.EmailField()


class LinkShape(Shape):
    link_id = serializers.UUIDField()
    file_id = serializers.UUIDField(allow_null=True)
    folder_id = serializers.UUIDField(allow_null=True)
    name = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    download_count = serializers.IntegerField()


class NewLinkShape(LinkShape):
    url = serializers.CharField(help_text="Shown this once.")


class LinkPage(Shape):
    items = LinkShape(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class LimitsShape(Shape):
    max_name_bytes = serializers.IntegerField()
    max_json_bytes = serializers.IntegerField()
    max_json_depth = serializers.IntegerField()
    max_batch_items = serializers.IntegerField()
    default_page_items = serializers.IntegerField()
    max_page_items = serializers.IntegerField()
    max_changes = serializers.IntegerField()
    min_block_bytes = serializers.IntegerField()
    max_block_bytes = serializers.IntegerField()
    max_pack_bytes = serializers.IntegerField()
    pack_below_bytes = serializers.IntegerField()
    max_blocks_per_request = serializers.IntegerField()
    max_urls_per_request = serializers.IntegerField()
    upload_seconds = serializers.IntegerField()
    trash_seconds = serializers.IntegerField()
    journal_seconds = serializers.IntegerField()
    idempotency_seconds = serializers.IntegerField()
    max_wrong_sign_ins = serializers.IntegerField()
    sign_in_window_seconds = serializers.IntegerField()


def answers(
    shape: Any, *errors: type[DriveError], status: int = 200, also: int | None = None
) -> dict[int, Any]:
    """The `responses` of an operation: its answer, and the refusals that it is known for.

    Every operation may also refuse the request's form and ask for a sign-in.
    """
    refusals: dict[int, list[str]] = {}
    named: tuple[type[DriveError], ...] = (InvalidRequest, NotAuthenticated, *errors)
    for error in named:
        refusals.setdefault(error.status, []).append(f"`{error.code}`: {error.title}.")
    found: dict[int, Any] = {
        code: OpenApiResponse(Problem, description=" ".join(texts))
        for code, texts in refusals.items()
    }
    found[status] = shape
    if also is not None:
        found[also] = shape
    return found
