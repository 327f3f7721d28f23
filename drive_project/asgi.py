"""ASGI: who answers what. Three kinds of traffic never touch Django's request stack."""

import os
from typing import Any

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "drive_project.settings")
# Also loads the applications, which the imports below need.
_django = get_wsgi_application()

from channels.routing import ProtocolTypeRouter  # noqa: E402

from blocks.local_store import application as block_store  # noqa: E402
from drive_project.bridge import Message, Receive, Scope, Send, WsgiBridge  # noqa: E402
from notifications.routing import POLL_PATH, long_polls, web_sockets  # noqa: E402

# More threads than this would wait for each other: Python runs one at a time. A stream
# mostly waits for its reader.
pages = WsgiBridge(_django, workers=8, streams=32)


async def _http(scope: Scope, receive: Receive, send: Send) -> None:
    path: str = scope["path"]
    if path.startswith("/blocks/"):
        await block_store(scope, receive, send)
    elif path == POLL_PATH:
        await long_polls(scope, receive, send)
    else:
        await pages(scope, receive, send)


async def _lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Nothing to open or close, whatever server asks (Daphne does not)."""
    while True:
        message: Message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


application: Any = ProtocolTypeRouter(
    {"http": _http, "websocket": web_sockets, "lifespan": _lifespan}
)
