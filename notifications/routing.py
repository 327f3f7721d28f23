"""Where clients wait. `drive_project.asgi` puts these before everything synchronous."""

from typing import Any

from django.urls import path

from notifications.consumers import DeviceSocket
from notifications.longpoll import long_poll

# Channels' URLRouter takes Django's patterns, with ASGI applications for views.
_poll: Any = long_poll
_socket: Any = DeviceSocket()

POLL_PATH = "/api/v1/notifications/poll"
http_urlpatterns = [path(POLL_PATH.lstrip("/"), _poll)]
websocket_urlpatterns = [path("ws/notifications", _socket)]
