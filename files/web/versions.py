"""The versions of a file: who made them, when and where; seen, compared, brought back."""

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from drive_project.common.errors import (
    DriveError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ServiceUnavailable,
)
from drive_project.common.ids import new_id
from files.api.items import decode_place, encode_place
from files.previews import making
from files.previews.limited import CannotShow
from files.services import versions
from files.services.downloads import get_version
from files.web.access import DeviceRequest, id_in, signed_in
from files.web.frame import framed

ROWS = 50
# Its places are not those of the API, whose pages are longer.
_LIST = "versions-page"


@require_safe
@signed_in
def page(request: DeviceRequest, file_id: UUID) -> HttpResponse:
    """GET /files/ID/versions: newest first."""
    return _page(request, file_id)


@require_POST
@signed_in
def restore(request: DeviceRequest, file_id: UUID, version_id: UUID) -> HttpResponse:
    """POST /files/ID/versions/VERSION/restore: its content becomes the current one."""
    try:
        versions.restore_version(
            device=request.device,
            file_id=file_id,
            version_id=version_id,
            # A second press of the same button is the same wish.
            op_id=str(id_in(request.POST.get("op_id", ""))),
        )
    except (NotFound, InvalidRequest):
        raise
    except DriveError as error:
        return _page(request, file_id, status=error.status, refusal=str(error))
    return redirect(f"{reverse('web:versions', args=[file_id])}?restored={version_id}")


@require_POST
@signed_in
def keep(request: DeviceRequest, file_id: UUID, version_id: UUID) -> HttpResponse:
    """POST /files/ID/versions/VERSION/keep with `keep`: 1 for ever, 0 as long as others."""
    try:
        versions.keep_version(
            device=request.device,
            file_id=file_id,
            version_id=version_id,
            is_kept=request.POST.get("keep") == "1",
        )
    except PermissionDenied as error:
        return _page(request, file_id, status=error.status, refusal=str(error))
    return redirect("web:versions", file_id)


def _page(
    request: DeviceRequest, file_id: UUID, *, status: int = 200, refusal: str = ""
) -> HttpResponse:
    found = versions.versions_of(
        user=request.user,
        file_id=file_id,
        limit=ROWS,
        after=decode_place(request.GET.get("cursor", ""), _LIST),
    )
    try:
        changed = versions.changed_blocks(found)
    except ServiceUnavailable:
        # Only a number beside each: the versions can be seen without it.
        changed = {}
    current_id = found.file.current_version_id
    rows = [
        {
            "version": each,
            "is_current": each.pk == current_id,
            "changed": changed.get(each.pk),
            "download": f"/api/v1/files/{file_id}/content?version={each.pk}",
        }
        for each in found.versions
    ]
    restored = request.GET.get("restored", "")
    return framed(
        request,
        "web/versions.html",
        "files",
        status=status,
        file=found.file,
        rows=rows,
        current_id=current_id,
        next_cursor=encode_place(found.next_place, _LIST),
        is_first=not request.GET.get("cursor"),
        restored=next((each for each in found.versions if str(each.pk) == restored), None),
        refusal=refusal,
        op_id=new_id(),
    )


@require_safe
@signed_in
def compare(request: DeviceRequest, file_id: UUID) -> HttpResponse:
    """GET /files/ID/compare?old=&new=: two versions of a text side by side."""
    old, new = (
        get_version(user=request.user, file_id=file_id, version_id=id_in(request.GET.get(name, "")))
        for name in ("old", "new")
    )
    context: dict[str, Any] = {"file": new.file, "old": old, "new": new}
    try:
        context["comparison"] = making.compare(old, new)
    except CannotShow:
        context["comparison"] = None
    except ServiceUnavailable as error:
        context["reason"] = str(error)
    return framed(request, "web/compare.html", "files", **context)
