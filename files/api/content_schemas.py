"""Answers about content as the OpenAPI document describes them; see files.api.schemas."""

from rest_framework import serializers

from files.api.schemas import FileItem, Problem, Shape
from files.models import VersionStatus


class BlockShape(Shape):
    block_hash = serializers.RegexField("^[0-9a-f]{64}$")
    size_bytes = serializers.IntegerField(min_value=1, max_value=4 * 1024 * 1024)


class PackedBlockShape(BlockShape):
    offset = serializers.IntegerField(min_value=0)


class SignedShape(Shape):
    """One request on the object store, to be sent exactly so. Secret, and good for minutes."""

    method = serializers.CharField()
    url = serializers.CharField()
    headers = serializers.DictField(child=serializers.CharField())
    expires_at = serializers.DateTimeField()


class SignedBlockShape(SignedShape):
    block_hash = serializers.CharField()


class BlockState(BlockShape):
    state = serializers.ChoiceField(["held", "send"])


class BlocksToSend(Shape):
    blocks = BlockState(many=True)
    uploads = SignedBlockShape(many=True)


class BegunUpload(BlocksToSend):
    status = serializers.IntegerField()
    upload_id = serializers.UUIDField()
    file_id = serializers.UUIDField()
    file_version_id = serializers.UUIDField()
    expires_at = serializers.DateTimeField()


class Refused(Shape):
    status = serializers.IntegerField()
    problem = Problem()


class RefreshedShape(Shape):
    verified = serializers.ListField(child=serializers.CharField())
    missing = serializers.ListField(child=serializers.CharField())
    uploads = SignedBlockShape(many=True)


class RefreshedItem(RefreshedShape):
    status = serializers.IntegerField()
    upload_id = serializers.UUIDField()


class PackUpload(SignedShape):
    status = serializers.IntegerField()
    sha256 = serializers.CharField()


class CommittedShape(Shape):
    status = serializers.IntegerField()
    outcome = serializers.ChoiceField(["committed", "same", "conflict_copy"])
    file_id = serializers.UUIDField()
    file_version_id = serializers.UUIDField()
    is_conflict_copy = serializers.BooleanField()
    original_file_id = serializers.UUIDField(allow_null=True)
    file = FileItem()


class UploadShape(Shape):
    upload_id = serializers.UUIDField()
    file_id = serializers.UUIDField()
    status = serializers.ChoiceField(VersionStatus.choices)
    size_bytes = serializers.IntegerField()
    expires_at = serializers.DateTimeField()
    missing = serializers.ListField(
        child=serializers.CharField(),
        allow_null=True,
        help_text="null: the block list is not known yet, repeat the init.",
    )


class _Content(Shape):
    file_id = serializers.UUIDField()
    file_version_id = serializers.UUIDField()
    size_bytes = serializers.IntegerField()
    content_hash = serializers.CharField()
    executable = serializers.BooleanField()
    client_modified_ns = serializers.IntegerField()
    is_damaged = serializers.BooleanField(help_text="A block of it cannot be read as it was sent")


class BlockToGet(SignedShape):
    index = serializers.IntegerField()
    block_hash = serializers.CharField()
    size_bytes = serializers.IntegerField()


class DownloadShape(_Content):
    blocks = BlockToGet(many=True)
    next_index = serializers.IntegerField(allow_null=True)


class BlockInSource(Shape):
    index = serializers.IntegerField()
    block_hash = serializers.CharField()
    size_bytes = serializers.IntegerField()
    source = serializers.IntegerField(  # type: ignore[assignment]
        help_text="Which of `sources` answers with it"
    )
    offset = serializers.IntegerField(help_text="Where it begins in that answer")


class SourceShape(SignedShape):
    size_bytes = serializers.IntegerField()


class BatchDownload(_Content):
    status = serializers.IntegerField()
    blocks = BlockInSource(many=True)
    next_index = serializers.IntegerField(allow_null=True)


class VersionShape(Shape):
    file_version_id = serializers.UUIDField()
    size_bytes = serializers.IntegerField()
    content_hash = serializers.CharField()
    block_count = serializers.IntegerField()
    committed_at = serializers.DateTimeField()
    client_modified_ns = serializers.IntegerField()
    executable = serializers.BooleanField()
    author = serializers.EmailField()
    device = serializers.CharField(allow_null=True)
    is_current = serializers.BooleanField()
    is_damaged = serializers.BooleanField()


class VersionList(Shape):
    items = VersionShape(many=True)
    next_cursor = serializers.CharField(allow_null=True)
