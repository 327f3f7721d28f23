"""Django's entry to this app."""

from django.apps import AppConfig


class DriveProjectConfig(AppConfig):
    name = "drive_project"
    verbose_name = "The wiring of all parts"

    def ready(self) -> None:
        # Registers itself.
        from drive_project import checks  # noqa: F401
