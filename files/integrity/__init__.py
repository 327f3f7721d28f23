"""Does the File Service's half agree with itself, and with the Block Service? fsck's I2 to I10.

journals: I3 and I5; trees: I4 and I6; accounts: I7; versions: I2 and I7 against the Block
Service's lists; unfinished: I10; repairs: what may be put right; places: where people see it.

Reads only, beside work that goes on: what is compared within the database is one statement
or one moment, what is compared with the other one is looked at again before it counts.
"""

from collections import Counter
from collections.abc import Iterator

from drive_project.common.findings import Finding
from files.integrity import accounts, journals, trees, unfinished, versions
from files.integrity.places import Place, places_of_items, places_of_versions
from files.integrity.repairs import repair
from files.models import Namespace

__all__ = ["Finding", "Place", "check", "places_of_items", "places_of_versions", "repair"]


def check(*, checked: Counter[str]) -> Iterator[Finding]:
    """Every disagreement found. checked: counts what was looked at."""
    for namespace_id in Namespace.objects.order_by("pk").values_list("pk", flat=True).iterator():
        checked["namespaces"] += 1
        yield from journals.check(namespace_id, checked)
    yield from trees.check(checked)
    yield from accounts.check(checked)
    yield from versions.check(checked)
    yield from unfinished.check()
