"""I4 and I6: every file wholly there; one tree for each namespace, with one name for each."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain

from django.db.models import F, OuterRef, Q, Subquery

from drive_project.common.errors import InvalidName
from drive_project.common.findings import Finding
from files.models import (
    Conflict,
    File,
    FileStatus,
    FileVersion,
    Folder,
    Mount,
    Namespace,
    VersionStatus,
)
from files.names import check_name, name_key

# All folders that a root leads to. UNION (not UNION ALL) ends even on a circle.
_UNREACHABLE = """
WITH RECURSIVE reached(folder_id) AS (
    SELECT folder_id FROM files_folder WHERE parent_folder_id IS NULL
    UNION
    SELECT f.folder_id FROM files_folder f JOIN reached ON f.parent_folder_id = reached.folder_id
)
SELECT folder_id FROM files_folder WHERE folder_id NOT IN (SELECT folder_id FROM reached)
"""


def check(checked: Counter[str]) -> Iterator[Finding]:
    """What is not wholly there, or not in exactly one place under a name of its own."""
    checked["folders"] += Folder.objects.count()
    checked["files"] += File.objects.count()
    yield from _roots()
    yield from _strays()
    yield from _conflicts()
    yield from _names()
    yield from _contents()


def _roots() -> Iterator[Finding]:
    root = Folder.objects.filter(namespace=OuterRef("pk"), parent_folder__isnull=True)
    for pk in (
        Namespace.objects.annotate(root=Subquery(root.values("pk")[:1]))
        .filter(root__isnull=True)
        .values_list("pk", flat=True)
        .iterator()
    ):
        yield Finding("I6", "no-root", str(pk), "the namespace has no root folder")


def _strays() -> Iterator[Finding]:
    for folder in Folder.objects.raw(_UNREACHABLE).iterator():
        yield Finding(
            "I6",
            "unreachable",
            str(folder.pk),
            "no root leads to this folder: it lies below itself",
            item_id=folder.pk,
        )
    for model in (Folder, File):
        for pk in (
            model._default_manager.exclude(parent_folder__namespace=F("namespace"))
            .filter(parent_folder__isnull=False)
            .values_list("pk", flat=True)
            .iterator()
        ):
            yield Finding(
                "I6",
                "parent-elsewhere",
                str(pk),
                "its folder is in another namespace",
                item_id=pk,
            )


def _conflicts() -> Iterator[Finding]:
    """That both files are there, the database sees to."""
    apart = Conflict.objects.exclude(file__namespace=F("namespace"), copy__namespace=F("namespace"))
    for pk, copy_id in apart.values_list("pk", "copy_id").iterator():
        yield Finding(
            "I6",
            "conflict-elsewhere",
            str(pk),
            "one of the two files of a conflict is in another namespace",
            item_id=copy_id,
        )


def _names() -> Iterator[Finding]:
    for model in (Folder, File):
        rows = model._default_manager.filter(parent_folder__isnull=False)
        for pk, name, key in rows.values_list("pk", "name", "name_key").iterator():
            if problem := _name_problem(name, key):
                yield Finding("I6", "name", str(pk), problem, item_id=pk)
    # Within a table the database sees to it; between two, the lock of the namespace.
    live_folder = {
        "parent_folder__folders__name_key": F("name_key"),
        "parent_folder__folders__deleted_at__isnull": True,
    }
    live_file = {
        "parent_folder__files__name_key": F("name_key"),
        "parent_folder__files__deleted_at__isnull": True,
        "parent_folder__files__status": FileStatus.UPLOADED,
    }
    files = File.objects.filter(
        deleted_at__isnull=True, status=FileStatus.UPLOADED, **live_folder
    ).values_list("pk", flat=True)
    mounts = Mount.objects.filter(Q(**live_folder) | Q(**live_file)).values_list("pk", flat=True)
    for pk in chain(files.iterator(), mounts.distinct().iterator()):
        yield Finding(
            "I6",
            "name-twice",
            str(pk),
            "another live item of its folder has the same name",
            item_id=pk,
        )


def _name_problem(name: str, key: str) -> str:
    try:
        check_name(name)
    except InvalidName as error:
        return error.detail
    return "" if name_key(name) == key else "its name_key is not that of its name"


def _contents() -> Iterator[Finding]:
    uploaded = File.objects.filter(status=FileStatus.UPLOADED)
    for pk in (
        uploaded.exclude(
            current_version__file=F("pk"), current_version__status=VersionStatus.COMMITTED
        )
        .values_list("pk", flat=True)
        .iterator()
    ):
        yield Finding(
            "I4",
            "current-version",
            str(pk),
            "its current version is not a committed one of its own",
            item_id=pk,
        )
    for pk in (
        uploaded.exclude(
            size_bytes=F("current_version__size_bytes"),
            content_hash=F("current_version__content_hash"),
        )
        .values_list("pk", flat=True)
        .iterator()
    ):
        yield Finding(
            "I7",
            "file-differs",
            str(pk),
            "size or content hash is not that of its current version",
            item_id=pk,
        )
    for pk in (
        FileVersion.objects.filter(status=VersionStatus.COMMITTED)
        .exclude(file__status=FileStatus.UPLOADED)
        .values_list("pk", flat=True)
        .iterator()
    ):
        yield Finding(
            "I4",
            "version-unseen",
            str(pk),
            "a committed version of a file that is not there",
            file_version_id=pk,
        )
