"""People, and how much they may store."""

from datetime import timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import (
    AbstractBaseUser,
    BaseUserManager,
    PermissionsMixin,
)
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from drive_project.common.ids import new_id
from files.retention import MAX_DAYS, MIN_KEEP_ALL_DAYS, Policy


class UserManager(BaseUserManager["User"]):
    """Looks people up by e-mail address, whatever its case."""

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email=(username or "").lower())

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """A user row alone. `files.services.accounts.create_user` also makes a root folder."""
        user = self.model(email=email.lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(AbstractBaseUser, PermissionsMixin):
    """A person. The id is never used again, so an address that is reused shows no old data."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # Stored in lower case, so that one person has one account on every database.
    email = models.EmailField(unique=True)
    name = models.CharField(max_length=150, blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    date_joined = models.DateTimeField(default=timezone.now)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects = UserManager()

    def __str__(self) -> str:
        return self.email

    def clean(self) -> None:
        super().clean()
        self.email = self.email.lower()


class StorageAccount(models.Model):
    """What one person's namespaces may hold, and do hold, in bytes.

    used: the full sizes of every committed version still kept, whether deduplicated or
    not. reserved: what open uploads will add. Both are exact (invariant I7).
    """

    owner = models.OneToOneField(
        User, primary_key=True, on_delete=models.CASCADE, related_name="storage_account"
    )
    # Null: no limit.
    limit_bytes = models.BigIntegerField(null=True, blank=True)
    used_bytes = models.BigIntegerField(default=0)
    reserved_bytes = models.BigIntegerField(default=0)
    # How long replaced versions are kept (files.retention). Null: as this server does.
    keep_all_versions_days = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(MIN_KEEP_ALL_DAYS), MaxValueValidator(MAX_DAYS)],
    )
    keep_daily_versions_days = models.PositiveSmallIntegerField(
        null=True, blank=True, validators=[MaxValueValidator(MAX_DAYS)]
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="files_account_not_negative",
                condition=Q(used_bytes__gte=0) & Q(reserved_bytes__gte=0),
            ),
            models.CheckConstraint(
                name="files_account_retention_in_bounds",
                condition=(
                    Q(keep_all_versions_days__isnull=True)
                    | Q(
                        keep_all_versions_days__gte=MIN_KEEP_ALL_DAYS,
                        keep_all_versions_days__lte=MAX_DAYS,
                    )
                )
                & (
                    Q(keep_daily_versions_days__isnull=True)
                    | Q(keep_daily_versions_days__lte=MAX_DAYS)
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"storage of {self.owner_id}"

    @property
    def retention(self) -> Policy:
        """How long replaced versions in this person's namespaces are kept."""
        return Policy(
            keep_all=timedelta(days=self.keep_all_versions_days or settings.KEEP_ALL_VERSIONS_DAYS),
            keep_daily=timedelta(
                days=settings.KEEP_DAILY_VERSIONS_DAYS
                if self.keep_daily_versions_days is None
                else self.keep_daily_versions_days
            ),
        )
