"""WSGI: pages and API, on threads that keep their database connection."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "drive_project.settings")

application = get_wsgi_application()
