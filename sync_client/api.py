"""The server's HTTP API over the network: the real `ports.Api`.

Tokens go to one server only, never to a redirect's target or to the block store, and
neither tokens nor URLs are ever logged or shown.
"""

import logging
import platform
import random
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx

from sync_client import __version__
from sync_client.errors import (
    ApiProblem,
    LoginRevoked,
    NotDrive,
    Stopped,
    SyncError,
    Transient,
    Unreachable,
)
from sync_client.trust import trusted

# A batch of 1,000 files is one transaction on the server, which may have to wait its turn.
TIMEOUT = httpx.Timeout(120, connect=10)
ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.3
# Longer waits are the caller's: it can say so, and hear when the user asks it to stop.
LONGEST_PAUSE_SECONDS = 5.0
USER_AGENT = f"drive-sync/{__version__} ({platform.system()})"

# Reads that are POSTs because of their long bodies, and steps of an upload that name the
# upload: repeating them is harmless without a key.
_REPEATABLE_POSTS = ("changes", "files/download", "files/upload/")

# httpx logs every URL at INFO, and those of blocks are secrets.
for _chatty in ("httpx", "httpcore", "hpack"):
    logging.getLogger(_chatty).setLevel(logging.WARNING)


class HttpApi:
    """A server as one device sees it. Threads may share it; close it when done."""

    def __init__(
        self,
        server_url: str,
        token: str | None,
        *,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._client = httpx.Client(
            verify=trusted(),
            base_url=server_url.rstrip("/") + "/api/v1/",
            headers={
                "User-Agent": USER_AGENT,
                "Accept": "application/json, application/problem+json",
                **({"Authorization": f"Bearer {token}"} if token else {}),
            },
            timeout=TIMEOUT,
            # Only TLS negotiates HTTP/2.
            http2=urlsplit(server_url).scheme == "https",
            # A redirect would carry the token wherever the answer says.
            follow_redirects=False,
        )
        # Waiting here ends at once when the process is told to stop.
        self._closed = threading.Event()
        self._sleep = sleep or self._closed.wait

    def close(self) -> None:
        """End all connections; requests that wait for their next attempt give up."""
        self._closed.set()
        self._client.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        json: dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> dict[str, Any]:
        """One request under /api/v1; an empty answer is {}.

        What may be repeated is tried up to four times within some seconds. timeout_seconds:
        how long the server may take to answer (120 without). Raises Transient, ApiProblem
        and LoginRevoked.
        """
        may_repeat = _is_repeatable(method, path, json, headers)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._request_once(method, path, json, params, headers, timeout_seconds)
            except Transient as error:
                pause = error.retry_after or pause_before(attempt + 1)
                last = not may_repeat or attempt == ATTEMPTS or pause > LONGEST_PAUSE_SECONDS
                if last or self._closed.is_set():
                    raise
            self._sleep(pause)
        raise AssertionError("the last attempt answers or raises")

    def _request_once(
        self,
        method: str,
        path: str,
        json: dict[str, Any] | None,
        params: dict[str, str] | None,
        headers: dict[str, str] | None,
        timeout_seconds: float | None,
    ) -> dict[str, Any]:
        try:
            response = self._client.request(
                method,
                path.lstrip("/"),
                json=json,
                params=params,
                headers=headers,
                timeout=httpx.Timeout(timeout_seconds, connect=10) if timeout_seconds else TIMEOUT,
            )
        except httpx.TransportError as error:
            raise _no_answer(error) from error
        except RuntimeError as error:
            if self._client.is_closed:
                raise Stopped("The connection was closed.") from error
            raise
        if response.is_success:
            return _json_of(response)
        raise error_of(response)


def pause_before(attempt: int) -> float:
    """Seconds to wait before the second, third … attempt: doubled each time, with jitter.

    Devices that lost their server at one moment must not come back at one moment.
    """
    longest: float = min(FIRST_PAUSE_SECONDS * 4 ** (attempt - 2), LONGEST_PAUSE_SECONDS)
    return longest * random.uniform(0.5, 1)  # noqa: S311 - jitter, not a secret


def error_of(response: httpx.Response) -> SyncError:
    """The error that an answer other than success means."""
    problem = _problem_of(response)
    status = response.status_code
    if status == 401 and problem:
        return LoginRevoked("The server no longer knows this device. Sign in again: drive login")
    if status in {408, 429} or (status >= 500 and not (problem and status == 507)):
        retry_after = (problem or {}).get(
            "retry_after_seconds", response.headers.get("Retry-After")
        )
        return Transient(
            f"The server answered {status}: {_text(problem)}",
            retry_after=_seconds(retry_after),
        )
    if problem is None:
        hint = " (a redirect: use the address it leads to)" if response.is_redirect else ""
        # A proxy, or the sign-in page of a network: it passes.
        return NotDrive(f"The server answered {status} as no Drive server does{hint}.")
    return _api_problem(status, problem)


def problem_error(problem: dict[str, Any]) -> ApiProblem | Transient:
    """The error for a refused item of a batch."""
    status = int(problem.get("status", 400))
    if status in {429, 500, 502, 503, 504}:
        return Transient(_text(problem), retry_after=_seconds(problem.get("retry_after_seconds")))
    return _api_problem(status, problem)


def _api_problem(status: int, problem: dict[str, Any]) -> ApiProblem:
    known = {"type", "title", "status", "code", "detail"}
    return ApiProblem(
        status,
        str(problem.get("code", "unexpected-answer")),
        _text(problem),
        {key: value for key, value in problem.items() if key not in known},
    )


def _is_repeatable(
    method: str, path: str, json: dict[str, Any] | None, headers: dict[str, str] | None
) -> bool:
    """Whether doing it twice is the same as doing it once."""
    if method == "GET" or path.lstrip("/").startswith(_REPEATABLE_POSTS):
        return True
    if headers and "Idempotency-Key" in headers:
        return True
    items = (json or {}).get("items", [json or {}])
    return bool(items) and all("op_id" in item for item in items)


def _json_of(response: httpx.Response) -> dict[str, Any]:
    if not response.content:
        return {}
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        # Such as the sign-in page of a hotel's network: it passes.
        raise NotDrive("The answer did not come from a Drive server.")
    return answer


def _problem_of(response: httpx.Response) -> dict[str, Any] | None:
    if not response.headers.get("Content-Type", "").startswith("application/problem+json"):
        return None
    try:
        problem = response.json()
    except ValueError:
        return None
    return problem if isinstance(problem, dict) and "code" in problem else None


def _text(problem: dict[str, Any] | None) -> str:
    return str((problem or {}).get("detail") or (problem or {}).get("title") or "no reason given")


def _seconds(value: Any) -> float | None:
    try:
        return max(0.0, float(value))
    except (TypeError, ValueError):
        return None


def _no_answer(error: httpx.TransportError) -> Transient:
    """What a person can use of a transport error; its own text could hold a URL."""
    match error:
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            return Unreachable("The server does not answer.")
        case httpx.TimeoutException():
            return Transient("The server took too long to answer.")
        case httpx.ConnectError() if "CERTIFICATE" in str(error).upper():
            return Unreachable("The server's certificate is not one that this system trusts.")
        case httpx.ConnectError():
            return Unreachable("The server cannot be reached.")
        case httpx.UnsupportedProtocol():
            return Unreachable("The server's address must begin with http:// or https://.")
    return Transient("The connection to the server broke.")
