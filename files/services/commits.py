"""Making uploaded versions visible.

Bytes before rows: the Block Service is asked first, outside our transaction, since it may
talk to the object store. Then one transaction for each namespace decides; its cost depends
on the number of files, never on their bytes. See docs/write-ordering.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from django.db import transaction

from blocks.service import CommitVerdict, Verdict, VersionToCommit, get_block_service
from drive_project.common.errors import (
    DriveError,
    IncompleteList,
    MissingBlocks,
    NotFound,
    PermissionDenied,
    ServiceUnavailable,
    UploadExpired,
    VerifyFirst,
)
from files.models import (
    Conflict,
    File,
    FileVersion,
    Membership,
    UserDevice,
    VersionStatus,
)
from files.queries.access import WRITERS
from files.queries.many import purged_among, uploads_by_id
from files.services.decisions import Decisions
from files.services.locking import lock_account, lock_namespace
from files.services.outcomes import Committed, Outcome, Result

# A file may move to another namespace while we wait for the lock of its old one. To meet
# that this often in one request, somebody must be at it all the time.
MAX_ROUNDS = 5
RETRY_AFTER_SECONDS = 1


def commit_upload(*, device: UserDevice, upload_id: UUID) -> Committed:
    """Make one uploaded version the current one of its file; see `commit_uploads`."""
    [result] = commit_uploads(device=device, upload_ids=[upload_id])
    if isinstance(result, DriveError):
        raise result
    return result


def commit_uploads(*, device: UserDevice, upload_ids: Sequence[UUID]) -> list[Result]:
    """Make uploaded versions the current ones of their files, or conflict copies beside them.

    A refused one leaves the others standing and changes nothing: NotFound, PermissionDenied,
    MissingBlocks, VerifyFirst, IncompleteList, UploadExpired, VersionConflict, NameTaken.
    Safe to repeat: what was decided is answered again.
    """
    uploads = uploads_by_id(device, upload_ids)
    results: dict[UUID, Result] = {}
    results.update(_first_answers(uploads.values()))
    digests: dict[UUID, str] = {}
    refused: dict[UUID, DriveError] = {}
    for verdict in verify(device, [each for each in uploads.values() if each.pk not in results]):
        if verdict.verdict is Verdict.READY:
            digests[verdict.file_version_id] = verdict.blocks_digest
        else:
            refused[verdict.file_version_id] = _refusal(verdict)
    if refused:
        # Perhaps only because the same commit, sent twice, was decided and settled meanwhile.
        results.update(refused)
        results.update(_first_answers(uploads_by_id(device, refused).values()))
    results.update(_decide(device, uploads, digests))
    results.update(_purged(device, set(upload_ids) - results.keys()))
    return [results.get(upload_id) or NotFound() for upload_id in upload_ids]


def verified_digest(device: UserDevice, version: FileVersion) -> str:
    """The blocks digest of a pending version whose blocks are all there, for `commit_verified`.

    Asks the Block Service, so outside of any transaction. Raises what a commit is refused by.
    """
    [verdict] = verify(device, [version])
    if verdict.verdict is not Verdict.READY:
        raise _refusal(verdict)
    return verdict.blocks_digest


def commit_verified(
    *, device: UserDevice, namespace_id: UUID, version: FileVersion, blocks_digest: str
) -> Committed:
    """Commit one verified version as a part of the caller's transaction, which has the lock.

    Raises what a commit is refused by; the caller's transaction is rolled back then.
    """
    results, moved = _decide_in(namespace_id, device, {version.pk: blocks_digest})
    if moved:
        raise AssertionError("The file is in the namespace whose lock the caller holds.")
    result = results.get(version.pk) or UploadExpired()
    if isinstance(result, DriveError):
        raise result
    return result


def _purged(device: UserDevice, upload_ids: Iterable[UUID]) -> dict[UUID, Result]:
    """The answer to those of the uploads whose files are gone for ever."""
    return dict.fromkeys(purged_among(device, upload_ids), UploadExpired())


def verify(device: UserDevice, uploads: Sequence[FileVersion]) -> list[CommitVerdict]:
    """What the Block Service says of pending versions, in order; outside of any transaction."""
    if not uploads:
        return []
    return get_block_service().verify_versions(
        versions=[
            VersionToCommit(
                file_version_id=upload.pk,
                device_id=device.pk,
                size_bytes=upload.size_bytes,
                block_count=upload.block_count,
            )
            for upload in uploads
        ]
    )


def _refusal(verdict: CommitVerdict) -> DriveError:
    match verdict.verdict:
        case Verdict.MISSING_BLOCKS:
            return MissingBlocks(verdict.detail, block_hashes=list(verdict.missing))
        case Verdict.VERIFY_FIRST:
            return VerifyFirst(verdict.detail)
        case Verdict.INCOMPLETE_LIST:
            return IncompleteList(verdict.detail)
        case _:
            return UploadExpired()


def _decide(
    device: UserDevice, uploads: Mapping[UUID, FileVersion], digests: Mapping[UUID, str]
) -> dict[UUID, Result]:
    """Decide verified uploads in the namespaces where their files are now."""
    results: dict[UUID, Result] = {}
    left = {pk: uploads[pk].file.namespace_id for pk in digests}
    for _ in range(MAX_ROUNDS):
        elsewhere: dict[UUID, UUID] = {}
        for namespace_id in sorted(set(left.values())):
            here = {pk: digests[pk] for pk, place in left.items() if place == namespace_id}
            with transaction.atomic():
                decided, moved = _decide_in(namespace_id, device, here)
            results.update(decided)
            elsewhere.update(moved)
        left = elsewhere
        if not left:
            return results
    too_often = ServiceUnavailable(retry_after_seconds=RETRY_AFTER_SECONDS)
    return {**results, **dict.fromkeys(left, too_often)}


def _decide_in(
    namespace_id: UUID, device: UserDevice, digests: Mapping[UUID, str]
) -> tuple[dict[UUID, Result], dict[UUID, UUID]]:
    """Decide uploads under a namespace's lock; and which are in another namespace by now."""
    try:
        namespace = lock_namespace(namespace_id)
    except NotFound as gone:
        return dict.fromkeys(digests, gone), {}
    role = (
        Membership.objects.filter(namespace=namespace, user=device.user_id)
        .values_list("role", flat=True)
        .first()
    )
    if role not in WRITERS:
        refusal = NotFound() if role is None else PermissionDenied("You may only read here.")
        return dict.fromkeys(digests, refusal), {}
    account = lock_account(namespace.owner_id)
    versions = {
        version.pk: version
        for version in FileVersion.objects.select_for_update(no_key=True)
        .filter(pk__in=digests)
        .order_by("pk")
    }
    files = File.objects.select_related("current_version").in_bulk(
        {version.file_id for version in versions.values()}
    )
    moved: dict[UUID, UUID] = {}
    decided: list[FileVersion] = []
    pending: list[FileVersion] = []
    # In the caller's order, which the journal then has too.
    for pk in digests:
        if pk not in versions:
            continue
        version = versions[pk]
        version.file = files[version.file_id]
        version.blocks_digest = digests[pk]
        if version.status != VersionStatus.PENDING:
            decided.append(version)
        elif version.file.namespace_id != namespace.pk:
            moved[pk] = version.file.namespace_id
        else:
            pending.append(version)
    results: dict[UUID, Result] = {}
    results.update(_first_answers(decided))
    results.update(Decisions(namespace, account, device).make(pending))
    return results, moved


def _first_answers(versions: Iterable[FileVersion]) -> dict[UUID, Result]:
    """The answers of those uploads that are decided, as they were given before.

    The file is shown as it is now.
    """
    decided = [version for version in versions if version.status != VersionStatus.PENDING]
    if not decided:
        return {}
    files = File.objects.select_related("current_version").in_bulk(
        {version.outcome_file_id for version in decided if version.outcome_file_id is not None}
    )
    copies = [version.outcome_file_id for version in decided if version.is_conflict_copy]
    originals: dict[UUID, UUID] = {}
    if copies:
        originals = dict(Conflict.objects.filter(copy__in=copies).values_list("copy_id", "file_id"))
    return {version.pk: _first_answer(version, files, originals) for version in decided}


def _first_answer(
    version: FileVersion, files: Mapping[UUID, File], originals: Mapping[UUID, UUID]
) -> Result:
    file = None if version.outcome_file_id is None else files.get(version.outcome_file_id)
    if file is None:
        # Aborted; or the file that it had been found to equal is gone for ever.
        return UploadExpired()
    if version.status == VersionStatus.SAME and version.same_as_id is not None:
        return Committed(Outcome.SAME, file, version.same_as_id)
    if version.is_conflict_copy:
        return Committed(Outcome.CONFLICT_COPY, file, version.pk, originals.get(file.pk))
    return Committed(Outcome.COMMITTED, file, version.pk)
