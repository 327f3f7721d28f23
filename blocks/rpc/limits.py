"""How large what crosses the border may be, on both sides."""

from collections.abc import Sequence

# Above this an answer goes on in another message.
PAGE_BYTES = 512 * 1024
# What either side accepts in one message: a page and its last element, which a version of
# MAX_BLOCKS_PER_CALL blocks with MAX_URLS_PER_CALL URLs makes two megabytes, and a request
# that a batch of them fills.
MAX_MESSAGE_BYTES = 8 * 1024 * 1024
# An error with a thousand hashes of missing blocks fits. In base64 and with the rest around
# it, it stays below the limit of metadata.
MAX_FAILURE_BYTES = 160 * 1024
MAX_METADATA_BYTES = 256 * 1024

Option = tuple[str, int | str]
LIMITS: Sequence[Option] = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # Above the soft limit a metadata is refused by chance, above the hard one always.
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
)
