"""Several files at once, as one ZIP. See `files.archives`.

A form sends what is wanted (POST), since an address has no room for a thousand ids.
"""

from uuid import UUID

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from drive_project.common.errors import ContentDamaged, InvalidRequest
from files.archives import items_of, zip_response
from files.services import links
from files.web.access import DeviceRequest, signed_in
from files.web.shared import public


@require_POST
@signed_in
def selection(request: DeviceRequest) -> HttpResponseBase:
    """POST /zip with `ids`: each field has one id, or several with commas between."""
    try:
        return zip_response(items_of(request.user, _ids(request)))
    except (InvalidRequest, ContentDamaged) as error:
        return _refused(request, "web/refused.html", error)


# It changes nothing, and a visitor has no session that a foreign page could use.
@csrf_exempt
@require_POST
@public
def link(request: HttpRequest, token: str, folder_id: UUID | None = None) -> HttpResponseBase:
    """POST /s/TOKEN/zip: the linked folder, or one below it."""
    opened, folder = links.open_linked_folder(token, folder_id)
    try:
        answer = zip_response([folder])
    except (InvalidRequest, ContentDamaged) as error:
        return _refused(request, "web/link_refused.html", error)
    links.count_download(opened)
    return answer


def _ids(request: HttpRequest) -> list[UUID]:
    texts = [text for field in request.POST.getlist("ids") for text in field.split(",")]
    try:
        return [UUID(text.strip()) for text in texts if text.strip()]
    except ValueError:
        raise InvalidRequest("One of the ids is none.") from None


def _refused(
    request: HttpRequest, template: str, error: InvalidRequest | ContentDamaged
) -> HttpResponseBase:
    return render(request, template, {"reason": error.detail}, status=error.status)
