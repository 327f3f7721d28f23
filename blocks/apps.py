"""Django's entry to this app."""

from django.apps import AppConfig


class BlocksConfig(AppConfig):
    name = "blocks"
    verbose_name = "The Block Service"
