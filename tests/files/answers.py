"""What an answer of the API says."""

from typing import Any


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The problem document, which has to be this one."""
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert (body["code"], body["status"]) == (code, status)
    assert body["type"] == f"/problems/{code}"
    assert body["title"]
    return body


def names(answer: Any) -> list[str]:
    """The names of a list's items."""
    assert answer.status_code == 200, answer.content
    return [item["name"] for item in answer.json()["items"]]
