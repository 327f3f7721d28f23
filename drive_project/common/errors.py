"""Errors a caller can act on. `drive_project.common.problem` renders them.

DriveError                  400
├── InvalidRequest          400  errors: per field
│   ├── InvalidName         400
│   ├── InvalidCursor       400
│   └── WrongBytes          400  not what the signed URL was made for
├── NotAuthenticated        401
├── PermissionDenied        403
│   └── InvalidUrl          403  a signed URL that is expired or was changed
├── NotFound                404  also for what exists but is not yours
├── MethodNotAllowed        405
├── NotAcceptable           406
├── NameTaken               409  item_id, item_type
├── MoveIntoItself          409
├── VersionConflict         409  current_version_id
├── MissingBlocks           409  block_hashes: upload these, then commit again
├── IncompleteList          409  the block list has a gap or a wrong sum
├── VerifyFirst             409  too much to verify in one request: poll /urls
├── UploadExpired           410
├── LengthRequired          411
├── StalePrecondition       412  current: the item as it is now
├── ObjectExists            412  the bytes are there already
├── TooLarge                413
├── UnsupportedMediaType    415
├── IdempotencyKeyReused    422
├── PreconditionRequired    428
├── TooManyRequests         429  retry_after_seconds
├── InternalError           500  our fault; logged with its traceback
├── ServiceUnavailable      503  retry_after_seconds
│   └── ContentDamaged      503  a stored block of it is damaged, until a device sends it again
└── QuotaExceeded           507  over_by_bytes
"""

from typing import Any, ClassVar


class DriveError(Exception):
    """Base of all errors that cross a border. `code` is stable; `extra` is data for programs."""

    code: ClassVar[str] = "bad-request"
    status: ClassVar[int] = 400
    title: ClassVar[str] = "The request cannot be carried out"

    def __init__(self, detail: str = "", **extra: Any) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.extra = extra


class InvalidRequest(DriveError):
    code = "invalid-request"
    title = "The request is not valid"


class InvalidName(InvalidRequest):
    code = "invalid-name"
    title = "This name cannot be used"


class InvalidCursor(InvalidRequest):
    code = "invalid-cursor"
    title = "This cursor is not one of this server's"


class WrongBytes(InvalidRequest):
    code = "wrong-bytes"
    title = "These are not the bytes that the URL was made for"


class NotAuthenticated(DriveError):
    code = "not-authenticated"
    status = 401
    title = "Sign in first"


class PermissionDenied(DriveError):
    code = "permission-denied"
    status = 403
    title = "You may not do this"


class InvalidUrl(PermissionDenied):
    code = "invalid-url"
    title = "This URL has expired or was changed; ask for a new one"


class NotFound(DriveError):
    code = "not-found"
    status = 404
    title = "There is no such thing here"


class MethodNotAllowed(DriveError):
    code = "method-not-allowed"
    status = 405
    title = "This address does not know that method"


class NotAcceptable(DriveError):
    code = "not-acceptable"
    status = 406
    title = "Answers here are JSON"


class NameTaken(DriveError):
    code = "name-taken"
    status = 409
    title = "The folder already has an item of this name"


class MoveIntoItself(DriveError):
    code = "move-into-itself"
    status = 409
    title = "A folder cannot be moved into itself"


class VersionConflict(DriveError):
    code = "version-conflict"
    status = 409
    title = "The file has changed since the version this one is based on"


class MissingBlocks(DriveError):
    code = "missing-blocks"
    status = 409
    title = "Some blocks are not uploaded yet"


class IncompleteList(DriveError):
    code = "incomplete-list"
    status = 409
    title = "The list of blocks is not complete"


class VerifyFirst(DriveError):
    code = "verify-first"
    status = 409
    title = "The uploaded blocks have to be verified before the commit"


class UploadExpired(DriveError):
    code = "upload-expired"
    status = 410
    title = "This upload is over; begin it again"


class LengthRequired(DriveError):
    code = "length-required"
    status = 411
    title = "Say how long the body is: send Content-Length"


class StalePrecondition(DriveError):
    code = "stale-precondition"
    status = 412
    title = "The item has changed since you read it"


class ObjectExists(DriveError):
    code = "object-exists"
    status = 412
    title = "The bytes are there already"


class TooLarge(DriveError):
    code = "too-large"
    status = 413
    title = "The request is too large"


class UnsupportedMediaType(DriveError):
    code = "unsupported-media-type"
    status = 415
    title = "Send JSON"


class IdempotencyKeyReused(DriveError):
    code = "idempotency-key-reused"
    status = 422
    title = "This key was used for another request"


class PreconditionRequired(DriveError):
    code = "precondition-required"
    status = 428
    title = "Say which revision you have seen: send If-Match"


class TooManyRequests(DriveError):
    code = "too-many-requests"
    status = 429
    title = "Too many requests; wait a little"


class InternalError(DriveError):
    code = "internal-error"
    status = 500
    title = "Something went wrong on our side"


class ServiceUnavailable(DriveError):
    code = "service-unavailable"
    status = 503
    title = "A part of the service does not answer; try again"


class ContentDamaged(ServiceUnavailable):
    code = "content-damaged"
    title = "A stored part of this content is damaged"


class QuotaExceeded(DriveError):
    code = "quota-exceeded"
    status = 507
    title = "There is not enough storage left"


def all_errors() -> list[type[DriveError]]:
    """The closed registry: every error class, by code."""

    def below(error: type[DriveError]) -> list[type[DriveError]]:
        return [
            error,
            *(leaf for child in error.__subclasses__() for leaf in below(child)),
        ]

    return sorted(below(DriveError), key=lambda error: error.code)
