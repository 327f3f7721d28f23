"""Plain data to messages of blocks.proto and back, by the names of types and fields.

A dataclass of `blocks.service` is the message of its name, an enum's member READY of
Verdict is VERDICT_READY, a list inside a list is a message with `items`. So a new field or
type needs a line in blocks.proto and none here. `tests/blocks/rpc/test_codec.py` compares
every type with its message.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from google.protobuf.message import Message

from blocks.rpc import blocks_pb2
from blocks.rpc.limits import PAGE_BYTES

M = TypeVar("M", bound=Message)

_PLAIN = (str, int, bool, bytes)
_LISTS = (list, tuple, Sequence)


def _as_it_is(value: Any) -> Any:
    return value


def is_list(hint: Any) -> bool:
    """Whether values of this type are lists of some kind."""
    return get_origin(hint) in _LISTS


def is_optional(hint: Any) -> bool:
    """Whether None is one of the values."""
    return get_origin(hint) in (Union, UnionType) and NoneType in get_args(hint)


def label(member: StrEnum) -> str:
    """The name of an enum's member in blocks.proto."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(member).__name__)
    return f"{words.upper()}_{member.name}"


@cache
def encoder(hint: Any) -> Callable[[Any], Any]:
    """Makes of a value of this type what a message's constructor takes for it.

    None has no such form: whoever holds an optional value leaves it out.
    """
    if hint in _PLAIN or hint is datetime:
        return _as_it_is
    if hint is UUID:
        return str
    if is_optional(hint):
        [inner] = [each for each in get_args(hint) if each is not NoneType]
        return encoder(inner)
    if is_list(hint):
        return _list_encoder(get_args(hint)[0])
    if get_origin(hint) is dict:
        encode_value = encoder(get_args(hint)[1])
        return lambda value: {key: encode_value(each) for key, each in value.items()}
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        labels = {member: label(member) for member in hint}
        return labels.__getitem__
    if is_dataclass(hint):
        hints = get_type_hints(hint)
        parts = [(each.name, encoder(hints[each.name])) for each in fields(hint)]
        return lambda value: {
            name: encode(part)
            for name, encode in parts
            if (part := getattr(value, name)) is not None
        }
    raise TypeError(f"{hint} has no form in blocks.proto.")


def _list_encoder(item: Any) -> Callable[[Any], Any]:
    encode = encoder(item)
    if encode is _as_it_is:
        return list
    if is_list(item):
        return lambda values: [{"items": encode(value)} for value in values]
    return lambda values: [encode(value) for value in values]


@cache
def decoder(hint: Any) -> Callable[[Any], Any]:
    """Makes a value of this type of what a message holds for it.

    Raises ValueError for what this release does not know.
    """
    if hint in _PLAIN:
        return _as_it_is
    if hint is UUID:
        return UUID
    if hint is datetime:
        return lambda moment: moment.ToDatetime(UTC)
    if is_optional(hint):
        [inner] = [each for each in get_args(hint) if each is not NoneType]
        return decoder(inner)
    if is_list(hint):
        return _list_decoder(hint)
    if get_origin(hint) is dict:
        decode_value = decoder(get_args(hint)[1])
        # A loop over items() gives copies; asked by key, a map gives what it holds.
        return lambda value: {key: decode_value(value[key]) for key in value}
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _enum_decoder(hint)
    if is_dataclass(hint):
        return _dataclass_decoder(hint)
    raise TypeError(f"{hint} has no form in blocks.proto.")


def _list_decoder(hint: Any) -> Callable[[Any], Any]:
    item = get_args(hint)[0]
    made: Callable[[Iterable[Any]], Any] = tuple if get_origin(hint) is tuple else list
    decode = decoder(item)
    if decode is _as_it_is:
        return made
    if is_list(item):
        return lambda values: made([decode(value.items) for value in values])
    return lambda values: made([decode(value) for value in values])


def _enum_decoder(hint: type[StrEnum]) -> Callable[[int], StrEnum]:
    numbers = blocks_pb2.DESCRIPTOR.enum_types_by_name[hint.__name__].values_by_name
    members = {numbers[label(member)].number: member for member in hint}

    def decode(number: int) -> StrEnum:
        if number not in members:
            raise ValueError(f"{number} is no {hint.__name__} of this release.")
        return members[number]

    return decode


def _dataclass_decoder(hint: Any) -> Callable[[Message], Any]:
    hints = get_type_hints(hint)
    parts = [
        (each.name, decoder(hints[each.name]), is_optional(hints[each.name]))
        for each in fields(hint)
    ]
    return lambda message: hint(
        **{
            name: None
            if is_absent_possible and not message.HasField(name)
            else decode(getattr(message, name))
            for name, decode, is_absent_possible in parts
        }
    )


def pages(message: M) -> Iterator[M]:
    """The message as several of about PAGE_BYTES, which `merged` makes one again.

    Only between elements of its own lists: one element is never cut.
    """
    if message.ByteSize() <= PAGE_BYTES:
        yield message
        return
    page = type(message)()
    size_bytes = 0
    for field, value in message.ListFields():
        if not field.is_repeated:
            _put(page, field.name, value)
            continue
        for element in value:
            size_bytes += element.ByteSize() if isinstance(element, Message) else len(element)
            getattr(page, field.name).append(element)
            if size_bytes > PAGE_BYTES:
                yield page
                page = type(message)()
                size_bytes = 0
    if page.ByteSize():
        yield page


def _put(page: Message, name: str, value: Any) -> None:
    if isinstance(value, Message):
        getattr(page, name).CopyFrom(value)
    else:
        setattr(page, name, value)


def merged(parts: Iterable[M], into: M) -> M:
    """One message of the pages of an answer."""
    for part in parts:
        into.MergeFrom(part)
    return into
