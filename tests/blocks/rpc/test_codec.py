"""The messages are the data types: nothing is lost, renamed or left out on the way."""

import inspect
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, cast, get_args, get_origin, get_type_hints
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks import service
from blocks.rpc import blocks_pb2, codec
from blocks.rpc.calls import CALLS, SERVICE, Call
from blocks.rpc.client import RemoteBlockService
from blocks.rpc.limits import MAX_MESSAGE_BYTES, PAGE_BYTES
from blocks.service import (
    MAX_BLOCKS_PER_CALL,
    MAX_URLS_PER_CALL,
    BlockService,
    Downloads,
    RefreshedUpload,
    SignedRequest,
    Source,
    Verdict,
)

MESSAGES = blocks_pb2.DESCRIPTOR.message_types_by_name
TYPES = [
    kind
    for _, kind in inspect.getmembers(service, inspect.isclass)
    if kind.__module__ == service.__name__ and (is_dataclass(kind) or issubclass(kind, StrEnum))
]


def names(descriptor: Any) -> set[str]:
    return set(descriptor.fields_by_name)


def hint_inside(hint: Any) -> Any:
    """What an optional or a list is about."""
    while codec.is_optional(hint) or codec.is_list(hint):
        hint = get_args(hint)[0]
    return hint


def assert_matches(field: Any, hint: Any) -> None:
    """The field of a message can hold what this type says."""
    is_many = codec.is_list(hint) or get_origin(hint) is dict
    assert field.is_repeated == is_many, field.full_name
    if not is_many and (field.message_type is None or codec.is_optional(hint)):
        # A number or text that may be absent must be able to say so.
        assert field.has_presence == codec.is_optional(hint), field.full_name
    inside = hint_inside(hint)
    if is_dataclass(inside) and not codec.is_list(get_args(hint)[0] if is_many else None):
        assert field.message_type.name == inside.__name__


@pytest.mark.parametrize("kind", [each for each in TYPES if is_dataclass(each)])
def test_every_data_type_is_a_message_of_its_fields(kind: Any) -> None:
    message = MESSAGES[kind.__name__]
    assert names(message) == {each.name for each in fields(kind)}
    for name, hint in get_type_hints(kind).items():
        assert_matches(message.fields_by_name[name], hint)


@pytest.mark.parametrize("kind", [each for each in TYPES if issubclass(each, StrEnum)])
def test_every_enum_has_its_members(kind: type[StrEnum]) -> None:
    values = blocks_pb2.DESCRIPTOR.enum_types_by_name[kind.__name__].values_by_name
    others = set(values) - {codec.label(member) for member in kind}
    assert [values[name].number for name in others] == [0]


def test_every_call_of_the_service_goes_over_grpc() -> None:
    functions = {name for name in vars(BlockService) if not name.startswith("_")}

    assert {call.function.__name__ for call in CALLS} == functions
    assert {call.rpc for call in CALLS} == {method.name for method in SERVICE.methods}
    assert len(CALLS) == len(functions)
    assert functions <= vars(RemoteBlockService).keys()


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.rpc)
def test_a_request_has_the_arguments_of_its_call(call: Call[Any]) -> None:
    request = call.request_class.DESCRIPTOR
    assert names(request) == call.arguments.keys()
    for name, hint in call.arguments.items():
        assert_matches(request.fields_by_name[name], hint)


# --- Values ---------------------------------------------------------------------------------

NUMBERS = st.integers(min_value=-(2**63), max_value=2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a type."""
    if codec.is_optional(hint):
        return st.none() | values(get_args(hint)[0])
    if codec.is_list(hint):
        lists = st.lists(values(get_args(hint)[0]), max_size=4)
        return lists.map(tuple) if get_origin(hint) is tuple else lists
    if get_origin(hint) is dict:
        return st.dictionaries(TEXTS, values(get_args(hint)[1]), max_size=4)
    if is_dataclass(hint):
        hints = get_type_hints(hint)
        return st.builds(cast(Any, hint), **{name: values(each) for name, each in hints.items()})
    if issubclass(hint, StrEnum):
        return st.sampled_from(hint)
    plain: dict[Any, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        int: NUMBERS,
        str: TEXTS,
        bytes: st.binary(max_size=20),
        UUID: st.uuids(),
        datetime: st.datetimes(timezones=st.just(UTC)),
        type(None): st.none(),
    }
    return plain[hint]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.rpc)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_what_goes_in_comes_out(call: Call[Any], data: st.DataObject) -> None:
    arguments = {name: data.draw(values(hint)) for name, hint in call.arguments.items()}
    sent = call.request(arguments).SerializeToString()
    assert call.arguments_of(call.request_class.FromString(sent)) == arguments

    answer = data.draw(values(call.answer))
    sent = call.response(answer).SerializeToString()
    assert call.value_of(call.response_class.FromString(sent)) == answer


@pytest.mark.parametrize("number", [0, 99])
def test_what_this_release_does_not_know_is_no_value(number: int) -> None:
    with pytest.raises(ValueError, match="Verdict"):
        codec.decoder(Verdict)(number)


@pytest.mark.parametrize("value", [2**63, "\ud800"])
def test_what_no_message_can_hold_is_refused(value: object) -> None:
    call = next(call for call in CALLS if call.rpc == "ListRecordedIds")
    with pytest.raises((ValueError, TypeError)):
        call.request({"limit": value, "after": None})


# --- Pages ----------------------------------------------------------------------------------


def url(number: int) -> SignedRequest:
    """About as long as those of S3."""
    return SignedRequest("PUT", f"https://s3/{number}?{'x' * 500}", {"a": "b"}, datetime.now(UTC))


def pages_of(call_name: str, value: Any) -> Iterator[Any]:
    call = next(call for call in CALLS if call.rpc == call_name)
    pages = list(call.pages(value))
    assert call.value_of_pages(pages) == value
    return iter(pages)


def test_an_answer_for_ten_gibibytes_goes_in_pages() -> None:
    downloads = Downloads(
        (), tuple(Source(url(number), 1 << 20) for number in range(MAX_BLOCKS_PER_CALL))
    )

    sizes = [page.ByteSize() for page in pages_of("GetBlockDownloadUrls", downloads)]

    assert sum(sizes) > 5_000_000
    assert max(sizes) < PAGE_BYTES + 10_000 < MAX_MESSAGE_BYTES


def test_texts_are_cut_like_messages() -> None:
    ids = [UUID(int=number) for number in range(100_000)]

    sizes = [page.ByteSize() for page in pages_of("ListRecordedIds", ids)]

    assert len(sizes) > 2
    assert max(sizes) < PAGE_BYTES + 300_000


def test_the_longest_answer_about_one_upload_fits_in_a_message() -> None:
    """A page ends only between two of them."""
    refreshed = RefreshedUpload(
        verified=tuple(f"{number:064}" for number in range(MAX_URLS_PER_CALL)),
        missing=tuple(f"{number:064}" for number in range(MAX_BLOCKS_PER_CALL)),
        urls={f"{number:064}": url(number) for number in range(MAX_URLS_PER_CALL)},
    )

    sizes = [page.ByteSize() for page in pages_of("RefreshUploadUrls", [refreshed] * 2)]

    assert len(sizes) == 2
    assert max(sizes) < MAX_MESSAGE_BYTES / 2


def test_a_short_answer_is_one_page() -> None:
    assert len(list(pages_of("RefreshUploadUrls", [RefreshedUpload()]))) == 1
