"""The OpenAPI document says what the server does."""

import re
from typing import Any
from uuid import uuid4

import pytest
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from tests.files.trees import edit_file, put_file
from tests.files.uploading import Uploader

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def document():
    found = SchemaGenerator().get_schema(request=None, public=True)
    validate_schema(found)
    return found


def mismatches(document: Any, shape: Any, value: Any, where: str) -> list[str]:
    """Where a value is not what a schema says. Knows what our document uses."""
    name = shape.get("$ref", "").rpartition("/")[2]
    if name:
        shape = document["components"]["schemas"][name]
    if value is None:
        return [] if shape.get("nullable") else [f"{where}: null"]
    if "oneOf" in shape:
        tries = [mismatches(document, one, value, where) for one in shape["oneOf"]]
        return [] if [] in tries else min(tries, key=len)
    if "allOf" in shape:
        return [
            found for one in shape["allOf"] for found in mismatches(document, one, value, where)
        ]
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
    kind = shape.get("type")
    if kind is not None and type(value) is not kinds[kind]:
        return [f"{where}: {value!r} is no {kind}"]
    found = []
    if kind == "object":
        properties = shape.get("properties", {})
        # A problem has further fields, by its code; headers are a map.
        is_open = name == "Problem" or "additionalProperties" in shape
        unknown = set() if is_open else value.keys() - properties.keys()
        found += [f"{where}.{key} is unknown" for key in unknown]
        found += [
            f"{where}.{key} is absent" for key in set(shape.get("required", ())) - value.keys()
        ]
        for key in value.keys() & properties.keys():
            found += mismatches(document, properties[key], value[key], f"{where}.{key}")
    if kind == "array":
        for index, one in enumerate(value):
            found += mismatches(document, shape["items"], one, f"{where}.{index}")
    if "enum" in shape and value not in shape["enum"]:
        found.append(f"{where}: {value!r} is none of {shape['enum']}")
    if shape.get("format") == "uuid" and not re.fullmatch(r"[0-9a-f-]{36}", value):
        found.append(f"{where}: {value!r} is no UUID")
    return found


def answered(document, answer, method, template):
    """Check an answer against the document, and give it back."""
    operation = document["paths"][f"/api/v1{template}"][method]
    responses = operation["responses"]
    assert str(answer.status_code) in responses, (template, answer.status_code, answer.content)
    content = responses[str(answer.status_code)].get("content")
    if content is None:
        assert answer.content == b""
        return None
    (shape,) = (one["schema"] for one in content.values())
    assert mismatches(document, shape, answer.json(), "answer") == []
    return answer.json()


def test_answers_have_the_shapes_of_the_document(api, laptop, phone, root, make, document):
    client = api(laptop)
    folder = make(root, "folder")
    inside = put_file(laptop, folder["folder_id"], "inside")
    file = put_file(laptop, root["folder_id"], "file")
    edit_file(phone, inside)
    one = f"/folders/{folder['folder_id']}"
    namespace_id = root["namespace_id"]

    def get(path, template=None, **query):
        return answered(document, client.get(path, **query), "get", template or path)

    get("/account")
    get("/limits")
    get("/namespaces")
    get(f"/namespaces/{namespace_id}/digest", "/namespaces/{namespace_id}/digest")
    assert get("/devices")["items"]
    get("/folders/root", "/folders/{folder_id}")
    assert len(get("/folders/root/children", "/folders/{folder_id}/children")["items"]) == 2
    get(f"{one}/path", "/folders/{folder_id}/path")
    get(f"/files/{file.pk}", "/files/{file_id}")
    assert get(f"/files/{file.pk}/devices", "/files/{file_id}/devices")["items"]
    assert get("/changes")["entries"]
    get("/changes/latest")
    get("/changes/snapshot", namespace=namespace_id)
    answered(document, client.post("/changes", {"cursor": ""}), "post", "/changes")
    body = {"parent_folder_id": root["folder_id"], "name": "new"}
    for _ in range(2):
        answered(document, client.post("/folders", body), "post", "/folders")
    link = answered(document, client.post("/links", {"file_id": file.pk}), "post", "/links")
    assert get("/links")["items"]
    gone = client.delete(f"/links/{link['link_id']}")
    answered(document, gone, "delete", "/links/{link_id}")
    item = {"op": "delete_folder", "folder_id": folder["folder_id"], "as_of_seq": inside.rev}
    batch = client.post("/batch", {"items": [item, {**item, "if_match": folder["rev"]}]})
    results = answered(document, batch, "post", "/batch")["items"]
    assert [result["status"] for result in results] == [428, 200]
    deleted = client.delete(f"/files/{file.pk}", if_match=file.rev)
    answered(document, deleted, "delete", "/files/{file_id}")
    assert len(get("/trash")["items"]) == 2
    restored = client.post(f"/trash/{file.pk}/restore", {})
    state = answered(document, restored, "post", "/trash/{item_id}/restore")
    patched = client.patch(f"/files/{file.pk}", {"name": "x"}, if_match=state["rev"])
    answered(document, patched, "patch", "/files/{file_id}")
    purged = client.delete(f"/trash/{folder['folder_id']}")
    answered(document, purged, "delete", "/trash/{item_id}")
    answered(document, client.delete("/trash"), "delete", "/trash")
    renamed = client.patch(f"/devices/{phone.pk}", {"name": "x"})
    answered(document, renamed, "patch", "/devices/{device_id}")
    answered(document, client.delete(f"/devices/{phone.pk}"), "delete", "/devices/{device_id}")
    answered(document, client.delete("/devices/this"), "delete", "/devices/this")


def test_answers_about_content_have_the_shapes_of_the_document(laptop, document):
    on_laptop = Uploader(laptop)
    items = [on_laptop.item(name.encode(), name=name) for name in ("a", "b")]

    def post(path, body, template=None):
        answer = on_laptop.api.post(path, body)
        return answered(document, answer, "post", template or path)

    begun = post("/files/upload/init", {"items": [*items, None]})["items"]
    post("/files/upload/init", on_laptop.item(b"c", name="c"))
    first, second, _ = (each.get("upload_id") for each in begun)
    wanted = {"upload_id": first, "want": [items[0]["blocks"][0]["block_hash"]]}
    post("/files/upload/urls", {"items": [wanted, {"upload_id": str(uuid4())}]})
    post(f"/files/upload/{first}/urls", {}, "/files/upload/{upload_id}/urls")
    on_laptop.send_blocks(first, b"a")
    commits = {"items": [{"upload_id": first}, {"upload_id": second}]}
    done, refused = post("/files/upload/commit", commits)["items"]
    assert (done["status"], refused["status"]) == (200, 409)
    state = on_laptop.api.get(f"/files/upload/{second}")
    answered(document, state, "get", "/files/upload/{upload_id}")
    downloads = {"items": [{"file_id": done["file_id"]}, {"file_id": str(uuid4())}]}
    assert post("/files/download", downloads)["sources"]
    one = on_laptop.api.get(f"/files/download/{done['file_id']}")
    answered(document, one, "get", "/files/download/{file_id}")
    history = on_laptop.api.get(f"/files/{done['file_id']}/versions")
    answered(document, history, "get", "/files/{file_id}/versions")


def test_answers_about_conflicts_have_the_shapes_of_the_document(laptop, phone, document):
    on_laptop = Uploader(laptop)
    file = on_laptop.put(b"first", name="a")["file"]
    Uploader(phone).edit(file, b"from the phone")
    on_laptop.edit(file, b"from the laptop")

    listed = answered(document, on_laptop.api.get("/conflicts"), "get", "/conflicts")
    [conflict] = listed["items"]
    one = f"/conflicts/{conflict['conflict_id']}"
    template = "/conflicts/{conflict_id}"
    answered(document, on_laptop.api.get(one), "get", template)
    for status in (200, 412):
        settled = on_laptop.api.post(f"{one}/settle", {"keep": "mine"}, if_match=conflict["rev"])
        assert settled.status_code == status
        answered(document, settled, "post", f"{template}/settle")


def test_refusals_have_the_shape_of_a_problem(api, laptop, stranger, root, document):
    client = api(laptop)
    body = {"parent_folder_id": str(uuid4()), "name": "x"}

    answered_as = document["components"]["schemas"]["Problem"]
    for answer in (
        client.post("/folders", body),
        client.patch("/folders/root", {"name": "x"}),
        client.get("/changes", cursor="x"),
        api(None).get("/account"),
    ):
        known = {key: answer.json()[key] for key in answered_as["properties"]}
        assert mismatches(document, answered_as, known, "problem") == []


def test_each_operation_says_who_may_and_what_it_is(document):
    operations = {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/api/v1/")
    }
    assert len(operations) > 40
    for key, operation in operations.items():
        assert operation.get("summary"), key
        if key == ("post", "/api/v1/devices/sign-in"):
            assert not any(operation.get("security", []))
        else:
            either: list[dict[str, list[str]]] = [{"deviceToken": []}, {"browserSession": []}]
            assert operation["security"] == either, key
    ids = [operation["operationId"] for operation in operations.values()]
    assert len(set(ids)) == len(ids)
    assert set(document["components"]["securitySchemes"]) == {"deviceToken", "browserSession"}
