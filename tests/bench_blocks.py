"""What uploads, collection and signing cost below HTTP, on SQLite or PostgreSQL.

    python -m tests.bench_blocks [--postgres] [--files 1000] [--gib 10]

In one process, the File Service calling the Block Service as the embedded default does. The
bytes of the small files are real and packed, those of the large one are only recorded as
verified: what is measured is what a commit costs, which must not grow with bytes. Part of
`make bench`.
"""

import argparse
import hashlib
import os
import random
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg
from psycopg.sql import SQL, Identifier

from tests.bench import promise, report, seconds
from tests.services.postgres import PrivatePostgres
from tests.services.redis import PrivateRedis

if TYPE_CHECKING:
    from blocks.service import BlockClaim
    from files.models import UserDevice
    from files.services.uploads import NewUpload, OpenUpload

MIB = 1024 * 1024
SMALL_BYTES = 4096
PACKED = 1_000
BATCH = 1_000
SIGNED = 20_000
MAX_SIGNING_MICROSECONDS = 400


def small_uploads(contents: Sequence[bytes], root_id: object) -> list["NewUpload"]:
    """An upload of one block for each content."""
    from blocks.service import BlockClaim
    from files.services.uploads import NewUpload

    names = [hashlib.sha256(data).hexdigest() for data in contents]
    return [
        NewUpload(
            name=f"{name[:20]}.bin",
            parent_folder_id=root_id,  # type: ignore[arg-type]
            size_bytes=len(data),
            content_hash=name,
            block_count=1,
            blocks=(BlockClaim(name, len(data)),),
        )
        for name, data in zip(names, contents, strict=True)
    ]


def begin(device: "UserDevice", uploads: Sequence["NewUpload"]) -> list["OpenUpload"]:
    from files.services.uploads import OpenUpload, begin_uploads

    begun = []
    for start in range(0, len(uploads), BATCH):
        for each in begin_uploads(device=device, uploads=uploads[start : start + BATCH]):
            if not isinstance(each, OpenUpload):
                raise each
            begun.append(each)
    return begun


def commit(device: "UserDevice", begun: Sequence["OpenUpload"]) -> None:
    from files.services.commits import commit_uploads
    from files.services.outcomes import Committed

    ids = [each.version.pk for each in begun]
    for start in range(0, len(ids), BATCH):
        for done in commit_uploads(device=device, upload_ids=ids[start : start + BATCH]):
            if not isinstance(done, Committed):
                raise done


def measure_small_files(device: "UserDevice", root_id: object, count: int) -> None:
    from blocks.service import NewPack, PackedBlock, get_block_service
    from blocks.storage import get_object_store

    contents = [random.randbytes(SMALL_BYTES) for _ in range(count)]
    names = [hashlib.sha256(data).hexdigest() for data in contents]
    uploads = small_uploads(contents, root_id)
    began = time.perf_counter()
    begun = begin(device, uploads)
    init = time.perf_counter() - began
    for start in range(0, count, PACKED):
        body = b"".join(contents[start : start + PACKED])
        pack = NewPack(
            hashlib.sha256(body).hexdigest(),
            len(body),
            [
                PackedBlock(name, number * SMALL_BYTES, SMALL_BYTES)
                for number, name in enumerate(names[start : start + PACKED])
            ],
        )
        [answer] = get_block_service().create_pack_uploads(device_id=device.pk, packs=[pack])
        assert answer.upload is not None, answer
        location = urlsplit(answer.upload.url).path.removeprefix("/blocks/")
        get_object_store().write(location, body, sha256=pack.sha256)
    took = init + seconds(lambda: commit(device, begun))
    report(f"init + commit of {count} one-block files", f"{count / took:8.0f} files/s")


def measure_reports(device: "UserDevice", root_id: object, count: int) -> None:
    """Ask for the URLs of many uploads in one request, and report them as sent in another."""
    from blocks.service import UploadReport
    from blocks.storage import get_object_store
    from drive_project.common.errors import DriveError
    from files.services.progress import refresh_uploads

    contents = [random.randbytes(SMALL_BYTES) for _ in range(count)]
    begun = begin(device, small_uploads(contents, root_id))
    names = [hashlib.sha256(data).hexdigest() for data in contents]

    def ask(what: str, reports: Sequence[UploadReport]) -> list[str]:
        began = time.perf_counter()
        answers = refresh_uploads(device=device, reports=reports)
        report(what, f"{time.perf_counter() - began:8.2f} s")
        urls = []
        for answer in answers:
            if isinstance(answer, DriveError):
                raise answer
            urls += [signed.url for signed in answer.urls.values()]
        return urls

    urls = ask(
        f"URLs for {count} uploads in one request",
        [
            UploadReport(each.version.pk, done=(), want=(name,))
            for each, name in zip(begun, names, strict=True)
        ],
    )
    for url, name, data in zip(urls, names, contents, strict=True):
        location = urlsplit(url).path.removeprefix("/blocks/")
        get_object_store().write(location, data, sha256=name)
    ask(
        "the same reported as sent, and verified",
        [
            UploadReport(each.version.pk, done=(name,), want=())
            for each, name in zip(begun, names, strict=True)
        ],
    )


def verified(device: "UserDevice", claims: Sequence["BlockClaim"]) -> None:
    """Record these blocks as sent by the device and found right."""
    from django.utils import timezone

    from blocks.locations import block_location
    from blocks.models import BlockProof, BlockUpload
    from drive_project.common.ids import new_id

    now = timezone.now()
    uploads = []
    for claim in claims:
        upload_id = new_id()
        uploads.append(
            BlockUpload(
                upload_id=upload_id,
                s3_location=block_location(claim.block_hash, upload_id),
                device_id=device.pk,
                sha256=claim.block_hash,
                size_bytes=claim.size_bytes,
                expires_at=now + timedelta(minutes=15),
                verified_at=now,
            )
        )
    BlockUpload.objects.bulk_create(uploads, batch_size=2_000)
    BlockProof.objects.bulk_create(
        [
            BlockProof(
                device_id=device.pk,
                block_hash=upload.sha256,
                upload=upload,
                size_bytes=upload.size_bytes,
                verified_at=now,
                used_at=now,
            )
            for upload in uploads
        ],
        batch_size=2_000,
    )


def measure_large_file(device: "UserDevice", root_id: object, gib: int) -> None:
    from blocks.models import Block, FileVersionBlock, StoredObject
    from blocks.service import MAX_BLOCKS_PER_CALL, BlockClaim
    from files.services.progress import continue_upload
    from files.services.uploads import NewUpload

    before = FileVersionBlock.objects.count()
    claims = [
        BlockClaim(hashlib.sha256(b"%d" % number).hexdigest(), MIB) for number in range(gib * 1024)
    ]
    upload = NewUpload(
        name="large.bin",
        parent_folder_id=root_id,  # type: ignore[arg-type]
        size_bytes=gib * 1024 * MIB,
        content_hash=hashlib.sha256(b"large").hexdigest(),
        block_count=len(claims),
        blocks=claims[:MAX_BLOCKS_PER_CALL],
    )
    began = time.perf_counter()
    begun = begin(device, [upload])
    for start in range(MAX_BLOCKS_PER_CALL, len(claims), MAX_BLOCKS_PER_CALL):
        continue_upload(
            device=device,
            upload_id=begun[0].version.pk,
            start_index=start,
            blocks=claims[start : start + MAX_BLOCKS_PER_CALL],
        )
    init = time.perf_counter() - began
    verified(device, claims)
    took = seconds(lambda: commit(device, begun))
    report(f"init of a {gib} GiB file in {len(claims)} blocks", f"{init:8.2f} s")
    report("its commit, all blocks verified before", f"{took:8.2f} s")
    rows = (
        FileVersionBlock.objects.count() - before,
        Block.objects.filter(size_bytes=MIB).count(),
        StoredObject.objects.filter(size_bytes=MIB).count(),
    )
    report("rows for it: in the list, blocks, objects", " ".join(f"{row:8d}" for row in rows))


def measure_collector(device: "UserDevice") -> None:
    """Give up everything that was uploaded, and collect it."""
    from blocks import gc
    from blocks.models import BlockList
    from blocks.service import Settlement, get_block_service
    from blocks.storage import get_object_store

    ids = list(BlockList.objects.values_list("pk", flat=True))
    settlements = [Settlement(file_version_id=pk, is_committed=False) for pk in ids]
    began = time.perf_counter()
    get_block_service().settle_versions(settlements=settlements)
    done = gc.collect(store=get_object_store(), grace=timedelta())
    took = time.perf_counter() - began
    report(
        f"release and collection of {done.deleted_block_count} blocks, "
        f"{done.deleted_object_count} objects",
        f"{done.deleted_block_count / took:8.0f} blocks/s",
    )


def measure_signing() -> None:
    from blocks.locations import block_location
    from blocks.presign import S3Presigner
    from blocks.storage import put_headers
    from drive_project.common.ids import new_id

    presigner = S3Presigner(
        endpoint="https://s3.example.com",
        bucket="drive",
        region="eu-central-1",
        access_key="AKIAEXAMPLE",
        secret_key="a secret key of forty characters or so",
    )
    sha256 = hashlib.sha256(b"a block").hexdigest()
    location, headers, now = (
        block_location(sha256, new_id()),
        put_headers(MIB, sha256),
        datetime.now(UTC),
    )

    def sign() -> None:
        for _ in range(SIGNED):
            presigner.sign(
                "PUT", location, now=now, lifetime=timedelta(minutes=15), headers=headers
            )

    promise(
        "signing one URL for a PUT",
        seconds(sign) / SIGNED * 1e6,
        MAX_SIGNING_MICROSECONDS,
        "µs",
    )


def main() -> None:
    """Measure on the chosen database."""
    options = argparse.ArgumentParser(prog="python -m tests.bench_blocks")
    options.add_argument("--postgres", action="store_true")
    options.add_argument("--files", type=int, default=1_000)
    options.add_argument("--gib", type=int, default=10)
    chosen = options.parse_args()
    with ExitStack() as stack:
        os.environ["DRIVE_DATA_DIR"] = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="drive-bench-")
        )
        os.environ["REDIS_URL"] = stack.enter_context(PrivateRedis()).url
        os.environ["LOG_LEVEL"] = "WARNING"
        if chosen.postgres:
            server = stack.enter_context(PrivatePostgres(is_durable=True))
            for variable, name in (("DATABASE_URL", "files"), ("BLOCKS_DATABASE_URL", "blocks")):
                with psycopg.connect(f"{server.url}postgres", autocommit=True) as connection:
                    connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
                os.environ[variable] = f"{server.url}{name}"
        os.environ["DJANGO_SETTINGS_MODULE"] = "drive_project.settings"
        import django

        django.setup()
        from django.db import connections

        from drive_project.databases import migrate_all
        from files import queries
        from tests.people import new_device, new_person

        migrate_all()
        person = new_person("bench")
        device = new_device(person, "laptop")
        root_id = queries.own_root(person).pk
        report("database", connections["blocks"].vendor)
        measure_signing()
        measure_small_files(device, root_id, chosen.files)
        measure_reports(device, root_id, min(chosen.files, BATCH))
        measure_large_file(device, root_id, chosen.gib)
        measure_collector(device)
        for opened in connections.all():
            opened.close()
            if opened.vendor == "postgresql":
                opened.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's alone


if __name__ == "__main__":
    main()
