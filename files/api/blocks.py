"""Blocks and signed requests as uploads and downloads spell them."""

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request

from blocks.service import (
    MAX_BLOCK_BYTES,
    MAX_BLOCKS_PER_CALL,
    MAX_PACK_BYTES,
    MIN_BLOCK_BYTES,
    BlockClaim,
    BlockLocation,
    PackedBlock,
)
from drive_project.common.errors import InvalidRequest
from drive_project.common.hashes import is_sha256
from files.api import content_schemas as schemas
from files.api.items import signed_request_json

HASH_MESSAGE = "A hash is SHA-256: 64 lower-case hexadecimal digits."


@extend_schema_field({"type": "string", "pattern": "^[0-9a-f]{64}$"})
class HashField(serializers.Field[str, str, str, Any]):
    """A SHA-256 in lower-case hex."""

    def to_internal_value(self, data: Any) -> str:
        if not is_sha256(data):
            raise serializers.ValidationError(HASH_MESSAGE)
        text: str = data
        return text

    def to_representation(self, value: str) -> str:
        return value


def _is_count(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


class _ListOfBlocks(serializers.Field[Any, Any, Any, Any]):
    """A list of up to 10,000 small objects, checked in one loop: a serializer for each of
    them would take seconds.
    """

    names = frozenset({"block_hash", "size_bytes"})

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, list):
            raise serializers.ValidationError("This is a list.")
        if len(data) > MAX_BLOCKS_PER_CALL:
            raise serializers.ValidationError(f"At most {MAX_BLOCKS_PER_CALL} blocks a request.")
        blocks = []
        for index, each in enumerate(data):
            if not isinstance(each, dict):
                raise serializers.ValidationError({str(index): ["A block is an object."]})
            if unknown := each.keys() - self.names:
                raise serializers.ValidationError(
                    {str(index): {name: ["Unknown field."] for name in unknown}}
                )
            if message := self.wrong(each):
                raise serializers.ValidationError({str(index): [message]})
            blocks.append(self.block(each))
        return blocks

    def wrong(self, data: dict[str, Any]) -> str:
        """Why this is no block; "" if it is one."""
        if not is_sha256(data.get("block_hash")):
            return HASH_MESSAGE
        if not _is_count(data.get("size_bytes"), MIN_BLOCK_BYTES, MAX_BLOCK_BYTES):
            return f"A block has {MIN_BLOCK_BYTES} to {MAX_BLOCK_BYTES} bytes."
        return ""

    def block(self, data: dict[str, Any]) -> Any:
        raise NotImplementedError


@extend_schema_field(schemas.BlockShape(many=True))
class BlockListField(_ListOfBlocks):
    """Blocks of a file, in order: gives a list of BlockClaim."""

    def block(self, data: dict[str, Any]) -> BlockClaim:
        return BlockClaim(data["block_hash"], data["size_bytes"])


@extend_schema_field(schemas.PackedBlockShape(many=True))
class PackedBlockListField(_ListOfBlocks):
    """Blocks of a pack: gives a list of PackedBlock."""

    names = _ListOfBlocks.names | {"offset"}

    def wrong(self, data: dict[str, Any]) -> str:
        if not _is_count(data.get("offset"), 0, MAX_PACK_BYTES):
            return f"An offset is 0 to {MAX_PACK_BYTES} bytes."
        return super().wrong(data)

    def block(self, data: dict[str, Any]) -> PackedBlock:
        return PackedBlock(data["block_hash"], data["offset"], data["size_bytes"])


def check_block_total(items: Sequence[Any]) -> None:
    """Raises InvalidRequest where the items of a batch name too many blocks together."""
    total = sum(
        len(item["blocks"])
        for item in items
        if isinstance(item, dict) and isinstance(item.get("blocks"), list)
    )
    if total > MAX_BLOCKS_PER_CALL:
        raise InvalidRequest(f"At most {MAX_BLOCKS_PER_CALL} blocks a request; these are {total}.")


def locations_json(request: Request, locations: Sequence[BlockLocation]) -> dict[str, Any]:
    """What to do about each block, and where to send those that come with a URL."""
    return {
        "blocks": [
            {
                "block_hash": location.block_hash,
                "size_bytes": location.size_bytes,
                "state": location.state.value,
            }
            for location in locations
        ],
        "uploads": [
            {
                "block_hash": location.block_hash,
                **signed_request_json(request, location.upload),
            }
            for location in locations
            if location.upload is not None
        ],
    }
