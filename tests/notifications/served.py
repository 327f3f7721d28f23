"""The whole server in a process of its own, with one more socket that has little patience.

`python -m tests.notifications.served HOST:PORT`
"""

import sys
from typing import Any

from drive_project import asgi
from drive_project.server import serve
from notifications.consumers import DeviceSocket

PATIENT = "/ws/notifications"
IMPATIENT = "/ws/impatient"

_impatient = DeviceSocket(ping_seconds=0.2, silence_seconds=1.0, sign_in_again_seconds=0.1)


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Drive, where the path is not that of the impatient socket."""
    is_impatient = scope.get("path") == IMPATIENT
    await (_impatient if is_impatient else asgi.application)(scope, receive, send)


if __name__ == "__main__":
    serve(application, bind=sys.argv[1])
    asgi.pages.close(timeout_seconds=1)
