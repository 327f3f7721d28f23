"""The frame around the pages of a signed-in person: side bar, storage, menu of the account."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render

from files.models import StorageAccount
from files.web.access import DeviceRequest


def framed(
    request: DeviceRequest, template: str, here: str, *, status: int = 200, **context: Any
) -> HttpResponse:
    """A page in the frame: `here` is the place in the side bar."""
    storage = StorageAccount.objects.get(owner=request.user)
    return render(
        request, template, {"here": here, "own_storage": storage, **context}, status=status
    )
