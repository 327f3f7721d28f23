"""The locks under which the tree and the accounts change.

Order, so that no two writers wait for each other: namespaces by id, then accounts by owner.
All of them are held to the end of the caller's transaction. On SQLite a transaction that
writes is alone anyway, and the clauses are left out by Django.
"""

from collections.abc import Iterable
from uuid import UUID

from drive_project.common.errors import NotFound, ServiceUnavailable, StalePrecondition
from files import journal, queries
from files.models import File, Folder, Namespace, StorageAccount, UserDevice

RETRY_AFTER_SECONDS = 1


def lock_namespace(namespace_id: UUID) -> Namespace:
    """The namespace, read after its lock was taken. Raises NotFound.

    Whoever rolls back to a savepoint must lock again: the instance still counts the
    entries that were rolled back.
    """
    return lock_namespaces([namespace_id])[namespace_id]


def lock_namespaces(namespace_ids: Iterable[UUID]) -> dict[UUID, Namespace]:
    """Several namespaces at once, by id. Raises NotFound when one of them is gone."""
    wanted = set(namespace_ids)
    # no_key: rows that merely refer to the namespace may still be inserted meanwhile.
    locked = {
        namespace.pk: namespace
        for namespace in Namespace.objects.select_for_update(no_key=True)
        .filter(pk__in=wanted)
        .order_by("pk")
    }
    if locked.keys() != wanted:
        raise NotFound
    return locked


def lock_folder(
    device: UserDevice, folder_id: UUID, *, live: bool = True
) -> tuple[Namespace, Folder]:
    """A folder that the device may write, read under its namespace's lock.

    Raises NotFound or PermissionDenied, and ServiceUnavailable where it has just moved to
    another namespace. live=False also finds one in the trash.
    """
    namespace = lock_namespace(queries.namespace_id_of_folder(device.user, folder_id))
    folder = queries.get_folder(device.user, folder_id, write=True, live=live)
    _check_is_in(namespace, folder)
    return namespace, folder


def lock_file(device: UserDevice, file_id: UUID, *, live: bool = True) -> tuple[Namespace, File]:
    """The same for a file."""
    namespace = lock_namespace(queries.namespace_id_of_file(device.user, file_id))
    file = queries.get_file(device.user, file_id, write=True, live=live)
    _check_is_in(namespace, file)
    return namespace, file


def _check_is_in(namespace: Namespace, item: Folder | File) -> None:
    """Raises ServiceUnavailable for an item that left the namespace before it was locked.

    Its new one is not locked here instead: two locks out of order could wait for each other.
    """
    if item.namespace_id != namespace.pk:
        raise ServiceUnavailable(
            "The item has just moved to another shared folder.",
            retry_after_seconds=RETRY_AFTER_SECONDS,
        )


def check_rev(item: Folder | File, rev: int) -> None:
    """Raises StalePrecondition, with the item as `current`, when it has another revision."""
    if item.rev != rev:
        raise StalePrecondition(current=journal.state_of(item))


def lock_account(owner_id: UUID) -> StorageAccount:
    """The storage account of a person, for exact counting. Raises NotFound."""
    account = (
        StorageAccount.objects.select_for_update(no_key=True).filter(owner_id=owner_id).first()
    )
    if account is None:
        raise NotFound
    return account
