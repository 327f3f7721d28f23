import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LocationState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOCATION_STATE_UNSPECIFIED: _ClassVar[LocationState]
    LOCATION_STATE_HELD: _ClassVar[LocationState]
    LOCATION_STATE_SEND: _ClassVar[LocationState]

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_READY: _ClassVar[Verdict]
    VERDICT_MISSING_BLOCKS: _ClassVar[Verdict]
    VERDICT_VERIFY_FIRST: _ClassVar[Verdict]
    VERDICT_INCOMPLETE_LIST: _ClassVar[Verdict]
    VERDICT_UPLOAD_EXPIRED: _ClassVar[Verdict]

class RecordedState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECORDED_STATE_UNSPECIFIED: _ClassVar[RecordedState]
    RECORDED_STATE_OPEN: _ClassVar[RecordedState]
    RECORDED_STATE_COMMITTED: _ClassVar[RecordedState]
    RECORDED_STATE_RELEASED: _ClassVar[RecordedState]
LOCATION_STATE_UNSPECIFIED: LocationState
LOCATION_STATE_HELD: LocationState
LOCATION_STATE_SEND: LocationState
VERDICT_UNSPECIFIED: Verdict
VERDICT_READY: Verdict
VERDICT_MISSING_BLOCKS: Verdict
VERDICT_VERIFY_FIRST: Verdict
VERDICT_INCOMPLETE_LIST: Verdict
VERDICT_UPLOAD_EXPIRED: Verdict
RECORDED_STATE_UNSPECIFIED: RecordedState
RECORDED_STATE_OPEN: RecordedState
RECORDED_STATE_COMMITTED: RecordedState
RECORDED_STATE_RELEASED: RecordedState

class Failure(_message.Message):
    __slots__ = ("code", "detail", "extra_json")
    CODE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    EXTRA_JSON_FIELD_NUMBER: _ClassVar[int]
    code: str
    detail: str
    extra_json: str
    def __init__(self, code: _Optional[str] = ..., detail: _Optional[str] = ..., extra_json: _Optional[str] = ...) -> None: ...

class BlockClaim(_message.Message):
    __slots__ = ("block_hash", "size_bytes")
    BLOCK_HASH_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    block_hash: str
    size_bytes: int
    def __init__(self, block_hash: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class NewVersion(_message.Message):
    __slots__ = ("file_version_id", "file_id", "namespace_id", "device_id", "blocks", "start_index")
    FILE_VERSION_ID_FIELD_NUMBER: _ClassVar[int]
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    START_INDEX_FIELD_NUMBER: _ClassVar[int]
    file_version_id: str
    file_id: str
    namespace_id: str
    device_id: str
    blocks: _containers.RepeatedCompositeFieldContainer[BlockClaim]
    start_index: int
    def __init__(self, file_version_id: _Optional[str] = ..., file_id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., device_id: _Optional[str] = ..., blocks: _Optional[_Iterable[_Union[BlockClaim, _Mapping]]] = ..., start_index: _Optional[int] = ...) -> None: ...

class SignedRequest(_message.Message):
    __slots__ = ("method", "url", "headers", "expires_at")
    class HeadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    METHOD_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    method: str
    url: str
    headers: _containers.ScalarMap[str, str]
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, method: _Optional[str] = ..., url: _Optional[str] = ..., headers: _Optional[_Mapping[str, str]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class BlockLocation(_message.Message):
    __slots__ = ("block_hash", "size_bytes", "state", "upload")
    BLOCK_HASH_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    block_hash: str
    size_bytes: int
    state: LocationState
    upload: SignedRequest
    def __init__(self, block_hash: _Optional[str] = ..., size_bytes: _Optional[int] = ..., state: _Optional[_Union[LocationState, str]] = ..., upload: _Optional[_Union[SignedRequest, _Mapping]] = ...) -> None: ...

class BlockLocations(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[BlockLocation]
    def __init__(self, items: _Optional[_Iterable[_Union[BlockLocation, _Mapping]]] = ...) -> None: ...

class GetOrCreateBlockLocationsRequest(_message.Message):
    __slots__ = ("versions", "readable")
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    READABLE_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[NewVersion]
    readable: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, versions: _Optional[_Iterable[_Union[NewVersion, _Mapping]]] = ..., readable: _Optional[_Iterable[str]] = ...) -> None: ...

class GetOrCreateBlockLocationsResponse(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[BlockLocations]
    def __init__(self, items: _Optional[_Iterable[_Union[BlockLocations, _Mapping]]] = ...) -> None: ...

class UploadReport(_message.Message):
    __slots__ = ("file_version_id", "done", "want")
    FILE_VERSION_ID_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    WANT_FIELD_NUMBER: _ClassVar[int]
    file_version_id: str
    done: _containers.RepeatedScalarFieldContainer[str]
    want: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, file_version_id: _Optional[str] = ..., done: _Optional[_Iterable[str]] = ..., want: _Optional[_Iterable[str]] = ...) -> None: ...

class RefreshUploadUrlsRequest(_message.Message):
    __slots__ = ("device_id", "reports")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    reports: _containers.RepeatedCompositeFieldContainer[UploadReport]
    def __init__(self, device_id: _Optional[str] = ..., reports: _Optional[_Iterable[_Union[UploadReport, _Mapping]]] = ...) -> None: ...

class RefreshedUpload(_message.Message):
    __slots__ = ("verified", "missing", "urls", "is_expired")
    class UrlsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: SignedRequest
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[SignedRequest, _Mapping]] = ...) -> None: ...
    VERIFIED_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    URLS_FIELD_NUMBER: _ClassVar[int]
    IS_EXPIRED_FIELD_NUMBER: _ClassVar[int]
    verified: _containers.RepeatedScalarFieldContainer[str]
    missing: _containers.RepeatedScalarFieldContainer[str]
    urls: _containers.MessageMap[str, SignedRequest]
    is_expired: bool
    def __init__(self, verified: _Optional[_Iterable[str]] = ..., missing: _Optional[_Iterable[str]] = ..., urls: _Optional[_Mapping[str, SignedRequest]] = ..., is_expired: _Optional[bool] = ...) -> None: ...

class RefreshUploadUrlsResponse(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[RefreshedUpload]
    def __init__(self, items: _Optional[_Iterable[_Union[RefreshedUpload, _Mapping]]] = ...) -> None: ...

class PackedBlock(_message.Message):
    __slots__ = ("block_hash", "offset", "size_bytes")
    BLOCK_HASH_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    block_hash: str
    offset: int
    size_bytes: int
    def __init__(self, block_hash: _Optional[str] = ..., offset: _Optional[int] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class NewPack(_message.Message):
    __slots__ = ("sha256", "size_bytes", "blocks")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    size_bytes: int
    blocks: _containers.RepeatedCompositeFieldContainer[PackedBlock]
    def __init__(self, sha256: _Optional[str] = ..., size_bytes: _Optional[int] = ..., blocks: _Optional[_Iterable[_Union[PackedBlock, _Mapping]]] = ...) -> None: ...

class CreatePackUploadsRequest(_message.Message):
    __slots__ = ("device_id", "packs")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    PACKS_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    packs: _containers.RepeatedCompositeFieldContainer[NewPack]
    def __init__(self, device_id: _Optional[str] = ..., packs: _Optional[_Iterable[_Union[NewPack, _Mapping]]] = ...) -> None: ...

class PackUpload(_message.Message):
    __slots__ = ("upload", "refusal", "unnamed")
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    UNNAMED_FIELD_NUMBER: _ClassVar[int]
    upload: SignedRequest
    refusal: str
    unnamed: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, upload: _Optional[_Union[SignedRequest, _Mapping]] = ..., refusal: _Optional[str] = ..., unnamed: _Optional[_Iterable[str]] = ...) -> None: ...

class CreatePackUploadsResponse(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[PackUpload]
    def __init__(self, items: _Optional[_Iterable[_Union[PackUpload, _Mapping]]] = ...) -> None: ...

class VersionToCommit(_message.Message):
    __slots__ = ("file_version_id", "device_id", "size_bytes", "block_count")
    FILE_VERSION_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    BLOCK_COUNT_FIELD_NUMBER: _ClassVar[int]
    file_version_id: str
    device_id: str
    size_bytes: int
    block_count: int
    def __init__(self, file_version_id: _Optional[str] = ..., device_id: _Optional[str] = ..., size_bytes: _Optional[int] = ..., block_count: _Optional[int] = ...) -> None: ...

class CommitVersionRequest(_message.Message):
    __slots__ = ("versions",)
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[VersionToCommit]
    def __init__(self, versions: _Optional[_Iterable[_Union[VersionToCommit, _Mapping]]] = ...) -> None: ...

class CommitVerdict(_message.Message):
    __slots__ = ("file_version_id", "verdict", "blocks_digest", "missing", "detail")
    FILE_VERSION_ID_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    file_version_id: str
    verdict: Verdict
    blocks_digest: str
    missing: _containers.RepeatedScalarFieldContainer[str]
    detail: str
    def __init__(self, file_version_id: _Optional[str] = ..., verdict: _Optional[_Union[Verdict, str]] = ..., blocks_digest: _Optional[str] = ..., missing: _Optional[_Iterable[str]] = ..., detail: _Optional[str] = ...) -> None: ...

class CommitVersionResponse(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[CommitVerdict]
    def __init__(self, items: _Optional[_Iterable[_Union[CommitVerdict, _Mapping]]] = ...) -> None: ...

class Settlement(_message.Message):
    __slots__ = ("file_version_id", "is_committed", "file_id", "namespace_id")
    FILE_VERSION_ID_FIELD_NUMBER: _ClassVar[int]
    IS_COMMITTED_FIELD_NUMBER: _ClassVar[int]
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    file_version_id: str
    is_committed: bool
    file_id: str
    namespace_id: str
    def __init__(self, file_version_id: _Optional[str] = ..., is_committed: _Optional[bool] = ..., file_id: _Optional[str] = ..., namespace_id: _Optional[str] = ...) -> None: ...

class ReleaseVersionsRequest(_message.Message):
    __slots__ = ("settlements",)
    SETTLEMENTS_FIELD_NUMBER: _ClassVar[int]
    settlements: _containers.RepeatedCompositeFieldContainer[Settlement]
    def __init__(self, settlements: _Optional[_Iterable[_Union[Settlement, _Mapping]]] = ...) -> None: ...

class ReleaseVersionsResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class VersionCopy(_message.Message):
    __slots__ = ("source_version_id", "version")
    SOURCE_VERSION_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    source_version_id: str
    version: NewVersion
    def __init__(self, source_version_id: _Optional[str] = ..., version: _Optional[_Union[NewVersion, _Mapping]] = ...) -> None: ...

class CopyVersionsRequest(_message.Message):
    __slots__ = ("copies",)
    COPIES_FIELD_NUMBER: _ClassVar[int]
    copies: _containers.RepeatedCompositeFieldContainer[VersionCopy]
    def __init__(self, copies: _Optional[_Iterable[_Union[VersionCopy, _Mapping]]] = ...) -> None: ...

class CopyVersionsResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class VersionRange(_message.Message):
    __slots__ = ("file_version_id", "start_index", "limit")
    FILE_VERSION_ID_FIELD_NUMBER: _ClassVar[int]
    START_INDEX_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    file_version_id: str
    start_index: int
    limit: int
    def __init__(self, file_version_id: _Optional[str] = ..., start_index: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class GetBlockDownloadUrlsRequest(_message.Message):
    __slots__ = ("ranges",)
    RANGES_FIELD_NUMBER: _ClassVar[int]
    ranges: _containers.RepeatedCompositeFieldContainer[VersionRange]
    def __init__(self, ranges: _Optional[_Iterable[_Union[VersionRange, _Mapping]]] = ...) -> None: ...

class BlockDownload(_message.Message):
    __slots__ = ("index", "block_hash", "size_bytes", "source", "offset")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    BLOCK_HASH_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    index: int
    block_hash: str
    size_bytes: int
    source: int
    offset: int
    def __init__(self, index: _Optional[int] = ..., block_hash: _Optional[str] = ..., size_bytes: _Optional[int] = ..., source: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class Source(_message.Message):
    __slots__ = ("request", "size_bytes")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    request: SignedRequest
    size_bytes: int
    def __init__(self, request: _Optional[_Union[SignedRequest, _Mapping]] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class VersionDownload(_message.Message):
    __slots__ = ("file_version_id", "blocks", "next_index")
    FILE_VERSION_ID_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    NEXT_INDEX_FIELD_NUMBER: _ClassVar[int]
    file_version_id: str
    blocks: _containers.RepeatedCompositeFieldContainer[BlockDownload]
    next_index: int
    def __init__(self, file_version_id: _Optional[str] = ..., blocks: _Optional[_Iterable[_Union[BlockDownload, _Mapping]]] = ..., next_index: _Optional[int] = ...) -> None: ...

class Downloads(_message.Message):
    __slots__ = ("versions", "sources")
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[VersionDownload]
    sources: _containers.RepeatedCompositeFieldContainer[Source]
    def __init__(self, versions: _Optional[_Iterable[_Union[VersionDownload, _Mapping]]] = ..., sources: _Optional[_Iterable[_Union[Source, _Mapping]]] = ...) -> None: ...

class ReadVersionRequest(_message.Message):
    __slots__ = ("file_version_id", "start", "length")
    FILE_VERSION_ID_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    file_version_id: str
    start: int
    length: int
    def __init__(self, file_version_id: _Optional[str] = ..., start: _Optional[int] = ..., length: _Optional[int] = ...) -> None: ...

class ReadVersionResponse(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class StatsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LastCollection(_message.Message):
    __slots__ = ("finished_at", "deleted_object_count", "freed_bytes")
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    DELETED_OBJECT_COUNT_FIELD_NUMBER: _ClassVar[int]
    FREED_BYTES_FIELD_NUMBER: _ClassVar[int]
    finished_at: _timestamp_pb2.Timestamp
    deleted_object_count: int
    freed_bytes: int
    def __init__(self, finished_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., deleted_object_count: _Optional[int] = ..., freed_bytes: _Optional[int] = ...) -> None: ...

class BlockStats(_message.Message):
    __slots__ = ("block_count", "referenced_bytes", "stored_bytes", "object_count", "object_bytes", "reclaimable_bytes", "open_upload_count", "damaged_count", "last_collection")
    BLOCK_COUNT_FIELD_NUMBER: _ClassVar[int]
    REFERENCED_BYTES_FIELD_NUMBER: _ClassVar[int]
    STORED_BYTES_FIELD_NUMBER: _ClassVar[int]
    OBJECT_COUNT_FIELD_NUMBER: _ClassVar[int]
    OBJECT_BYTES_FIELD_NUMBER: _ClassVar[int]
    RECLAIMABLE_BYTES_FIELD_NUMBER: _ClassVar[int]
    OPEN_UPLOAD_COUNT_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_COUNT_FIELD_NUMBER: _ClassVar[int]
    LAST_COLLECTION_FIELD_NUMBER: _ClassVar[int]
    block_count: int
    referenced_bytes: int
    stored_bytes: int
    object_count: int
    object_bytes: int
    reclaimable_bytes: int
    open_upload_count: int
    damaged_count: int
    last_collection: LastCollection
    def __init__(self, block_count: _Optional[int] = ..., referenced_bytes: _Optional[int] = ..., stored_bytes: _Optional[int] = ..., object_count: _Optional[int] = ..., object_bytes: _Optional[int] = ..., reclaimable_bytes: _Optional[int] = ..., open_upload_count: _Optional[int] = ..., damaged_count: _Optional[int] = ..., last_collection: _Optional[_Union[LastCollection, _Mapping]] = ...) -> None: ...

class GetSpaceUsedRequest(_message.Message):
    __slots__ = ("namespaces",)
    NAMESPACES_FIELD_NUMBER: _ClassVar[int]
    namespaces: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, namespaces: _Optional[_Iterable[str]] = ...) -> None: ...

class SpaceUsed(_message.Message):
    __slots__ = ("referenced_bytes", "distinct_bytes")
    REFERENCED_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISTINCT_BYTES_FIELD_NUMBER: _ClassVar[int]
    referenced_bytes: int
    distinct_bytes: int
    def __init__(self, referenced_bytes: _Optional[int] = ..., distinct_bytes: _Optional[int] = ...) -> None: ...

class VersionPair(_message.Message):
    __slots__ = ("file_version_id", "base_version_id")
    FILE_VERSION_ID_FIELD_NUMBER: _ClassVar[int]
    BASE_VERSION_ID_FIELD_NUMBER: _ClassVar[int]
    file_version_id: str
    base_version_id: str
    def __init__(self, file_version_id: _Optional[str] = ..., base_version_id: _Optional[str] = ...) -> None: ...

class GetChangedBlockCountsRequest(_message.Message):
    __slots__ = ("pairs",)
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    pairs: _containers.RepeatedCompositeFieldContainer[VersionPair]
    def __init__(self, pairs: _Optional[_Iterable[_Union[VersionPair, _Mapping]]] = ...) -> None: ...

class GetChangedBlockCountsResponse(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, items: _Optional[_Iterable[int]] = ...) -> None: ...

class RecordedVersion(_message.Message):
    __slots__ = ("file_version_id", "state", "file_id", "namespace_id", "block_count", "size_bytes", "blocks_digest", "damaged_count")
    FILE_VERSION_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_ID_FIELD_NUMBER: _ClassVar[int]
    BLOCK_COUNT_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_COUNT_FIELD_NUMBER: _ClassVar[int]
    file_version_id: str
    state: RecordedState
    file_id: str
    namespace_id: str
    block_count: int
    size_bytes: int
    blocks_digest: str
    damaged_count: int
    def __init__(self, file_version_id: _Optional[str] = ..., state: _Optional[_Union[RecordedState, str]] = ..., file_id: _Optional[str] = ..., namespace_id: _Optional[str] = ..., block_count: _Optional[int] = ..., size_bytes: _Optional[int] = ..., blocks_digest: _Optional[str] = ..., damaged_count: _Optional[int] = ...) -> None: ...

class ListRecordedIdsRequest(_message.Message):
    __slots__ = ("after", "limit")
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    after: str
    limit: int
    def __init__(self, after: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class ListRecordedIdsResponse(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, items: _Optional[_Iterable[str]] = ...) -> None: ...

class GetRecordedVersionsRequest(_message.Message):
    __slots__ = ("file_version_ids",)
    FILE_VERSION_IDS_FIELD_NUMBER: _ClassVar[int]
    file_version_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, file_version_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class GetRecordedVersionsResponse(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[RecordedVersion]
    def __init__(self, items: _Optional[_Iterable[_Union[RecordedVersion, _Mapping]]] = ...) -> None: ...

class ListDamagedIdsRequest(_message.Message):
    __slots__ = ("after", "limit")
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    after: str
    limit: int
    def __init__(self, after: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class ListDamagedIdsResponse(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, items: _Optional[_Iterable[str]] = ...) -> None: ...
