"""A file on a page of its own, and what that page fetches: its bytes, or pictures of its pages.

The same three answers for a signed-in person and for a visitor with a link; only who may see
the file is decided in different places.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from drive_project.common.errors import NotFound, ServiceUnavailable
from files.content import CONTENT_HEADERS, content_response
from files.models import File, FileVersion
from files.previews import making
from files.previews.kinds import Kind
from files.previews.limited import CannotShow
from files.queries.listings import Sort, neighbours
from files.services import links
from files.services.downloads import get_version
from files.web.access import DeviceRequest, id_in, signed_in
from files.web.frame import framed
from files.web.rows import linked_row_of, row_of
from files.web.shared import public


@dataclass(frozen=True, slots=True)
class _Addresses:
    """Where a page finds what belongs to its file; `query` goes behind each of them."""

    names: tuple[str, str, str]
    token: str | None
    query: str

    def of(self, name: str, file: File, *more: int) -> str:
        before = [] if self.token is None else [self.token]
        return reverse(name, args=[*before, file.pk, *more])

    def page(self, file: File | None) -> str | None:
        return None if file is None else self.of(self.names[0], file) + self.query


_OWN = ("web:file", "web:file-inline", "web:file-page")
_LINKED = ("web:link-view", "web:link-inline", "web:link-page")


# --- For a signed-in person


@require_safe
@signed_in
def own_page(request: DeviceRequest, file_id: UUID) -> HttpResponse:
    """GET /files/ID: the file as it looks; `version`: an older content of it."""
    version = _own_version(request, file_id)
    is_current = version.pk == version.file.current_version_id
    context = _page(request, version, _OWN, None, has_neighbours=is_current)
    return framed(
        request,
        "web/file.html",
        "files",
        row=row_of(version.file),
        is_current=is_current,
        download=f"/api/v1/files/{file_id}/content?version={version.pk}",
        folder_id=version.file.parent_folder_id,
        **context,
    )


@require_safe
@signed_in
def own_bytes(request: DeviceRequest, file_id: UUID) -> HttpResponseBase:
    """GET /files/ID/inline: an image, a sound or a film, for the browser to show."""
    return _bytes(request, _own_version(request, file_id))


@require_safe
@signed_in
def own_pdf_page(request: DeviceRequest, file_id: UUID, number: int) -> HttpResponse:
    """GET /files/ID/pages/N.png: a page of a PDF."""
    return _pdf_page(request, _own_version(request, file_id), number)


def _own_version(request: DeviceRequest, file_id: UUID) -> FileVersion:
    wanted = request.GET.get("version")
    version_id = id_in(wanted) if wanted else None
    return get_version(user=request.user, file_id=file_id, version_id=version_id)


# --- For a visitor


@require_safe
@public
def link_page(request: HttpRequest, token: str, file_id: UUID) -> HttpResponse:
    """GET /s/TOKEN/files/ID/view: the file as it looks."""
    opened, version = _linked_version(token, file_id)
    # Behind a link to one file there is nothing beside it.
    context = _page(request, version, _LINKED, token, has_neighbours=opened.folder is not None)
    row = linked_row_of(version.file, token)
    return render(
        request,
        "web/link_view.html",
        {
            "link": opened,
            "token": token,
            "row": row,
            "download": reverse("web:link-file", args=[token, file_id]),
            "folder_id": version.file.parent_folder_id if opened.folder else None,
            "is_current": True,
            **context,
        },
    )


@require_safe
@public
def link_bytes(request: HttpRequest, token: str, file_id: UUID) -> HttpResponseBase:
    """GET /s/TOKEN/files/ID/inline"""
    return _bytes(request, _linked_version(token, file_id)[1])


@require_safe
@public
def link_pdf_page(request: HttpRequest, token: str, file_id: UUID, number: int) -> HttpResponse:
    """GET /s/TOKEN/files/ID/pages/N.png"""
    return _pdf_page(request, _linked_version(token, file_id)[1], number)


def _linked_version(token: str, file_id: UUID) -> tuple[Any, FileVersion]:
    opened, file = links.open_linked_file(token, file_id)
    version = file.current_version
    if version is None:
        raise NotFound
    version.file = file
    return opened, version


# --- For both


def _page(
    request: HttpRequest,
    version: FileVersion,
    names: tuple[str, str, str],
    token: str | None,
    *,
    has_neighbours: bool,
) -> dict[str, Any]:
    """What the templates need to show a version."""
    file = version.file
    sort = Sort(request.GET["sort"]) if request.GET.get("sort") in set(Sort) else Sort.NAME
    is_descending = request.GET.get("order") == "desc"
    query = urlencode({"sort": sort, "order": "desc"}) if is_descending else f"sort={sort}"
    addresses = _Addresses(names, token, f"?{query}" if has_neighbours else "")
    before, after = (
        neighbours(file, sort=sort, descending=is_descending) if has_neighbours else (None, None)
    )
    context: dict[str, Any] = {
        "file": file,
        "version": version,
        "before": before,
        "after": after,
        "before_href": addresses.page(before),
        "after_href": addresses.page(after),
    }
    chosen = "" if version.pk == file.current_version_id else f"?version={version.pk}"
    try:
        shown = making.shown_of(version)
        context["kind"] = shown.kind.value
        if shown.media_type:
            context["source"] = addresses.of(names[1], file) + chosen
        elif shown.kind in (Kind.TEXT, Kind.MARKDOWN):
            context["text"] = making.text_of(version, shown.kind)
            context["shown_bytes"] = making.TEXT_BYTES
        elif shown.kind is Kind.PDF:
            number = _number(request.GET.get("page"))
            context["number"] = number
            context["page_count"] = making.page_count(version)
            context["source"] = addresses.of(names[2], file, number) + chosen
            context["query"] = f"{query}&version={version.pk}" if chosen else query
    except CannotShow:
        context["kind"] = "broken"
    except ServiceUnavailable as error:
        # The page stands: the file can still be downloaded, or looked at later.
        context["kind"] = "unavailable"
        context["reason"] = str(error)
    return context


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 6 else 1


def _bytes(request: HttpRequest, version: FileVersion) -> HttpResponseBase:
    shown = making.shown_of(version)
    if not shown.media_type:
        raise NotFound
    return content_response(request, version.file, version, media_type=shown.media_type)


def _pdf_page(request: HttpRequest, version: FileVersion, number: int) -> HttpResponse:
    headers = {**CONTENT_HEADERS, "ETag": f'"{version.pk}-{number}"'}
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return HttpResponse(status=304, headers=headers)
    if making.shown_of(version).kind is not Kind.PDF:
        raise NotFound
    try:
        picture = making.pdf_page(version, number)
    except CannotShow:
        raise NotFound from None
    return HttpResponse(picture, content_type="image/png", headers=headers)
