"""The staff page."""

from django.conf import settings
from django.http import Http404, HttpResponse
from django.views.decorators.http import require_safe

from drive_project import __version__
from drive_project.dashboard import numbers
from drive_project.health import readiness
from files.web import words
from files.web.access import DeviceRequest, signed_in
from files.web.frame import framed


@require_safe
@signed_in
def dashboard(request: DeviceRequest) -> HttpResponse:
    """GET /dashboard/: the state of the whole server. It is not there for anybody but staff."""
    if not request.user.is_staff:
        raise Http404
    blocks = numbers.blocks()
    return framed(
        request,
        "dashboard/dashboard.html",
        "dashboard",
        version=__version__,
        people=numbers.people(),
        devices=numbers.devices(),
        storage=numbers.storage(),
        blocks=blocks,
        ratio=numbers.deduplication_ratio(blocks),
        queues=numbers.queues(),
        top_users=numbers.top_users(),
        checks=readiness.report(),
        grace=words.duration(settings.BLOCK_GRACE),
    )
