"""Drive: a file platform that people and companies run themselves."""

__version__ = "0.1.0"
