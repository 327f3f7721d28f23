"""A device that uploads and downloads over HTTP, with a real block store."""

import asyncio
import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx

from blocks import local_store
from files.models import UserDevice
from tests.people import Api


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def cut(data: bytes, size_bytes: int) -> list[bytes]:
    """Any cutting is fine for the server; this one is plain."""
    return [data[start : start + size_bytes] for start in range(0, len(data), size_bytes)]


@cache
def to_s3() -> httpx.Client:
    """One for all threads: making one costs more than a request."""
    return httpx.Client(trust_env=False)


def send(request: dict[str, Any], body: bytes | None = None, **headers: str) -> httpx.Response:
    """Carry out a signed request: at S3 by HTTP, for our own store at its door."""
    address = urlsplit(request["url"])
    if address.netloc != "testserver":
        return to_s3().request(
            request["method"],
            request["url"],
            content=body,
            headers={**request["headers"], **headers},
        )

    async def carry_out() -> httpx.Response:
        transport = httpx.ASGITransport(app=local_store.application)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            return await client.request(
                request["method"],
                f"{address.path}?{address.query}",
                content=body,
                headers={**request["headers"], **headers},
            )

    return asyncio.run(carry_out())


class Uploader:
    """One device's uploads, step by step or all at once."""

    def __init__(self, device: UserDevice) -> None:
        self.device = device
        self.api = Api(device)

    @property
    def root(self) -> str:
        folder_id: str = self.api.get("/folders/root").json()["folder_id"]
        return folder_id

    def item(self, data: bytes, *, block_bytes: int = 1 << 20, **fields: Any) -> dict[str, Any]:
        """The body of an init: a new file in the root, or what the fields say."""
        blocks = cut(data, block_bytes)
        item: dict[str, Any] = {
            "size_bytes": len(data),
            "content_hash": sha256(data),
            "blocks": [{"block_hash": sha256(each), "size_bytes": len(each)} for each in blocks],
            **fields,
        }
        if "file_id" not in item:
            item.setdefault("parent_folder_id", None)
            item["parent_folder_id"] = item["parent_folder_id"] or self.root
        return item

    def init(self, data: bytes, **fields: Any) -> Any:
        return self.api.post("/files/upload/init", self.item(data, **fields))

    def send_blocks(self, upload_id: str, data: bytes, *, block_bytes: int = 1 << 20) -> None:
        """PUT what the server says is missing."""
        by_hash = {sha256(each): each for each in cut(data, block_bytes)}
        state = self.urls(upload_id, want=list(by_hash))
        for upload in state["uploads"]:
            answer = send(upload, by_hash[upload["block_hash"]])
            assert answer.status_code in (200, 201, 204, 412), answer.text

    def urls(
        self, upload_id: str, *, done: Sequence[str] = (), want: Sequence[str] = ()
    ) -> dict[str, Any]:
        answer = self.api.post(
            f"/files/upload/{upload_id}/urls", {"done": list(done), "want": list(want)}
        )
        assert answer.status_code == 200, answer.content
        state: dict[str, Any] = answer.json()
        return state

    def commit(self, upload_id: str) -> Any:
        return self.api.post("/files/upload/commit", {"upload_id": upload_id})

    def begin(self, data: bytes, *, block_bytes: int = 1 << 20, **fields: Any) -> str:
        """An upload whose blocks have arrived; its id."""
        answer = self.init(data, block_bytes=block_bytes, **fields)
        assert answer.status_code == 201, answer.content
        upload_id: str = answer.json()["upload_id"]
        if data:
            self.send_blocks(upload_id, data, block_bytes=block_bytes)
        return upload_id

    def put(self, data: bytes, **fields: Any) -> dict[str, Any]:
        """A content from beginning to end; the answer to its commit."""
        answer = self.commit(self.begin(data, **fields))
        assert answer.status_code == 200, answer.content
        committed: dict[str, Any] = answer.json()
        return committed

    def edit(self, file: dict[str, Any], data: bytes, **fields: Any) -> dict[str, Any]:
        """A new content of a file, made on the version that `file` shows."""
        base = fields.pop("base", file["current_version_id"])
        return self.put(data, file_id=file["file_id"], base_version_id=base, **fields)

    def read(self, file_id: str, version: str | None = None) -> bytes:
        """The content, block by block, each of them checked."""
        query = {} if version is None else {"version": version}
        answer = self.api.get(f"/files/download/{file_id}", **query)
        assert answer.status_code == 200, answer.content
        blocks = []
        for block in answer.json()["blocks"]:
            data = send(block).content
            assert (sha256(data), len(data)) == (block["block_hash"], block["size_bytes"])
            blocks.append(data)
        content = b"".join(blocks)
        assert sha256(content) == answer.json()["content_hash"]
        return content

    def file(self, file_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get(f"/files/{file_id}").json()
        return found

    def names(self, folder_id: str | None = None) -> list[str]:
        page = self.api.get(f"/folders/{folder_id or self.root}/children").json()
        return [item["name"] for item in page["items"]]

    def used(self) -> tuple[int, int]:
        account = self.api.get("/account").json()
        return account["used_bytes"], account["reserved_bytes"]
