"""All addresses below /api/v1/."""

from django.urls import URLPattern, URLResolver

from files.api import (
    account,
    batch,
    changes,
    devices,
    files,
    folders,
    limits,
    links,
    namespaces,
    trash,
)

urlpatterns: list[URLPattern | URLResolver] = [
    *account.urlpatterns,
    *batch.urlpatterns,
    *changes.urlpatterns,
    *devices.urlpatterns,
    *files.urlpatterns,
    *folders.urlpatterns,
    *limits.urlpatterns,
    *links.urlpatterns,
    *namespaces.urlpatterns,
    *trash.urlpatterns,
]
