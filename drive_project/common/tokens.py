"""Secrets that a device or a link shows: random, and stored only as a digest."""

import hashlib
import secrets


def new_token() -> str:
    """256 random bits, safe in URLs and headers."""
    return secrets.token_urlsafe(32)


def token_digest(token: str) -> str:
    """What is stored of a token: its SHA-256, hex.

    A fast hash is right here, since the token is random and cannot be guessed.
    """
    return hashlib.sha256(token.encode()).hexdigest()
