"""Raw records for administrators, to be looked at only: counts and places belong together.

`FileVersionBlock` is missing: Django's admin cannot show a model with a composite key.
"""

from django.conf import settings
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from blocks.models import Block, BlockList, BlockUpload, Collection, CondemnedObject, StoredObject
from drive_project.common.admin import ReadOnly


class OwnRecords(ReadOnly):
    """Hidden where the Block Service runs apart: this process may not have its database."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return not settings.BLOCK_SERVICE_ADDRESS and super().has_module_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return not settings.BLOCK_SERVICE_ADDRESS and super().has_view_permission(request, obj)


@admin.register(Block)
class BlockAdmin(OwnRecords):
    list_display = ("block_hash", "size_bytes", "reference_count", "state")
    list_filter = ("state",)
    search_fields = ("block_hash__startswith",)


@admin.register(StoredObject)
class StoredObjectAdmin(OwnRecords):
    list_display = ("s3_location", "size_bytes", "live_bytes", "created_at", "last_verified_at")
    search_fields = ("s3_location__startswith",)


@admin.register(BlockList)
class BlockListAdmin(OwnRecords):
    list_display = ("file_version_id", "file_id", "namespace_id", "state", "created_at")
    list_filter = ("state",)
    search_fields = ("file_version_id", "file_id")


@admin.register(BlockUpload)
class BlockUploadAdmin(OwnRecords):
    list_display = ("s3_location", "size_bytes", "created_at", "expires_at", "verified_at")
    search_fields = ("s3_location__startswith",)


@admin.register(CondemnedObject)
class CondemnedObjectAdmin(OwnRecords):
    list_display = ("s3_location", "size_bytes", "due_at")


@admin.register(Collection)
class CollectionAdmin(OwnRecords):
    list_display = ("started_at", "finished_at", "deleted_object_count", "freed_bytes")
