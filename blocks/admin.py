"""Raw records for administrators, to be looked at only: counts and places belong together.

`FileVersionBlock` is missing: Django's admin cannot show a model with a composite key.
"""

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from blocks.models import Block, BlockList, BlockUpload, Collection, CondemnedObject, StoredObject


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]  # generic for type checkers only
    """Everything can be looked at and nothing changed."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Block)
class BlockAdmin(ReadOnly):
    list_display = ("block_hash", "size_bytes", "reference_count", "state")
    list_filter = ("state",)
    search_fields = ("block_hash__startswith",)


@admin.register(StoredObject)
class StoredObjectAdmin(ReadOnly):
    list_display = ("s3_location", "size_bytes", "live_bytes", "created_at", "last_verified_at")
    search_fields = ("s3_location__startswith",)


@admin.register(BlockList)
class BlockListAdmin(ReadOnly):
    list_display = ("file_version_id", "file_id", "namespace_id", "state", "created_at")
    list_filter = ("state",)
    search_fields = ("file_version_id", "file_id")


@admin.register(BlockUpload)
class BlockUploadAdmin(ReadOnly):
    list_display = ("s3_location", "size_bytes", "created_at", "expires_at", "verified_at")
    search_fields = ("s3_location__startswith",)


@admin.register(CondemnedObject)
class CondemnedObjectAdmin(ReadOnly):
    list_display = ("s3_location", "size_bytes", "due_at")


@admin.register(Collection)
class CollectionAdmin(ReadOnly):
    list_display = ("started_at", "finished_at", "deleted_object_count", "freed_bytes")
