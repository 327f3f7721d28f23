"""ASGI of `manage.py run_notifications`: where devices wait, and nothing else."""

import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "drive_project.settings")
django.setup()

from channels.routing import ProtocolTypeRouter  # noqa: E402
from django.http import HttpResponse  # noqa: E402

from drive_project.bridge import Receive, Scope, Send  # noqa: E402
from drive_project.common.errors import NotFound  # noqa: E402
from drive_project.common.problem import problem_response  # noqa: E402
from notifications.longpoll import send_response  # noqa: E402
from notifications.routing import POLL_PATH, long_polls, web_sockets  # noqa: E402


async def _http(scope: Scope, receive: Receive, send: Send) -> None:
    match scope["path"]:
        case path if path == POLL_PATH:
            await long_polls(scope, receive, send)
        case "/healthz":
            # As in web: this process answers, whatever the state of the parts it needs.
            alive = HttpResponse(b'{"status": "ok"}', content_type="application/json")
            await send_response(send, alive)
        case _:
            await send_response(send, problem_response(NotFound()))


application: Any = ProtocolTypeRouter({"http": _http, "websocket": web_sockets})
