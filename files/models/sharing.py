"""Who else may see what: members of shared folders, and links."""

from django.db import models
from django.db.models import Q

from drive_project.common.ids import new_id
from files.models.accounts import User
from files.models.tree import File, Folder, Namespace


class Role(models.TextChoices):
    """What a member may do in a namespace, weakest first."""

    VIEWER = "viewer"
    EDITOR = "editor"
    OWNER = "owner"


class Membership(models.Model):
    """A person's role in a namespace. Everybody is the owner of their own root."""

    namespace = models.ForeignKey(Namespace, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="files_membership_once", fields=["namespace", "user"]),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.role} of {self.namespace_id}"


class Mount(models.Model):
    """Where a member has put a shared folder in their own root; name and place are theirs."""

    mount_id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="mounts")
    namespace = models.ForeignKey(Namespace, on_delete=models.CASCADE, related_name="mounts")
    parent_folder = models.ForeignKey(Folder, on_delete=models.CASCADE, related_name="mounts")
    name = models.CharField(max_length=255)
    name_key = models.CharField(max_length=255, editable=False)
    rev = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="files_mount_once", fields=["user", "namespace"]),
            models.UniqueConstraint(name="files_mount_name", fields=["parent_folder", "name_key"]),
        ]

    def __str__(self) -> str:
        return self.name


class ShareLink(models.Model):
    """A link by which anyone may download one file or folder until it expires or is revoked."""

    link_id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # SHA-256 of the token in the URL, hex: a copy of the database opens no link.
    token_digest = models.CharField(max_length=64, unique=True, editable=False)
    created_by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="links")
    file = models.ForeignKey(File, on_delete=models.CASCADE, null=True, blank=True)
    folder = models.ForeignKey(Folder, on_delete=models.CASCADE, null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    download_count = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="files_link_one_target",
                condition=Q(file__isnull=False, folder__isnull=True)
                | Q(file__isnull=True, folder__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return str(self.link_id)
