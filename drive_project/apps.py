"""Django's entry to this app."""

from django.apps import AppConfig


class DriveProjectConfig(AppConfig):
    name = "drive_project"
    verbose_name = "The wiring of all parts"
