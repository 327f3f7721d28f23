"""Counting what a person's namespaces hold. The caller holds the account's lock.

`reserved` is what open uploads will add; at the commit it becomes `used`. Versions count in
full, deduplicated or not, so nobody learns from their quota what others have stored.
"""

from drive_project.common.errors import QuotaExceeded
from files.models import StorageAccount

# Where there is no limit, one there is all the same: what the columns can add up.
MOST_BYTES = 2**62


def reserve(account: StorageAccount, size_bytes: int) -> None:
    """Set bytes aside for an upload. Raises QuotaExceeded with `over_by_bytes`.

    On the instance only: the caller saves it once for many.
    """
    limit = MOST_BYTES if account.limit_bytes is None else min(account.limit_bytes, MOST_BYTES)
    over_by_bytes = account.used_bytes + account.reserved_bytes + size_bytes - limit
    # An empty file needs nothing, even where somebody lowered the limit below what is used.
    if over_by_bytes > 0 and size_bytes > 0:
        raise QuotaExceeded(over_by_bytes=over_by_bytes)
    account.reserved_bytes += size_bytes


def release(account: StorageAccount, size_bytes: int) -> None:
    """Give back what was set aside: the upload adds nothing."""
    account.reserved_bytes -= size_bytes


def spend(account: StorageAccount, size_bytes: int) -> None:
    """Turn what was set aside into what is used: the upload has become a version."""
    account.reserved_bytes -= size_bytes
    account.used_bytes += size_bytes


def save(account: StorageAccount) -> None:
    """Write the counts."""
    account.save(update_fields=["used_bytes", "reserved_bytes"])
