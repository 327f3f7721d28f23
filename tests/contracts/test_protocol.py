"""docs/protocol.md says what the server answers and what the client asks; neither may differ."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from django.conf import settings
from django.test import Client
from django.urls import Resolver404, URLPattern, URLResolver, get_resolver, resolve
from drf_spectacular.generators import SchemaGenerator

from drive_project.common.errors import all_errors
from notifications.routing import POLL_PATH

PROTOCOL = (Path(settings.BASE_DIR) / "docs" / "protocol.md").read_text()
BASE = "/api/v1"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

# A method and an address, as in `GET /folders/{id}`.
Request = tuple[str, str]


def plain(path: str) -> str:
    """Without its query, and with every id alike."""
    return re.sub(r"\{[^}]*\}|<[^>]*>", "{}", path.partition("?")[0])


def documented() -> set[Request]:
    """Every request that the document names, below /api/v1."""
    named = re.findall(rf"`({'|'.join(METHODS)}) (/[^\s`]*)", PROTOCOL)
    requests = {(method, plain(path.removeprefix(BASE))) for method, path in named}
    # "`GET /files/upload/{upload_id}` → …; `DELETE` aborts."
    assert "`DELETE` aborts" in PROTOCOL
    requests.add(("DELETE", "/files/upload/{}"))
    return {
        (method, path) for method, path in requests if not path.startswith(("/ws/", "/problems/"))
    }


def methods_of(view: object) -> set[str]:
    """What a class-based view answers."""
    answered = getattr(view, "cls", None) or view.view_class  # type: ignore[attr-defined]
    return {method for method in METHODS if hasattr(answered, method.lower())}


def routes(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[Request]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, path)
        elif f"/{path}".startswith(f"{BASE}/"):
            for method in methods_of(pattern.callback):
                yield method, plain(f"/{path}".removeprefix(BASE))


def served() -> set[Request]:
    """Every request that the server answers below /api/v1."""
    poll = POLL_PATH.removeprefix(BASE)
    return {*routes(get_resolver().url_patterns), ("GET", poll)}


def asked() -> set[Request]:
    """Every request that the sync client makes, read from its source."""
    requests = set()
    for source in sorted((Path(settings.BASE_DIR) / "sync_client").rglob("*.py")):
        for node in ast.walk(ast.parse(source.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(attr="request"), args=[ast.Constant(method), path, *_]
                ) if method in METHODS and not _is_any_list(path):
                    requests |= {(method, each) for each in _paths_of(path, source)}
                case ast.Call(func=ast.Name("pages"), args=[_, path]):
                    requests |= {("GET", each) for each in _paths_of(path, source)}
    return requests


def _is_any_list(path: ast.expr) -> bool:
    """The one request of `listing.pages`, whose callers write the path."""
    return isinstance(path, ast.Name) and path.id == "path"


def _paths_of(path: ast.expr, source: Path) -> set[str]:
    match path:
        case ast.Constant(str(text)):
            pass
        case ast.JoinedStr(values=parts):
            text = "".join(
                part.value if isinstance(part, ast.Constant) else "{}"  # type: ignore[misc]
                for part in parts
            )
        case _:
            raise AssertionError(f"{source.name}:{path.lineno}: the path is not written out")
    text = "/" + text.lstrip("/")
    # An item of either kind.
    if text.startswith("/{}s/"):
        return {text.replace("{}", kind, 1) for kind in ("file", "folder")}
    return {text}


def is_answered(method: str, path: str) -> bool:
    """Whether the server has this request; a word may stand where an id is expected."""
    if path == POLL_PATH.removeprefix(BASE):
        return method == "GET"
    try:
        found = resolve(BASE + path.replace("{}", str(uuid4())))
    except Resolver404:
        return False
    return method in methods_of(found.func)


def test_the_server_answers_what_the_document_names():
    missing = [request for request in sorted(documented()) if not is_answered(*request)]
    assert missing == []


def test_the_document_names_what_the_server_answers():
    assert sorted(served() - documented()) == []


def test_the_openapi_document_has_what_the_server_answers():
    document = SchemaGenerator().get_schema(request=None, public=True)
    described = {
        (method.upper(), plain(path.removeprefix(BASE)))
        for path, methods in document["paths"].items()
        for method in methods
    }
    assert sorted(served() - described) == []


def test_the_client_asks_only_for_what_the_document_names():
    requests = asked()
    # Were there few, this test would not read the source as it is written now.
    assert len(requests) > 15
    known = documented()
    unknown = [
        (method, path)
        for method, path in sorted(requests)
        # `root` and `this` stand where the document writes {id}.
        if (method, path) not in known
        and (method, re.sub("/(root|this)$", "/{}", path)) not in known
    ]
    assert unknown == []


def test_the_document_lists_the_registry():
    listed = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \| (.+) \|$", PROTOCOL, re.MULTILINE)
    assert sorted(listed) == sorted(
        (error.code, str(error.status), error.title) for error in all_errors()
    )


def test_a_code_in_the_text_stands_beside_its_status():
    registry = {error.code: str(error.status) for error in all_errors()}
    named = re.findall(r"\b([45]\d\d) `([a-z]+(?:-[a-z]+)+)`", PROTOCOL)
    assert len(named) >= 10
    assert [(status, code) for status, code in named if registry.get(code) != status] == []


@pytest.mark.parametrize("error", all_errors(), ids=lambda error: error.code)
def test_every_code_has_a_page_that_explains_it(error):
    page = Client().get(f"/problems/{error.code}")
    assert page.status_code == 200
    assert error.title in page.content.decode()


def test_a_code_that_is_not_in_the_registry_has_no_page():
    assert Client().get("/problems/made-up").status_code == 404


def test_every_code_is_one_classs_alone():
    codes = [error.code for error in all_errors()]
    assert len(codes) == len(set(codes))
