"""What every object store promises, by signed URLs and to the Block Service itself."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured

from blocks.locations import block_location
from blocks.s3_probe import Enforced
from blocks.service import SignedRequest
from blocks.storage import ObjectStore
from drive_project.common.errors import ServiceUnavailable
from drive_project.common.ids import new_id
from tests.blocks.devices import Door
from tests.contracts.conftest import s3_store
from tests.services import free_port
from tests.services.s3 import PrivateS3, S3Address

DATA = b"The bytes of a block. " * 5_000
MINUTE = timedelta(minutes=1)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def location_of(data: bytes) -> str:
    return block_location(sha256(data), new_id())


def put_url(
    store: ObjectStore, location: str, data: bytes = DATA, *, age: timedelta = timedelta()
) -> SignedRequest:
    return store.sign_put(
        location,
        size_bytes=len(data),
        sha256=sha256(data),
        now=datetime.now(UTC) - age,
        lifetime=MINUTE,
    )


def get_url(store: ObjectStore, location: str, **part: int) -> SignedRequest:
    return store.sign_get(location, now=datetime.now(UTC), lifetime=MINUTE, **part)


def moved(signed: SignedRequest, old: str, new: str, method: str = "") -> SignedRequest:
    """The request with another URL or method and the same signature."""
    assert old in signed.url
    return SignedRequest(
        method or signed.method, signed.url.replace(old, new), signed.headers, signed.expires_at
    )


@pytest.fixture
def there(store: ObjectStore, door: Door) -> str:
    """The location of DATA, put there by a signed URL."""
    location = location_of(DATA)
    assert door.request(put_url(store, location), DATA).status_code in {200, 201, 204}
    return location


def test_what_is_put_can_be_got_by_url_and_by_the_service(
    store: ObjectStore, door: Door, there: str
) -> None:
    answer = door.request(get_url(store, there))

    assert (answer.status_code, answer.content) == (200, DATA)
    assert store.read(there) == DATA
    assert store.sizes([there]) == {there: len(DATA)}


def test_whether_checksums_are_enforced_is_found_out(store: ObjectStore, kind: str) -> None:
    assert store.enforces_checksums() is (kind != "lax")


def test_other_bytes_of_the_same_length(store: ObjectStore, door: Door, kind: str) -> None:
    location = location_of(DATA)
    other = b"X" * len(DATA)

    answer = door.request(put_url(store, location), other)

    if kind == "lax":
        # Why this store is not trusted: it reports success and keeps them.
        assert answer.status_code == 200
        assert store.read(location) == other
    else:
        assert answer.status_code == 400
        assert store.read(location) is None


@pytest.mark.parametrize("body", [DATA + b"!", DATA[:-1]], ids=["longer", "shorter"])
def test_a_body_of_another_length_is_refused(store: ObjectStore, door: Door, body: bytes) -> None:
    location = location_of(DATA)
    signed = put_url(store, location)
    headers = {**signed.headers, "Content-Length": str(len(body))}

    answer = door.request(signed, body, headers)

    assert 400 <= answer.status_code < 500
    assert store.read(location) is None


def test_a_location_is_written_once(store: ObjectStore, door: Door, kind: str, there: str) -> None:
    again = door.request(put_url(store, there), DATA)

    assert again.status_code == (200 if kind == "lax" else 412)
    assert store.read(there) == DATA


def test_a_put_url_is_good_for_its_location_only(store: ObjectStore, door: Door) -> None:
    mine, other = location_of(DATA), location_of(DATA)

    answer = door.request(moved(put_url(store, mine), mine, other), DATA)

    assert answer.status_code == 403
    assert store.sizes([mine, other]) == {}


def test_a_url_is_good_for_its_method_only(store: ObjectStore, door: Door, there: str) -> None:
    read = door.request(moved(put_url(store, there), "", "", "GET"), headers={})
    assert read.status_code == 403
    written = door.request(moved(get_url(store, there), "", "", "PUT"), b"changed")
    assert written.status_code in {400, 403}
    assert store.read(there) == DATA


def test_a_changed_signature_is_refused(store: ObjectStore, door: Door, there: str) -> None:
    signed = get_url(store, there)
    last = signed.url[-1]
    changed = SignedRequest(
        "GET", signed.url[:-1] + ("0" if last != "0" else "1"), {}, signed.expires_at
    )

    answer = door.request(changed)

    assert answer.status_code == 403
    assert DATA not in answer.content


def test_a_url_ends(store: ObjectStore, door: Door) -> None:
    location = location_of(DATA)

    answer = door.request(put_url(store, location, age=2 * MINUTE), DATA)

    assert answer.status_code in {400, 403}
    assert store.read(location) is None


def test_a_signed_range_gives_exactly_that_part(store: ObjectStore, door: Door, there: str) -> None:
    signed = get_url(store, there, start=1_000, length=50)

    answer = door.request(signed)

    assert answer.status_code in {200, 206}
    assert answer.content == DATA[1_000:1_050]


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-99999"}, {"Range": "bytes=1000-1050"}])
def test_a_signed_range_gives_nothing_else(
    store: ObjectStore, door: Door, there: str, headers: dict[str, str]
) -> None:
    answer = door.request(get_url(store, there, start=1_000, length=50), headers=headers)

    assert answer.status_code == 403
    assert b"bytes of a block" not in answer.content


def test_a_whole_object_may_be_read_in_part(store: ObjectStore, door: Door, there: str) -> None:
    answer = door.request(get_url(store, there), headers={"Range": "bytes=22-43"})

    assert answer.content == DATA[22:44]


def test_what_is_not_there(store: ObjectStore, door: Door, there: str) -> None:
    absent = location_of(b"absent")

    assert door.request(get_url(store, absent)).status_code == 404
    assert store.read(absent) is None
    assert store.read(absent, start=1, length=1) is None
    assert store.sizes([absent, there]) == {there: len(DATA)}
    store.delete(absent)


def test_the_service_reads_parts(store: ObjectStore, there: str) -> None:
    assert store.read(there, start=22, length=22) == DATA[22:44]
    assert store.read(there, start=len(DATA) - 5) == DATA[-5:]
    assert store.read(there, start=len(DATA) - 5, length=100) == DATA[-5:]
    assert store.read(there, start=len(DATA), length=1) == b""


def test_the_service_writes_where_no_url_ever_led(store: ObjectStore) -> None:
    location = location_of(DATA)

    store.write(location, DATA, sha256=sha256(DATA))
    store.write(location, DATA, sha256=sha256(DATA))

    assert store.read(location) == DATA


def test_deleting_takes_one_location(store: ObjectStore, there: str) -> None:
    neighbour = location_of(DATA)
    store.write(neighbour, DATA, sha256=sha256(DATA))

    store.delete(there)
    store.delete(there)

    assert store.sizes([there, neighbour]) == {neighbour: len(DATA)}


def test_many_are_deleted_at_once_and_nothing_else(store: ObjectStore, there: str) -> None:
    locations = [location_of(b"%d" % number) for number in range(5)]
    for number, location in enumerate(locations[:4]):
        store.write(location, b"%d" % number, sha256=sha256(b"%d" % number))

    # The last one is not there.
    store.delete_all(locations)
    store.delete_all([])

    assert store.sizes([*locations, there]) == {there: len(DATA)}


def test_a_deleted_location_can_be_written_by_its_url(
    store: ObjectStore, door: Door, there: str
) -> None:
    store.delete(there)

    assert door.request(put_url(store, there), DATA).status_code in {200, 201, 204}
    assert store.read(there) == DATA


def test_the_listing_names_every_object(store: ObjectStore) -> None:
    store.enforces_checksums()  # whatever it tries must not stay behind
    datas = [b"%d" % number for number in range(5)]
    locations = {location_of(data): data for data in datas}
    for location, data in locations.items():
        store.write(location, data, sha256=sha256(data))

    listed = {found.location: found for found in store.listing()}

    assert listed.keys() == locations.keys()
    for location, found in listed.items():
        assert found.size_bytes == len(locations[location])
        assert abs(datetime.now(UTC) - found.modified_at) < MINUTE


def test_tidying_leaves_objects_alone(store: ObjectStore, there: str) -> None:
    assert store.tidy(older_than=timedelta()) == 0
    assert store.read(there) == DATA


@pytest.mark.s3
def test_urls_carry_the_address_that_devices_reach(strict_s3: PrivateS3) -> None:
    store = s3_store(strict_s3.new_bucket(), public_endpoint="https://blocks.example.com")

    assert put_url(store, location_of(DATA)).url.startswith("https://blocks.example.com/drive-")
    assert store.enforces_checksums()


@pytest.mark.s3
def test_what_each_store_enforces_is_known(strict_s3: PrivateS3, lax_s3: PrivateS3) -> None:
    strict, lax = s3_store(strict_s3.new_bucket()), s3_store(lax_s3.new_bucket())

    assert strict.enforced == Enforced(checksum=True, length=True, once=True)
    assert strict.describe() == ("enforces checksum, length, If-None-Match; browsers not checked")
    assert lax.enforced == Enforced(checksum=False, length=True, once=False)
    assert lax.describe() == (
        "enforces not checksum, length, not If-None-Match; browsers not checked"
    )
    assert list(strict.listing()) == list(lax.listing()) == []


@pytest.mark.s3
def test_whether_browsers_may_send_blocks_is_asked(strict_s3: PrivateS3) -> None:
    refusing = s3_store(strict_s3.new_bucket(), origin="https://drive.example.com")
    nobody = f"http://127.0.0.1:{free_port()}"
    unknown = s3_store(
        strict_s3.new_bucket(), public_endpoint=nobody, origin="https://drive.example.com"
    )

    assert refusing.enforced.origin is False
    assert unknown.enforced.origin is None


@pytest.mark.s3
def test_what_a_killed_probe_left_is_tidied_up(strict_s3: PrivateS3) -> None:
    store = s3_store(strict_s3.new_bucket())
    left = "probe/" + location_of(DATA)
    store.write(left, DATA, sha256=sha256(DATA))

    assert store.tidy(older_than=timedelta(days=1)) == 0
    assert store.tidy(older_than=-MINUTE) == len(DATA)
    assert store.sizes([left]) == {}


@pytest.mark.s3
def test_encryption_is_asked_for_by_a_signed_header(lax_s3: PrivateS3) -> None:
    door = Door()
    store = s3_store(lax_s3.new_bucket(), encryption="AES256")
    location = location_of(DATA)
    signed = put_url(store, location)

    assert signed.headers["x-amz-server-side-encryption"] == "AES256"
    without = {name: value for name, value in signed.headers.items() if "encryption" not in name}
    assert door.request(signed, DATA, without).status_code == 403
    assert door.request(signed, DATA).status_code == 200
    store.write(location_of(DATA), DATA, sha256=sha256(DATA))
    assert store.enforced.length


@pytest.mark.s3
def test_a_store_that_cannot_encrypt_is_refused_at_once(strict_s3: PrivateS3) -> None:
    store = s3_store(strict_s3.new_bucket(), encryption="AES256")

    with pytest.raises(ImproperlyConfigured, match="S3_SERVER_SIDE_ENCRYPTION"):
        store.enforces_checksums()


@pytest.mark.s3
def test_wrong_keys_are_named_as_such(strict_s3: PrivateS3) -> None:
    good = strict_s3.new_bucket()
    bad = S3Address(good.endpoint, good.bucket, good.region, good.access_key, "not the key")

    with pytest.raises((ImproperlyConfigured, ServiceUnavailable)):
        s3_store(bad).enforces_checksums()


def test_a_store_that_does_not_answer_is_a_passing_fault() -> None:
    nobody = S3Address(f"http://127.0.0.1:{free_port()}", "drive", "us-east-1", "key", "secret")
    store = s3_store(nobody)

    with pytest.raises(ServiceUnavailable):
        store.sizes([location_of(DATA)])
    with pytest.raises(ServiceUnavailable):
        store.enforces_checksums()
