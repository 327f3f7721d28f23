"""Say with every answer what time it is here, as HTTP asks of a server that has a clock.

Devices compare it with theirs (`drive doctor`): signed URLs live minutes.
"""

from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin
from django.utils.http import http_date


class TellTheTime(MiddlewareMixin):
    """A `Date` header where nobody has set one."""

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        response.headers.setdefault("Date", http_date())
        return response
