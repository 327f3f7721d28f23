"""What the side of the folder page tells of one item: facts, place, activity."""

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from drive_project.common.errors import NotFound
from files import queries
from files.models import File, Folder, User
from files.services.links import link_count
from files.web.access import DeviceRequest, signed_in
from files.web.happenings import together
from files.web.rows import row_of
from files.web.words import kind_name

EVENTS = 30


@require_safe
@signed_in
def details(request: DeviceRequest, item_id: UUID) -> HttpResponse:
    """GET /details/ID: a part of a page, which `static/js/details.js` puts at its side."""
    user = request.user
    item = _item(user, item_id)
    is_file = isinstance(item, File)
    page = queries.activity_of(
        user,
        file_id=item.pk if is_file else None,
        folder_id=None if is_file else item.pk,
        limit=EVENTS,
    )
    return render(
        request,
        "web/details.html",
        {
            "row": row_of(item),
            "kind": kind_name(item.name),
            "created_at": item.created_at,
            "path": queries.path_of(item.parent_folder) if item.parent_folder else [],
            "version_count": queries.version_count(item) if isinstance(item, File) else 0,
            "link_count": link_count(user, item),
            "lines": list(together(page.items)),
        },
    )


def _item(user: User, item_id: UUID) -> Folder | File:
    """A live item of either kind. Raises NotFound."""
    try:
        return queries.get_file(user, item_id)
    except NotFound:
        return queries.get_folder(user, item_id)
