"""Whose certificates the client trusts: those that this system does."""

import ssl

import certifi


def trusted() -> ssl.SSLContext:
    """For every connection: what an administrator adds to the system counts, and
    SSL_CERT_FILE and SSL_CERT_DIR.

    Besides, the public authorities that came with the client, for systems that have none.
    """
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
