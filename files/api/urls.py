"""All addresses below /api/v1/."""

from django.urls import URLPattern, URLResolver

from files.api import (
    account,
    activity,
    batch,
    changes,
    conflicts,
    content,
    copies,
    devices,
    downloads,
    files,
    folders,
    limits,
    links,
    lookup,
    namespaces,
    progress,
    trash,
    uploads,
    versions,
)

urlpatterns: list[URLPattern | URLResolver] = [
    *account.urlpatterns,
    *activity.urlpatterns,
    *batch.urlpatterns,
    *changes.urlpatterns,
    *conflicts.urlpatterns,
    *content.urlpatterns,
    *copies.urlpatterns,
    *devices.urlpatterns,
    *downloads.urlpatterns,
    *files.urlpatterns,
    *folders.urlpatterns,
    *limits.urlpatterns,
    *links.urlpatterns,
    *lookup.urlpatterns,
    *namespaces.urlpatterns,
    *progress.urlpatterns,
    *trash.urlpatterns,
    *uploads.urlpatterns,
    *versions.urlpatterns,
]
