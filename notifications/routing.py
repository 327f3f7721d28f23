"""Where clients wait. `drive_project.asgi` puts these before everything synchronous."""

from typing import Any

from channels.routing import URLRouter
from django.urls import path, re_path

from notifications.consumers import DeviceSocket, Message, Receive, Send
from notifications.handshake import Scope
from notifications.longpoll import long_poll


async def _unknown_web_socket(scope: Scope, receive: Receive, send: Send) -> None:
    refusal: Message = {"type": "websocket.close"}
    await send(refusal)


# Channels' URLRouter takes Django's patterns, with ASGI applications for views.
_poll: Any = long_poll
_socket: Any = DeviceSocket()
_nobody: Any = _unknown_web_socket

POLL_PATH = "/api/v1/notifications/poll"
long_polls = URLRouter([path(POLL_PATH.lstrip("/"), _poll)])
web_sockets = URLRouter([path("ws/notifications", _socket), re_path("", _nobody)])
