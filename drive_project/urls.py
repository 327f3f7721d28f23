"""All routes. The WebSocket, the long poll and block bytes are routed in asgi.py."""

from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = []
