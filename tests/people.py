"""The people and devices of the tests' stories, and how a device speaks to the server."""

import json
from typing import Any
from uuid import UUID

from django.http import HttpResponseBase
from django.test import Client, TestCase

from drive_project.common.tokens import token_digest
from files.models import DeviceKind, User, UserDevice

PASSWORD = "correct horse battery staple"


def new_person(name: str) -> User:
    """A user with an own root folder; signs in as NAME@example.com with PASSWORD."""
    from files.services.accounts import create_user

    return create_user(email=f"{name}@example.com", password=PASSWORD)


def token_of(device: UserDevice) -> str:
    """The bearer token of a device that `new_device` made."""
    return f"token-of-{device.device_id}"


def new_device(user: User, name: str, kind: DeviceKind = DeviceKind.SYNC) -> UserDevice:
    """A device that has signed in."""
    device = UserDevice(user=user, name=name, kind=kind, platform="test")
    device.token_digest = token_digest(token_of(device))
    device.save()
    return device


class Api:
    """The REST API as one device uses it: JSON both ways, its token in the header.

    Paths are written as in docs/protocol.md, without `/api/v1`. What the server does after
    a commit is done before the answer is returned, also inside a test's own transaction.
    """

    def __init__(self, device: UserDevice | None) -> None:
        self.device = device
        self._client = Client()
        self._headers: dict[str, str] = (
            {} if device is None else {"authorization": f"Bearer {token_of(device)}"}
        )

    def get(self, path: str, **query: Any) -> Any:
        """GET with the keyword arguments as query; its answer has `.status_code`, `.json()`."""
        wanted = {name: str(value) for name, value in query.items() if value is not None}
        return self._send("GET", path, query_params=wanted)

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        return self._send("POST", path, body, **options)

    def put(self, path: str, body: Any = None, **options: Any) -> Any:
        return self._send("PUT", path, body, **options)

    def patch(self, path: str, body: Any = None, **options: Any) -> Any:
        return self._send("PATCH", path, body, **options)

    def delete(self, path: str, body: Any = None, **options: Any) -> Any:
        return self._send("DELETE", path, body, **options)

    def _send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        if_match: int | None = None,
        headers: dict[str, str] | None = None,
        query_params: dict[str, str] | None = None,
    ) -> HttpResponseBase:
        sent = {**self._headers, **(headers or {})}
        if if_match is not None:
            sent["if-match"] = f'"{if_match}"'
        if isinstance(body, bytes):
            content = body
        else:
            content = b"" if body is None else json.dumps(body, default=_plain).encode()
        with (
            TestCase.captureOnCommitCallbacks(using="blocks", execute=True),
            TestCase.captureOnCommitCallbacks(using="default", execute=True),
        ):
            return self._client.generic(
                method,
                path if path.startswith("/api/") else f"/api/v1{path}",
                content,
                content_type="application/json",
                headers=sent,
                query_params=query_params,
            )


def _plain(value: Any) -> str:
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{value!r} is no JSON")
