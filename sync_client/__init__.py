"""The sync client of Drive: keeps a folder the same as its place on the server."""

__version__ = "0.1.0"
