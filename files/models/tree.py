"""Namespaces, folders and files."""

from django.db import models
from django.db.models import Q

from drive_project.common.ids import new_id
from files.models.accounts import User
from files.names import MAX_NAME_BYTES


class Namespace(models.Model):
    """One tree with one journal: a user's root, or a shared folder.

    Every write locks this row first, takes head_seq + n and writes n `Change` rows, so the
    order of `seq` is the order of commit and has no gaps.
    """

    namespace_id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(User, on_delete=models.CASCADE, related_name="namespaces")
    # True for the root that every person has exactly one of.
    is_root = models.BooleanField(default=True)
    head_seq = models.BigIntegerField(default=0)
    # The first seq that the journal still holds (head_seq + 1 while it is empty).
    oldest_seq = models.BigIntegerField(default=1)
    # The clock of the newest change: no change is ever dated before its predecessor.
    last_changed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="files_namespace_one_root",
                fields=["owner"],
                condition=Q(is_root=True),
            ),
            models.CheckConstraint(
                name="files_namespace_seq_order",
                condition=Q(oldest_seq__lte=models.F("head_seq") + 1),
            ),
        ]

    def __str__(self) -> str:
        return str(self.namespace_id)


class Folder(models.Model):
    """A folder. The one without a parent is the root of its namespace and has no name."""

    folder_id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    namespace = models.ForeignKey(Namespace, on_delete=models.CASCADE, related_name="folders")
    parent_folder = models.ForeignKey(
        "self", on_delete=models.CASCADE, null=True, blank=True, related_name="folders"
    )
    name = models.CharField(max_length=MAX_NAME_BYTES, blank=True)
    # `files.names.name_key(name)`: what must be unique among the live children of a folder.
    name_key = models.CharField(max_length=MAX_NAME_BYTES, blank=True, editable=False)
    # The seq of the last journal entry about this folder.
    rev = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    modified_at = models.DateTimeField(auto_now=True)
    # Set on the item that somebody deleted, not on what lies below it.
    deleted_at = models.DateTimeField(null=True, blank=True)
    deleted_by_device = models.UUIDField(null=True, blank=True)
    # Set when the deletion for ever has begun: no longer listed, never restorable.
    is_purging = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="files_folder_live_name",
                fields=["parent_folder", "name_key"],
                condition=Q(deleted_at__isnull=True, parent_folder__isnull=False),
            ),
            models.UniqueConstraint(
                name="files_folder_one_root",
                fields=["namespace"],
                condition=Q(parent_folder__isnull=True),
            ),
        ]
        indexes = [
            models.Index(fields=["namespace", "folder_id"]),
            models.Index(
                name="files_folder_trash",
                fields=["namespace", "deleted_at"],
                condition=Q(deleted_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.name or "/"

    @property
    def is_root(self) -> bool:
        return self.parent_folder_id is None

    @property
    def is_deleted(self) -> bool:
        """Deleted itself. Whether it is live also depends on its ancestors."""
        return self.deleted_at is not None


class FileStatus(models.TextChoices):
    """pending: begun by an upload, invisible. uploaded: has a current version."""

    PENDING = "pending"
    UPLOADED = "uploaded"


class File(models.Model):
    """A file: a place in the tree with a current version."""

    file_id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # Who created it.
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="files")
    namespace = models.ForeignKey(Namespace, on_delete=models.CASCADE, related_name="files")
    parent_folder = models.ForeignKey(Folder, on_delete=models.CASCADE, related_name="files")
    name = models.CharField(max_length=MAX_NAME_BYTES)
    name_key = models.CharField(max_length=MAX_NAME_BYTES, editable=False)
    current_version = models.ForeignKey(
        "files.FileVersion",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
    )
    # Of the current version, repeated here so that a listing reads one table.
    size_bytes = models.BigIntegerField(default=0)
    content_hash = models.CharField(max_length=64, blank=True)
    status = models.CharField(max_length=10, choices=FileStatus, default=FileStatus.PENDING)
    executable = models.BooleanField(default=False)
    # Nanoseconds since 1970, as the device's file system says; may be negative.
    client_modified_ns = models.BigIntegerField(default=0)
    rev = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    modified_at = models.DateTimeField(auto_now=True)
    deleted_at = models.DateTimeField(null=True, blank=True)
    deleted_by_device = models.UUIDField(null=True, blank=True)
    is_purging = models.BooleanField(default=False)

    class Meta:
        constraints = [
            # A name is taken at commit, not at init: pending rows block nothing.
            models.UniqueConstraint(
                name="files_file_live_name",
                fields=["parent_folder", "name_key"],
                condition=Q(deleted_at__isnull=True, status="uploaded"),
            ),
            models.CheckConstraint(
                name="files_file_uploaded_has_version",
                condition=~Q(status="uploaded") | Q(current_version__isnull=False),
            ),
        ]
        indexes = [
            models.Index(fields=["namespace", "file_id"]),
            models.Index(
                name="files_file_trash",
                fields=["namespace", "deleted_at"],
                condition=Q(deleted_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_damaged(self) -> bool:
        """Whether a stored block of the current version was found damaged."""
        return self.current_version is not None and self.current_version.is_damaged

    @property
    def is_deleted(self) -> bool:
        """Deleted itself. Whether it is live also depends on its ancestors."""
        return self.deleted_at is not None
