"""ASGI: who answers what. Three kinds of traffic never touch Django's request stack."""

import os
from typing import Any

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "drive_project.settings")
# Also loads the applications, which the imports below need.
_django = get_wsgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import re_path  # noqa: E402

from blocks.local_store import application as block_store  # noqa: E402
from drive_project.bridge import Message, Receive, Scope, Send, WsgiBridge  # noqa: E402
from notifications.routing import (  # noqa: E402
    POLL_PATH,
    http_urlpatterns,
    websocket_urlpatterns,
)

# More threads than this would wait for each other: Python runs one at a time. A stream
# mostly waits for its reader.
pages = WsgiBridge(_django, workers=8, streams=32)
_long_polls = URLRouter(http_urlpatterns)


async def _http(scope: Scope, receive: Receive, send: Send) -> None:
    path: str = scope["path"]
    if path.startswith("/blocks/"):
        await block_store(scope, receive, send)
    elif path == POLL_PATH:
        await _long_polls(scope, receive, send)
    else:
        await pages(scope, receive, send)


async def _unknown_web_socket(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close"})


async def _lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Nothing to open or close, whatever server asks (Daphne does not)."""
    while True:
        message: Message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


# Django's type of a view; Channels takes ASGI applications here.
_nobody: Any = _unknown_web_socket
_web_sockets = URLRouter([*websocket_urlpatterns, re_path("", _nobody)])
application: Any = ProtocolTypeRouter(
    {"http": _http, "websocket": _web_sockets, "lifespan": _lifespan}
)
