"""People: making them, with everything they need from the first moment, and their quota."""

from collections.abc import Mapping
from uuid import UUID

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from drive_project.common.errors import InvalidRequest
from files import journal
from files.models import (
    ChangeAction,
    Folder,
    Membership,
    Namespace,
    Role,
    StorageAccount,
    User,
)
from files.services.locking import lock_account

RETENTION_FIELDS = ("keep_all_versions_days", "keep_daily_versions_days")


def create_user(
    *,
    email: str,
    password: str,
    is_staff: bool = False,
    quota_bytes: int | None = settings.DEFAULT_QUOTA_BYTES,
) -> User:
    """A person with a storage account and an own root folder, the journal's first entry.

    is_staff: an administrator, for the dashboard and Django's admin. quota_bytes None: no
    limit. Raises InvalidRequest (errors by field) for an address that is no address or is
    taken already, and for a password that is too weak.
    """
    email = email.strip().lower()
    try:
        validate_email(email)
    except ValidationError as error:
        raise InvalidRequest(
            f"{email!r} is no e-mail address.", errors={"email": error.messages}
        ) from None
    try:
        validate_password(password, User(email=email))
    except ValidationError as error:
        raise InvalidRequest(
            " ".join(error.messages), errors={"password": error.messages}
        ) from None
    with transaction.atomic():
        if User.objects.filter(email=email).exists():
            message = f"{email} has an account already."
            raise InvalidRequest(message, errors={"email": [message]})
        user = User.objects.create_user(email, password, is_staff=is_staff, is_superuser=is_staff)
        StorageAccount.objects.create(owner=user, limit_bytes=quota_bytes)
        namespace = Namespace.objects.create(owner=user)
        Membership.objects.create(namespace=namespace, user=user, role=Role.OWNER)
        root = Folder.objects.create(namespace=namespace, parent_folder=None)
        journal.append(namespace, [(ChangeAction.UPSERT, root)], device=None)
    return user


def set_quota(*, owner_id: UUID, quota_bytes: int | None) -> None:
    """How much a person may store from now on; None: no limit. Raises NotFound.

    A limit below what is stored already takes nothing away: it refuses what would add to it.
    """
    with transaction.atomic():
        account = lock_account(owner_id)
        account.limit_bytes = quota_bytes
        account.save(update_fields=["limit_bytes"])


def set_retention(*, user: User, chosen: Mapping[str, int | None]) -> None:
    """Choose how long replaced versions in the person's namespaces are kept.

    chosen: days by RETENTION_FIELDS; None: as this server does; what is left out stays.
    Shorter times take effect when `files.services.retention` comes by. Raises InvalidRequest
    (errors by field) out of bounds.
    """
    account = StorageAccount.objects.get(owner=user)
    for name in RETENTION_FIELDS:
        if name in chosen:
            setattr(account, name, chosen[name])
    try:
        account.clean_fields()
    except ValidationError as error:
        raise InvalidRequest(" ".join(error.messages), errors=error.message_dict) from None
    # The counts are other people's to write.
    account.save(update_fields=RETENTION_FIELDS)
