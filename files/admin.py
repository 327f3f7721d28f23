"""Raw records for administrators.

Read-only wherever a write would break an invariant (the journal, the counters, the tree):
those are changed by the services alone. What may be changed here: a person's name, rights
and quota.
"""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from drive_project.common.admin import ReadOnly
from files.models import (
    Change,
    Conflict,
    File,
    FileVersion,
    Folder,
    Membership,
    Namespace,
    OutboxMessage,
    ShareLink,
    StorageAccount,
    User,
    UserDevice,
)
from files.services import accounts
from files.services.quota import MOST_BYTES


@admin.register(User)
class UserAdmin(ReadOnly):
    """Made by the setup link or `manage.py create_user`, which also make the root folder."""

    list_display = ("email", "name", "is_active", "is_staff", "date_joined")
    list_filter = ("is_active", "is_staff")
    search_fields = ("email", "name")
    fields = ("email", "name", "is_active", "is_staff", "is_superuser", "date_joined", "last_login")
    readonly_fields = ("email", "date_joined", "last_login")

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return admin.ModelAdmin.has_change_permission(self, request, obj)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        # These columns alone: the row was read without a lock, and a password may have been
        # changed since.
        obj.save(update_fields=form.changed_data)


class QuotaForm(forms.ModelForm):  # type: ignore[type-arg]  # generic for type checkers only
    limit_bytes = forms.IntegerField(
        min_value=0, max_value=MOST_BYTES, required=False, help_text="Empty: no limit."
    )


@admin.register(StorageAccount)
class StorageAccountAdmin(ReadOnly):
    """The limit may be changed; what is used and reserved is counted by the services."""

    form = QuotaForm

    list_display = ("owner", "limit_bytes", "used_bytes", "reserved_bytes")
    list_select_related = ("owner",)
    search_fields = ("owner__email",)
    fields = ("owner", "limit_bytes", "used_bytes", "reserved_bytes")
    readonly_fields = ("owner", "used_bytes", "reserved_bytes")

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return admin.ModelAdmin.has_change_permission(self, request, obj)

    def save_model(
        self, request: HttpRequest, obj: StorageAccount, form: QuotaForm, change: bool
    ) -> None:
        accounts.set_quota(owner_id=obj.owner_id, quota_bytes=form.cleaned_data["limit_bytes"])


@admin.register(UserDevice)
class UserDeviceAdmin(ReadOnly):
    list_display = ("name", "user", "kind", "platform", "last_seen_at", "revoked_at")
    list_filter = ("kind",)
    list_select_related = ("user",)
    search_fields = ("name", "user__email")
    exclude = ("token_digest", "cursor")


@admin.register(Namespace)
class NamespaceAdmin(ReadOnly):
    list_display = ("namespace_id", "owner", "is_root", "head_seq", "last_changed_at")
    list_select_related = ("owner",)
    search_fields = ("namespace_id", "owner__email")


@admin.register(Folder)
class FolderAdmin(ReadOnly):
    list_display = ("folder_id", "name", "namespace", "rev", "modified_at", "deleted_at")
    search_fields = ("folder_id", "name")


@admin.register(File)
class FileAdmin(ReadOnly):
    list_display = ("file_id", "name", "size_bytes", "status", "rev", "modified_at", "deleted_at")
    list_filter = ("status",)
    search_fields = ("file_id", "name")


@admin.register(FileVersion)
class FileVersionAdmin(ReadOnly):
    list_display = ("file_version_id", "file", "size_bytes", "status", "committed_at", "is_damaged")
    list_filter = ("status", "is_damaged")
    list_select_related = ("file",)
    search_fields = ("file_version_id", "file__file_id")


@admin.register(Change)
class ChangeAdmin(ReadOnly):
    list_display = ("namespace_id", "seq", "action", "item_type", "item_id", "changed_at")
    search_fields = ("namespace__namespace_id", "item_id")
    ordering = ("-pk",)


@admin.register(Membership)
class MembershipAdmin(ReadOnly):
    list_display = ("user", "namespace", "role", "created_at")
    list_select_related = ("user", "namespace")
    search_fields = ("user__email",)


@admin.register(ShareLink)
class ShareLinkAdmin(ReadOnly):
    list_display = ("link_id", "created_by", "created_at", "expires_at", "revoked_at")
    list_select_related = ("created_by",)
    search_fields = ("link_id", "created_by__email")
    exclude = ("token_digest",)


@admin.register(Conflict)
class ConflictAdmin(ReadOnly):
    list_display = ("conflict_id", "kind", "file", "copy", "created_at", "settled_how")
    list_filter = ("kind", "settled_how")
    list_select_related = ("file", "copy")


@admin.register(OutboxMessage)
class OutboxMessageAdmin(ReadOnly):
    list_display = ("topic", "created_at", "due_at", "set_aside_at", "error")
    list_filter = ("topic", ("set_aside_at", admin.EmptyFieldListFilter))
