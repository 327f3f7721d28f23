"""The public pages behind a link: no account, no script, no name of the product.

`files.services.links` decides in one place who may see what; the page, the list and the
content all ask there.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from drive_project.common.errors import InvalidCursor, NotFound
from files import queries
from files.api.items import children_list, decode_page, encode_page
from files.content import content_response
from files.models import Folder
from files.queries.listings import children
from files.services import links
from files.web.rows import linked_row_of

ROWS = 200


def public(page: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """No search engine keeps it, no cache, and the secret in its address goes nowhere else."""

    @wraps(page)
    def answered(request: HttpRequest, **arguments: Any) -> HttpResponseBase:
        try:
            answer = page(request, **arguments)
        except (NotFound, InvalidCursor):
            answer = render(request, "web/link_gone.html", status=404)
        answer["X-Robots-Tag"] = "noindex, nofollow"
        answer["Referrer-Policy"] = "no-referrer"
        answer["Cache-Control"] = "private, no-store"
        return answer

    return answered


@require_safe
@public
def link(request: HttpRequest, token: str) -> HttpResponse:
    """GET /s/TOKEN: the file, or the list of the folder."""
    opened = links.open_link(token)
    if opened.file is not None:
        return render(
            request,
            "web/link_file.html",
            {"link": opened, "row": linked_row_of(opened.file, token)},
        )
    return _folder(request, token, None)


@require_safe
@public
def link_folder(request: HttpRequest, token: str, folder_id: UUID) -> HttpResponse:
    """GET /s/TOKEN/folders/ID: a folder below the linked one."""
    return _folder(request, token, folder_id)


def _folder(request: HttpRequest, token: str, folder_id: UUID | None) -> HttpResponse:
    opened, folder = links.open_linked_folder(token, folder_id)
    top = opened.folder
    if top is None:
        raise Http404
    place = decode_page(request.GET.get("cursor", ""), children_list())
    listed = children(folder, place=place, limit=ROWS)
    return render(
        request,
        "web/link_folder.html",
        {
            "link": opened,
            "token": token,
            "folder": folder,
            "path": _path_below(top, folder),
            "rows": [linked_row_of(item, token) for item in listed.items],
            "next_cursor": encode_page(listed.next_place, children_list()),
        },
    )


def _path_below(top: Folder, folder: Folder) -> list[Folder]:
    """From the linked folder down; a visitor learns of nothing above it."""
    path = queries.path_of(folder)
    return path[[step.pk for step in path].index(top.pk) :]


@require_safe
@public
def link_file(request: HttpRequest, token: str, file_id: UUID) -> HttpResponseBase:
    """GET /s/TOKEN/files/ID: the content, as an attachment."""
    opened, file = links.open_linked_file(token, file_id)
    answer = content_response(request, file)
    if request.method == "GET" and answer.status_code == 200:
        links.count_download(opened)
    return answer
