"""The Celery application and what runs periodically."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "drive_project.settings")

app = Celery("drive")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# Each app names its periodic tasks in `tasks.py`; the times stand here, side by side.
app.conf.beat_schedule = {}
