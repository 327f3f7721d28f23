"""Where clients wait. `drive_project.asgi` puts these before everything synchronous."""

from typing import Any

from django.urls import path

from notifications.consumers import DeviceSocket
from notifications.longpoll import long_poll

# Channels' URLRouter takes Django's patterns, with ASGI applications for views.
_poll: Any = long_poll
_socket: Any = DeviceSocket()

http_urlpatterns = [path("api/v1/notifications/poll", _poll)]
websocket_urlpatterns = [path("ws/notifications", _socket)]
