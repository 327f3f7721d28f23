"""Versions: the header of a file's content. The block rows are the Block Service's."""

from django.db import models
from django.db.models import Q

from drive_project.common.ids import new_id
from files.models.accounts import User
from files.models.conflicts import ConflictKind
from files.models.devices import UserDevice
from files.models.tree import File


class VersionStatus(models.TextChoices):
    """pending is the only state that changes, once, by a conditional update.

    same: the content equalled that of `same_as`, so no new version was made.
    """

    PENDING = "pending"
    COMMITTED = "committed"
    SAME = "same"
    ABORTED = "aborted"


class OnConflict(models.TextChoices):
    """What a commit does when the file has moved on since its base version, or a new file's
    name is taken.

    keep_both: the new file gets a name with a counter; the rest is as with conflict_copy.
    """

    CONFLICT_COPY = "conflict_copy"
    FAIL = "fail"
    KEEP_BOTH = "keep_both"
    NEW_VERSION = "new_version"


class FileVersion(models.Model):
    """One content of a file: who, when, from which device, how large. Its id is the upload's.

    A version is where its file is; it has no namespace of its own.
    """

    file_version_id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    file = models.ForeignKey(File, on_delete=models.CASCADE, related_name="versions")
    # What the device saw when it made this content; compared with the current version at
    # commit. An identifier only: the base may be purged later.
    base_version_id = models.UUIDField(null=True, blank=True)
    same_as_id = models.UUIDField(null=True, blank=True)
    size_bytes = models.BigIntegerField()
    block_count = models.PositiveIntegerField(default=0)
    # SHA-256 of the whole file: the client's claim until a worker has read the version.
    content_hash = models.CharField(max_length=64)
    is_content_hash_confirmed = models.BooleanField(default=False)
    # SHA-256 over the ordered block list, told by the Block Service at commit: equal
    # digests are equal contents.
    blocks_digest = models.CharField(max_length=64, blank=True)
    author = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    # Null where no device made it (a restore by an administrator's command).
    device = models.ForeignKey(
        "files.UserDevice", on_delete=models.SET_NULL, null=True, related_name="+"
    )
    executable = models.BooleanField(default=False)
    client_modified_ns = models.BigIntegerField(default=0)
    on_conflict = models.CharField(
        max_length=15, choices=OnConflict, default=OnConflict.CONFLICT_COPY
    )
    # Of a new file that its device had made as a conflict copy: of which file, and the kind
    # of the conflict. An identifier only: that file may be purged before the commit.
    conflict_of_id = models.UUIDField(null=True, blank=True)
    # db_default: the release before this one writes rows without it.
    conflict_kind = models.CharField(
        max_length=20, choices=ConflictKind, blank=True, default="", db_default=""
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    committed_at = models.DateTimeField(null=True, blank=True)
    status = models.CharField(max_length=10, choices=VersionStatus, default=VersionStatus.PENDING)
    # A stored block of it was found damaged; heals when a device sends the block again.
    is_damaged = models.BooleanField(default=False)
    # Somebody wants it whatever its age. db_default: the release before this one writes rows
    # without it.
    is_kept = models.BooleanField(default=False, db_default=False)
    # The answer to the commit, for the device that asks again.
    outcome_file_id = models.UUIDField(null=True, blank=True)
    is_conflict_copy = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="files_version_committed_has_time",
                condition=~Q(status="committed") | Q(committed_at__isnull=False),
            ),
            models.CheckConstraint(
                name="files_version_size_not_negative", condition=Q(size_bytes__gte=0)
            ),
        ]
        indexes = [
            models.Index(fields=["file", "status", "-committed_at"]),
            models.Index(
                name="files_version_open",
                fields=["expires_at"],
                condition=Q(status="pending"),
            ),
            models.Index(
                name="files_version_unconfirmed",
                fields=["committed_at"],
                condition=Q(status="committed", is_content_hash_confirmed=False),
            ),
            models.Index(
                name="files_version_damaged",
                fields=["file_version_id"],
                condition=Q(is_damaged=True),
            ),
        ]

    def __str__(self) -> str:
        return str(self.file_version_id)


class PurgedUpload(models.Model):
    """An upload that came to nothing because its file was deleted for ever meanwhile.

    Kept for a while without any row of the tree, so that the device that asks again learns
    that it has to begin anew.
    """

    file_version_id = models.UUIDField(primary_key=True, editable=False)
    device = models.ForeignKey(UserDevice, on_delete=models.CASCADE, related_name="+")
    purged_at = models.DateTimeField(auto_now_add=True, db_index=True)

    def __str__(self) -> str:
        return str(self.file_version_id)
