"""The pages of a signed-in person. Each reads, for that person, and renders."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.cache import patch_cache_control
from django.views.decorators.http import require_http_methods, require_safe

from drive_project.common.errors import NotFound
from files import queries
from files.api.activity import decode_activity, encode_activity
from files.api.items import (
    DEVICE_LIST,
    TRASH_LIST,
    children_list,
    decode_page,
    decode_place,
    encode_page,
    encode_place,
)
from files.journal import encode_cursor
from files.queries.changes import latest_positions
from files.queries.listings import Sort, children, trash
from files.services import accounts, devices
from files.web import icons
from files.web.access import DeviceRequest, signed_in
from files.web.forms import ActivityFilter, RetentionForm
from files.web.frame import framed
from files.web.happenings import together
from files.web.rows import Row, row_of

# The first page is HTML: a row costs a quarter of a millisecond in templates. Further ones
# come from the API.
FIRST_ROWS = 100
FOREVER_SECONDS = 365 * 24 * 3600


@require_safe
@signed_in
def folder(request: DeviceRequest, folder_id: UUID | None = None) -> HttpResponse:
    """GET / and /folders/ID: what is in a folder."""
    user = request.user
    shown = queries.own_root(user) if folder_id is None else queries.get_folder(user, folder_id)
    sort = request.GET.get("sort", "")
    sort = sort if sort in set(Sort) else Sort.NAME.value
    view = request.GET.get("view") or request.COOKIES.get("view")
    descending = request.GET.get("order") == "desc"
    # Before the list is read: a change in between is shown twice, which is harmless.
    cursor = encode_cursor(latest_positions(user))
    listed = children(shown, sort=Sort(sort), descending=descending, limit=FIRST_ROWS)
    return framed(
        request,
        "web/folder.html",
        "files",
        folder=shown,
        path=queries.path_of(shown),
        rows=[row_of(item) for item in listed.items],
        next_cursor=encode_page(
            listed.next_place, children_list(Sort(sort), descending=descending)
        ),
        changes_cursor=cursor,
        view="grid" if view == "grid" else "list",
        sort=sort,
        order="desc" if descending else "asc",
        columns=_columns(sort, descending),
        blank=_BLANK,
    )


def _columns(sort: str, descending: bool) -> list[dict[str, str]]:
    """The heads of the list: a click on the present order turns it round."""
    return [
        {
            "key": key,
            "title": title,
            "css": css,
            "sorted": ("descending" if descending else "ascending") if key == sort else "",
            "order": "desc" if key == sort and not descending else "asc",
        }
        for key, title, css in (
            ("name", "Name", "name-head"),
            ("modified", "Modified", "modified"),
            ("size", "Size", "size"),
        )
    ]


# What the page's script fills in for the rows that it makes.
_BLANK = {
    "id": None,
    "name": "",
    "href": "",
    "icon": "file",
    "kind": "other",
    "is_folder": False,
    "size_bytes": None,
}


@require_safe
@signed_in
def trash_page(request: DeviceRequest) -> HttpResponse:
    """GET /trash: what was deleted and can come back."""
    place = decode_page(request.GET.get("cursor", ""), TRASH_LIST)
    # Before the list is read, as for a folder.
    cursor = encode_cursor(latest_positions(request.user))
    listed = trash(request.user, place=place, limit=FIRST_ROWS)
    rows: list[dict[str, Any]] = []
    for item, original_path, is_parent_live in listed.items:
        row: Row = row_of(item)
        deleted_at = item.deleted_at
        if deleted_at is None:
            continue
        rows.append(
            {
                "row": row,
                "folder_path": original_path.rpartition("/")[0] or "/",
                "deleted_at": deleted_at,
                "is_parent_live": is_parent_live,
                "expires_at": deleted_at + settings.TRASH_RETENTION,
            }
        )
    return framed(
        request,
        "web/trash.html",
        "trash",
        rows=rows,
        next_cursor=encode_page(listed.next_place, TRASH_LIST),
        changes_cursor=cursor,
        blank={"row": _BLANK},
        retention_days=settings.TRASH_RETENTION // timedelta(days=1),
    )


@require_safe
@signed_in
def devices_page(request: DeviceRequest) -> HttpResponse:
    """GET /devices: every program and browser that is signed in."""
    place = decode_place(request.GET.get("cursor", ""), DEVICE_LIST)
    listed, next_place = devices.devices_of(request.user, after=place, limit=FIRST_ROWS)
    return framed(
        request,
        "web/devices.html",
        "devices",
        devices=listed,
        this=request.device,
        online=devices.online_among(listed),
        next_cursor=encode_place(next_place, DEVICE_LIST),
    )


@require_safe
@signed_in
def activity(request: DeviceRequest) -> HttpResponse:
    """GET /activity: what happened, to one file, in a folder or by a device where asked."""
    user = request.user
    query = ActivityFilter(request.GET)
    if not query.is_valid():
        raise NotFound
    chosen = query.cleaned_data
    folder_id, file_id, device_id = chosen["folder"], chosen["file"], chosen["device"]
    shown = queries.get_folder(user, folder_id) if folder_id else None
    page = queries.activity_of(
        user,
        file_id=file_id,
        folder_id=folder_id,
        device_id=device_id,
        after=decode_activity(chosen["cursor"]),
        limit=FIRST_ROWS,
    )
    next_cursor = encode_activity(page.next_place)
    narrowed = {name: str(value) for name, value in chosen.items() if value and name != "cursor"}
    return framed(
        request,
        "web/activity.html",
        "activity",
        lines=list(together(page.items)),
        folder=shown,
        file_id=file_id,
        device_id=device_id,
        devices=devices.devices_of(user, limit=FIRST_ROWS)[0],
        is_first=not chosen["cursor"],
        next_query=next_cursor and urlencode({**narrowed, "cursor": next_cursor}),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def account(request: DeviceRequest) -> HttpResponse:
    """/account: storage, how long versions stay, links, and how the pages look."""
    storage = queries.storage_of(request.user)
    form = RetentionForm(
        request.POST or None,
        initial={
            "keep_all_versions_days": storage.retention.keep_all.days,
            "keep_daily_versions_days": storage.retention.keep_daily.days,
        },
    )
    if request.method == "POST" and form.is_valid():
        accounts.set_retention(user=request.user, chosen=form.cleaned_data)
        # Away from the form, so that a reload does not send it again; it says what it did.
        return redirect(f"{reverse('web:account')}?saved=versions#versions")
    return framed(
        request,
        "web/account.html",
        "account",
        form=form,
        parts=queries.storage_parts(storage),
        is_saved=request.GET.get("saved") == "versions" and not form.is_bound,
        trash_days=settings.TRASH_RETENTION // timedelta(days=1),
    )


@require_safe
def sprite(request: HttpRequest) -> HttpResponse:
    """GET /icons.svg: the icons of all pages."""
    answer = HttpResponse(icons.sprite(), content_type="image/svg+xml")
    patch_cache_control(answer, public=True, max_age=FOREVER_SECONDS, immutable=True)
    return answer
