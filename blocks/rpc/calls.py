"""The calls of the Block Service as they go over gRPC: name, deadline, whether to repeat.

One entry here, its rpc in blocks.proto, and a method of `client.RemoteBlockService`: that
is all that another call of `blocks.service.BlockService` needs.
"""

import collections.abc
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from types import NoneType
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from blocks.rpc import blocks_pb2, codec
from blocks.service import BlockService

SERVICE = blocks_pb2.DESCRIPTOR.services_by_name["BlockService"]

R = TypeVar("R")


@dataclass(frozen=True)
class Call(Generic[R]):
    """One rpc, and the function of BlockService that it stands for."""

    rpc: str
    function: Callable[..., R]
    # From the first attempt to the end of the answer.
    deadline: timedelta
    # Why an attempt whose fate is unknown may be repeated; "" where it may not.
    safe_to_repeat: str

    @property
    def path(self) -> str:
        return f"/{SERVICE.full_name}/{self.rpc}"

    @cached_property
    def descriptor(self) -> MethodDescriptor:
        return SERVICE.methods_by_name[self.rpc]

    @cached_property
    def request_class(self) -> type[Message]:
        return GetMessageClass(self.descriptor.input_type)

    @cached_property
    def response_class(self) -> type[Message]:
        return GetMessageClass(self.descriptor.output_type)

    @cached_property
    def _hints(self) -> dict[str, Any]:
        return get_type_hints(self.function)

    @property
    def answer(self) -> Any:
        """The type of what the function returns; of each item for an iterator."""
        hint = self._hints["return"]
        return get_args(hint)[0] if self.is_iterator else hint

    @cached_property
    def arguments(self) -> dict[str, Any]:
        return {name: hint for name, hint in self._hints.items() if name != "return"}

    @cached_property
    def is_iterator(self) -> bool:
        """Whether the answer is a stream of its own, not the pages of one value."""
        return get_origin(self._hints["return"]) is collections.abc.Iterator

    def request(self, arguments: Mapping[str, Any]) -> Message:
        """Raises ValueError for values that no message can hold."""
        return self.request_class(
            **{
                name: codec.encoder(self.arguments[name])(value)
                for name, value in arguments.items()
                if value is not None
            }
        )

    def arguments_of(self, request: Message) -> dict[str, Any]:
        """Raises ValueError for a request that says what this release does not know."""
        return {
            name: None
            if codec.is_optional(hint) and not request.HasField(name)
            else codec.decoder(hint)(getattr(request, name))
            for name, hint in self.arguments.items()
        }

    def response(self, value: Any) -> Message:
        """The answer as one message, or one item of an iterator."""
        if self.answer is NoneType:
            return self.response_class()
        encoded = codec.encoder(self.answer)(value)
        match encoded:
            case dict():
                return self.response_class(**encoded)
            case list():
                return self.response_class(items=encoded)
            case _:
                return self.response_class(data=encoded)

    def value_of(self, response: Message) -> Any:
        """Raises ValueError for an answer that says what this release does not know."""
        if self.answer is NoneType:
            return None
        decode = codec.decoder(self.answer)
        if codec.is_list(self.answer):
            return decode(getattr(response, "items"))  # noqa: B009 - a field of some messages
        return decode(getattr(response, "data") if self.answer is bytes else response)  # noqa: B009

    def pages(self, value: R) -> Iterator[Message]:
        """The messages in which an answer goes."""
        return codec.pages(self.response(value))

    def value_of_pages(self, responses: Iterable[Message]) -> R:
        value: R = self.value_of(codec.merged(responses, self.response_class()))
        return value


GET_OR_CREATE_BLOCK_LOCATIONS = Call(
    "GetOrCreateBlockLocations",
    BlockService.get_or_create_block_locations,
    timedelta(seconds=60),
    "An index that has its block already takes no second reference.",
)
REFRESH_UPLOAD_URLS = Call(
    "RefreshUploadUrls",
    BlockService.refresh_upload_urls,
    # It may read 256 MiB from the store.
    timedelta(minutes=5),
    "What is verified stays so, and a fresh URL renews the same upload.",
)
CREATE_PACK_UPLOADS = Call(
    "CreatePackUploads",
    BlockService.create_pack_uploads,
    timedelta(seconds=60),
    "The same pack of the same device renews the same upload.",
)
COMMIT_VERSION = Call(
    "CommitVersion",
    BlockService.verify_versions,
    # It may look at a thousand objects and read 64 MiB from the store.
    timedelta(minutes=3),
    "What was adopted is stored, and the verdict stays the same.",
)
RELEASE_VERSIONS = Call(
    "ReleaseVersions",
    BlockService.settle_versions,
    timedelta(minutes=3),
    "A decision told twice finds itself recorded; a release is final.",
)
COPY_VERSIONS = Call(
    "CopyVersions",
    BlockService.copy_versions,
    timedelta(minutes=3),
    "Rows that are copied already are left as they are.",
)
GET_BLOCK_DOWNLOAD_URLS = Call(
    "GetBlockDownloadUrls",
    BlockService.get_block_download_urls,
    timedelta(seconds=60),
    "It only reads.",
)
READ_VERSION = Call(
    "ReadVersion",
    BlockService.read_version,
    # A slow reader takes its time; where this ends a stream, the client goes on with another.
    timedelta(minutes=30),
    "It only reads.",
)
STATS = Call("Stats", BlockService.stats, timedelta(seconds=60), "It only reads.")
GET_SPACE_USED = Call(
    "GetSpaceUsed", BlockService.space_used, timedelta(seconds=60), "It only reads."
)
GET_CHANGED_BLOCK_COUNTS = Call(
    "GetChangedBlockCounts",
    BlockService.changed_block_counts,
    timedelta(seconds=60),
    "It only reads.",
)
LIST_RECORDED_IDS = Call(
    "ListRecordedIds", BlockService.recorded_ids, timedelta(seconds=60), "It only reads."
)
GET_RECORDED_VERSIONS = Call(
    "GetRecordedVersions",
    BlockService.recorded_versions,
    # The lists of a thousand versions, however long.
    timedelta(minutes=10),
    "It only reads.",
)
LIST_DAMAGED_IDS = Call(
    "ListDamagedIds", BlockService.damaged_ids, timedelta(seconds=60), "It only reads."
)

CALLS: tuple[Call[Any], ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Call)
)
