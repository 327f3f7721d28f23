#!/usr/bin/env python
"""Django's command line for Drive."""

import os
import sys

if __name__ == "__main__":
    # What a command writes into the data folder is for this user alone.
    os.umask(0o077)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "drive_project.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"Drive cannot start: {error}")
