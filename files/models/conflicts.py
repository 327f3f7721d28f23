"""Conflicts: two contents made on one base, until somebody has settled which one counts."""

from django.db import models
from django.db.models import Q

from drive_project.common.ids import new_id
from files.models.devices import UserDevice
from files.models.tree import File, Namespace


class ConflictKind(models.TextChoices):
    """What the two had done, by the names of the literature; the file's side first or alike.

    edit-edit: both changed one version. create-create: both made a file of one name, or
    gave one file a content without a common base. edit-delete: the copy is an edit of a
    file that the other had deleted, and could not take its place again. move-create: one
    moved or renamed the copy to where the other had made the file, or the other way round.
    move-move-dest: both moved another file to one place. The last two a device says of a copy
    that it made itself.
    """

    EDIT_EDIT = "edit-edit", "edit-edit"
    CREATE_CREATE = "create-create", "create-create"
    EDIT_DELETE = "edit-delete", "edit-delete"
    MOVE_CREATE = "move-create", "move-create"
    MOVE_MOVE_DEST = "move-move-dest", "move-move-dest"


class Settled(models.TextChoices):
    """How a conflict was settled.

    mine: the copy's content counts, that is the edit which came second and was put aside.
    theirs: the file's own content counts. both: both files stay, and the copy got an
    ordinary name. by_hand: somebody gave the copy such a name.
    """

    MINE = "mine"
    THEIRS = "theirs"
    BOTH = "both"
    BY_HAND = "by_hand"


class Conflict(models.Model):
    """Two contents made on one base: the file kept its own, the copy holds the later one.

    Open until it is settled, and only while both files are live: who deletes one of the two
    has chosen, and who restores it has not (`files.queries.conflicts`). It goes for ever
    with either of its files.
    """

    conflict_id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    namespace = models.ForeignKey(Namespace, on_delete=models.CASCADE, related_name="conflicts")
    file = models.ForeignKey(File, on_delete=models.CASCADE, related_name="+")
    copy = models.ForeignKey(File, on_delete=models.CASCADE, related_name="+")
    # db_default: the release before this one writes rows without it.
    kind = models.CharField(
        max_length=20,
        choices=ConflictKind,
        default=ConflictKind.EDIT_EDIT,
        db_default=ConflictKind.EDIT_EDIT,
    )
    # Identifiers only: each may be purged later, but not while the conflict is open.
    base_version_id = models.UUIDField(null=True, blank=True)
    # What the file showed then, and the copy's first content; null in rows of old releases.
    file_version_id = models.UUIDField(null=True, blank=True)
    copy_version_id = models.UUIDField(null=True, blank=True)
    # Which made the copy's content.
    device = models.ForeignKey(UserDevice, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    settled_how = models.CharField(
        max_length=10, choices=Settled, blank=True, default="", db_default=""
    )
    settled_by = models.ForeignKey(
        UserDevice, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(name="files_conflict_one_per_copy", fields=["copy"]),
            models.CheckConstraint(
                name="files_conflict_settled_somehow",
                condition=Q(settled_at__isnull=True, settled_how="")
                | (Q(settled_at__isnull=False) & ~Q(settled_how="")),
            ),
        ]
        indexes = [
            models.Index(
                name="files_conflict_open",
                fields=["namespace", "-created_at"],
                condition=Q(settled_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return str(self.conflict_id)
