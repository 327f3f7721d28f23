"""I7: what an account counts is what its versions add up to."""

from collections import Counter
from collections.abc import Iterator

from django.db.models import F, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce

from drive_project.common.findings import Finding
from files.models import FileVersion, StorageAccount, VersionStatus


def sum_of(status: VersionStatus) -> Coalesce:
    """The sizes of an owner's versions with this status, added up, for an annotation."""
    sizes = (
        FileVersion.objects.filter(file__namespace__owner=OuterRef("pk"), status=status)
        .order_by()
        .values("file__namespace__owner")
        .annotate(total=Sum("size_bytes"))
        .values("total")
    )
    return Coalesce(Subquery(sizes), 0)


def check(checked: Counter[str]) -> Iterator[Finding]:
    """Accounts whose counts are not exact."""
    checked["accounts"] += StorageAccount.objects.count()
    for account in (
        StorageAccount.objects.annotate(
            used=sum_of(VersionStatus.COMMITTED), reserved=sum_of(VersionStatus.PENDING)
        )
        .exclude(Q(used=F("used_bytes")) & Q(reserved=F("reserved_bytes")))
        .iterator()
    ):
        yield Finding(
            "I7",
            "account",
            str(account.pk),
            f"used {account.used_bytes}, should be {account.used}; "
            f"reserved {account.reserved_bytes}, should be {account.reserved}",
        )
