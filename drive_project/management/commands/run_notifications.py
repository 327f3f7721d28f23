"""`manage.py run_notifications`: the Notification Service as a process of its own."""

import logging
import os
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = (
        "Hold WebSockets and long polls at NOTIFICATIONS_BIND until SIGTERM or SIGINT. Any "
        "number of such processes may run; a device may come to any of them. Exits with 1 "
        "where it cannot listen or the settings are wrong."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        # Loaded here: they take the place of asyncio's event loop.
        from drive_project.asgi_notifications import application
        from drive_project.server import serve

        host, port = settings.NOTIFICATIONS_BIND
        bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.stdout.write(f"Notification Service at {bind}")
        self.stdout.flush()
        serve(application, bind=bind)
        logging.shutdown()
        # Threads may still ask a database that does not answer: do not wait for them.
        os._exit(0)
