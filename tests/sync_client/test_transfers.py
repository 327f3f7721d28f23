"""Files up and down against the real server: what is sent, what is not, and what a crash
leaves."""

import errno
import hashlib
import os
import random
import threading
from pathlib import Path

import pytest

from sync_client import transfer_fetch, transfer_send
from sync_client.api import HttpApi
from sync_client.chunker import block_hash_of
from sync_client.errors import ApiProblem, PathProblem, SyncError, Transient, Unreachable
from sync_client.filesystem import LocalFileSystem, prepare_root
from sync_client.limits import Limits
from sync_client.ports import Fetched, FileToFetch, FileToSend, Sent
from sync_client.system import new_id
from sync_client.transfer import HttpTransfers
from sync_client.transfer_state import TransferState
from sync_client.transfer_store import BlockStore, ObjectTrouble, Presigned, StaleUrl
from tests.services.drive import PASSWORD
from tests.sync_client.web import Answer, Web

KIB = 1024
MIB = 1024 * KIB


class Killed(BaseException):
    """The process is gone: nothing after this runs, except what the test does next."""


class KnownBlocks:
    """`ports.LocalBlocks` with what a test says."""

    def __init__(self):
        self.places = {}

    def places_of(self, block_hash):
        return self.places.get(block_hash, [])


class Device:
    """A folder, a login, and transfers over it."""

    def __init__(self, home: Path, api: HttpApi):
        self.root = home
        self.api = api
        prepare_root(home, root_id="r", device_id="d")
        self.fs = LocalFileSystem(home, root_id="r")
        self.state_path = home.with_suffix(".sqlite3")
        self.blocks = KnownBlocks()
        self.up = self.down = 0
        self.die_after_up: int | None = None
        self.die_after_down: int | None = None
        self.requests = []
        self.folder_id = api.request("GET", "folders/root")["folder_id"]
        self.start()

    def start(self):
        self.lock = threading.Lock()
        self.transfers = HttpTransfers(
            self, self.fs, self.blocks, TransferState(self.state_path), on_bytes=self.count
        )

    def request(self, method, path, **details):
        self.requests.append(f"{method} {path.split('/')[-1]}")
        return self.api.request(method, path, **details)

    def count(self, up, down):
        with self.lock:
            self.up += up
            self.down += down
            for limit, moved in ((self.die_after_up, self.up), (self.die_after_down, self.down)):
                if limit is not None and moved >= limit:
                    raise Killed

    def write(self, name: str, content: bytes) -> "FileToSend":
        (self.root / name).write_bytes(content)
        return self.to_send(name)

    def to_send(self, name: str, **changes) -> FileToSend:
        seen = self.fs.observe((name,))
        fields = {
            "op_id": new_id(),
            "path": (name,),
            "signature": seen.signature,
            "file_id": None,
            "base_version_id": None,
            "parent_folder_id": self.folder_id,
            "name": name,
        }
        return FileToSend(**{**fields, **changes})

    def send(self, *files: FileToSend) -> dict[str, Sent | SyncError]:
        results = {}
        self.transfers.send(
            files, on_result=lambda file, result: results.update({file.name: result})
        )
        return results

    def send_ok(self, *files: FileToSend) -> dict[str, Sent]:
        results = self.send(*files)
        sent = {name: each for name, each in results.items() if isinstance(each, Sent)}
        assert sent == results
        assert len(sent) == len(files)
        return sent

    def fetch(self, *files: FileToFetch) -> dict[str, Fetched | SyncError]:
        results = {}
        self.transfers.fetch(
            files, on_result=lambda file, result: results.update({file.staged: result})
        )
        return results

    def staged(self, name: str) -> bytes:
        return (self.root / ".drive" / "staging" / name).read_bytes()

    def kill_and_restart(self):
        """What a process that died leaves is what is on the disk and on the server."""
        self.transfers.close()
        self.die_after_up = self.die_after_down = None
        self.up = self.down = 0
        self.requests.clear()
        self.start()


def to_fetch(sent: Sent, size_bytes: int, staged: str = "staged", **changes) -> FileToFetch:
    fields = {
        "file_id": sent.answer["file_id"],
        "file_version_id": sent.answer["file_version_id"],
        "size_bytes": size_bytes,
        "mtime_ns": 1_234_567_890_123_456_789,
        "executable": False,
        "staged": staged,
    }
    return FileToFetch(**{**fields, **changes})


@pytest.fixture
def sign_in(server, account):
    apis = []

    def sign_in(name="laptop"):
        anyone = HttpApi(server.url, None)
        answer = anyone.request(
            "POST",
            "devices/sign-in",
            json={
                "email": account,
                "password": PASSWORD,
                "name": name,
                "platform": "linux",
                "client_version": "1",
            },
        )
        anyone.close()
        apis.append(HttpApi(server.url, answer["token"]))
        return apis[-1]

    yield sign_in
    for api in apis:
        api.close()


@pytest.fixture
def laptop(sign_in, tmp_path):
    device = Device(tmp_path / "laptop", sign_in())
    yield device
    device.transfers.close()


@pytest.fixture
def phone(sign_in, tmp_path):
    device = Device(tmp_path / "phone", sign_in("phone"))
    yield device
    device.transfers.close()


@pytest.fixture
def dice():
    return random.Random(11)


def test_files_of_every_size_arrive_as_they_were(laptop, phone, dice):
    contents = {
        "empty": b"",
        "one byte": b"x",
        "one block": dice.randbytes(256 * KIB),
        "just over": dice.randbytes(256 * KIB + 1),
        "large": dice.randbytes(9 * MIB + 12_345),
        "same again": bytes(12 * MIB),
    }
    sent = laptop.send_ok(*(laptop.write(name, content) for name, content in contents.items()))
    for name, content in contents.items():
        assert sent[name].content_hash == hashlib.sha256(content).hexdigest()
        assert sum(ref.size_bytes for ref in sent[name].blocks) == len(content)
        assert sent[name].answer["outcome"] == "committed"

    fetched = phone.fetch(
        *(to_fetch(sent[name], len(content), name) for name, content in contents.items())
    )

    for name, content in contents.items():
        assert isinstance(fetched[name], Fetched), fetched[name]
        assert phone.staged(name) == content
        assert fetched[name].content_hash == sent[name].content_hash
        assert fetched[name].blocks == sent[name].blocks
        assert fetched[name].signature == phone.fs.staged()[name]
        assert fetched[name].signature.mtime_ns == 1_234_567_890_123_456_789


def test_many_small_files_take_few_requests_each_way(laptop, phone, dice):
    contents = {f"file {number}": dice.randbytes(dice.randint(1, 3000)) for number in range(700)}

    sent = laptop.send_ok(*(laptop.write(name, content) for name, content in contents.items()))

    assert laptop.requests == ["POST init", "POST packs", "POST commit"]
    files = [to_fetch(sent[name], len(content), name) for name, content in contents.items()]
    fetched = phone.fetch(*files)
    assert all(isinstance(result, Fetched) for result in fetched.values())
    assert all(phone.staged(name) == content for name, content in contents.items())
    assert phone.requests == ["POST download"]


def test_what_the_account_has_already_is_not_sent_again(laptop, dice):
    content = dice.randbytes(5 * MIB)
    laptop.send_ok(laptop.write("first", content))
    before = laptop.up

    laptop.send_ok(laptop.write("second", content))

    assert before == len(content)
    assert laptop.up == before


def test_a_block_that_two_new_files_share_is_sent_once(laptop, dice):
    content = dice.randbytes(3 * MIB)
    small = dice.randbytes(1000)

    laptop.send_ok(
        laptop.write("a", content),
        laptop.write("b", content),
        *(laptop.write(f"small {number}", small) for number in range(5)),
    )

    assert laptop.up == len(content) + len(small)


def test_a_byte_in_front_of_a_file_costs_a_block_or_two(laptop, dice):
    content = dice.randbytes(24 * MIB)
    sent = laptop.send_ok(laptop.write("film", content))["film"]
    before = laptop.up

    laptop.write("film", b"!" + content)
    laptop.send_ok(
        laptop.to_send(
            "film",
            file_id=sent.answer["file_id"],
            base_version_id=sent.answer["file_version_id"],
        )
    )

    assert 0 < laptop.up - before <= 8 * MIB


def test_an_edit_on_an_old_version_answers_with_the_conflict_copy(laptop, dice):
    sent = laptop.send_ok(laptop.write("plan", b"one"))["plan"]
    base = {
        "file_id": sent.answer["file_id"],
        "base_version_id": sent.answer["file_version_id"],
    }
    laptop.write("plan", b"two!")
    laptop.send_ok(laptop.to_send("plan", **base))
    laptop.write("plan", b"three")

    late = laptop.send_ok(laptop.to_send("plan", **base))["plan"]

    assert late.answer["outcome"] == "conflict_copy"
    assert "conflicted copy" in late.answer["file"]["name"]


def test_after_a_kill_only_what_is_missing_is_sent(laptop, dice):
    content = dice.randbytes(40 * MIB)
    file = laptop.write("film", content)
    laptop.die_after_up = 20 * MIB
    with pytest.raises(Killed):
        laptop.send(file)
    arrived = laptop.up

    laptop.kill_and_restart()
    sent = laptop.send_ok(file)["film"]

    # What was under way at that moment may have arrived, too, or not.
    assert arrived >= 20 * MIB
    assert laptop.up <= len(content) - arrived
    assert sent.content_hash == hashlib.sha256(content).hexdigest()


def test_after_a_kill_before_the_answer_the_commit_is_not_made_twice(laptop):
    file = laptop.write("note", b"text")
    first = laptop.send_ok(file)["note"]

    laptop.kill_and_restart()
    again = laptop.send_ok(file)["note"]

    assert again.answer["file_version_id"] == first.answer["file_version_id"]
    assert laptop.up == 0


def test_after_a_kill_only_what_is_missing_is_fetched(laptop, phone, dice):
    content = dice.randbytes(40 * MIB)
    sent = laptop.send_ok(laptop.write("film", content))["film"]
    file = to_fetch(sent, len(content))
    phone.die_after_down = 20 * MIB
    with pytest.raises(Killed):
        phone.fetch(file)
    arrived = phone.down

    phone.kill_and_restart()
    assert isinstance(phone.fetch(file)["staged"], Fetched)

    assert phone.staged("staged") == content
    assert phone.down <= len(content) - arrived


def test_a_staged_file_that_rotted_since_the_kill_is_mended(laptop, phone, dice):
    content = dice.randbytes(20 * MIB)
    sent = laptop.send_ok(laptop.write("film", content))["film"]
    file = to_fetch(sent, len(content))
    phone.die_after_down = 15 * MIB
    with pytest.raises(Killed):
        phone.fetch(file)
    phone.kill_and_restart()
    staged = phone.root / ".drive" / "staging" / "staged"
    with staged.open("r+b") as stream:
        stream.seek(100)
        stream.write(b"rotten")

    phone.fetch(file)

    assert phone.staged("staged") == content


def test_blocks_on_this_disk_are_not_fetched(laptop, phone, dice):
    content = dice.randbytes(10 * MIB)
    sent = laptop.send_ok(laptop.write("film", content))["film"]
    (phone.root / "old name").write_bytes(b"##" + content)
    for ref in sent.blocks:
        phone.blocks.places[ref.block_hash] = [(("gone",), 0), (("old name",), ref.offset + 2)]

    phone.fetch(to_fetch(sent, len(content)))

    assert phone.staged("staged") == content
    assert phone.down == 0


def test_a_block_on_this_disk_that_is_another_by_now_is_fetched(laptop, phone, dice):
    content = dice.randbytes(3 * MIB)
    sent = laptop.send_ok(laptop.write("film", content))["film"]
    (phone.root / "edited").write_bytes(bytes(len(content)))
    for ref in sent.blocks:
        phone.blocks.places[ref.block_hash] = [(("edited",), ref.offset)]

    phone.fetch(to_fetch(sent, len(content)))

    assert phone.staged("staged") == content
    assert phone.down == len(content)


def test_a_file_that_changed_since_it_was_looked_at_is_not_sent(laptop):
    changed = laptop.write("draft", b"first words")
    os.utime(laptop.root / "draft", ns=(1, 1))
    good = laptop.write("good", b"fine")

    results = laptop.send(changed, good)

    assert isinstance(results["draft"], PathProblem)
    assert results["draft"].code == "changed-while-reading"
    assert isinstance(results["good"], Sent)


@pytest.mark.parametrize("size_bytes", [1000, 3 * MIB])
def test_a_file_that_changes_between_hashing_and_sending_is_not_sent(laptop, dice, size_bytes):
    """Same size, same time stamp: only the content's hash can tell."""
    content = dice.randbytes(size_bytes)
    file = laptop.write("draft", content)
    stamp = file.signature.mtime_ns
    real = laptop.api

    class ChangingAfterInit:
        def request(self, method, path, **details):
            answer = real.request(method, path, **details)
            if path.endswith("init"):
                (laptop.root / "draft").write_bytes(bytes(size_bytes))
                os.utime(laptop.root / "draft", ns=(stamp, stamp))
            return answer

    laptop.api = ChangingAfterInit()
    results = laptop.send(
        file, *(laptop.write(f"good {number}", b"%d" % number) for number in range(5))
    )
    laptop.api = real

    assert isinstance(results["draft"], PathProblem)
    assert all(isinstance(results[f"good {number}"], Sent) for number in range(5))
    assert laptop.api.request("GET", "account")["reserved_bytes"] == 0


def test_a_file_that_is_gone_or_unreadable_leaves_the_others_standing(laptop):
    gone = laptop.write("gone", b"soon gone")
    good = laptop.write("good", b"fine")
    (laptop.root / "gone").unlink()

    results = laptop.send(gone, good)

    assert isinstance(results["gone"], PathProblem)
    assert isinstance(results["good"], Sent)


def test_a_refused_file_leaves_the_others_standing(laptop):
    bad = laptop.write("bad", b"1")
    good = laptop.write("good", b"2")
    nowhere = laptop.to_send("bad", parent_folder_id=new_id())

    results = laptop.send(nowhere, good)

    assert isinstance(results["bad"], ApiProblem)
    assert results["bad"].code == "not-found"
    assert isinstance(results["good"], Sent)
    assert bad


def test_a_long_list_of_blocks_goes_and_comes_in_parts(laptop, phone, dice, monkeypatch):
    monkeypatch.setattr(transfer_send, "BLOCKS_PER_REQUEST", 5)
    monkeypatch.setattr(transfer_send, "URLS_PER_REQUEST", 4)
    monkeypatch.setattr(transfer_fetch, "BLOCKS_PER_PAGE", 3)
    content = dice.randbytes(20 * MIB)

    sent = laptop.send_ok(laptop.write("film", content))["film"]
    assert laptop.requests.count("POST blocks") >= 2
    phone.fetch(to_fetch(sent, len(content)))

    assert phone.staged("staged") == content
    assert phone.requests.count("POST download") >= 4


def test_urls_that_have_expired_are_renewed(laptop, phone, dice, monkeypatch):
    """Every first attempt is refused, as an expired URL is."""
    refused = set()

    def refusing(real):
        def attempt(self, presigned, argument):
            if presigned.url.split("?")[0] not in refused:
                refused.add(presigned.url.split("?")[0])
                raise StaleUrl
            return real(self, presigned, argument)

        return attempt

    # In blocks of their own, and in packs.
    contents = {"film": dice.randbytes(10 * MIB)}
    contents |= {f"note {number}": dice.randbytes(3000) for number in range(40)}
    monkeypatch.setattr(BlockStore, "put", refusing(BlockStore.put))
    sent = laptop.send_ok(*(laptop.write(name, content) for name, content in contents.items()))
    assert laptop.requests.count("POST packs") == 2
    refused.clear()
    monkeypatch.setattr(BlockStore, "get", refusing(BlockStore.get))
    fetched = phone.fetch(
        *(to_fetch(sent[name], len(content), name) for name, content in contents.items())
    )

    assert all(isinstance(result, Fetched) for result in fetched.values())
    assert all(phone.staged(name) == content for name, content in contents.items())


def test_urls_that_expire_in_the_middle_of_a_file_are_renewed_for_the_rest(
    laptop, phone, dice, monkeypatch
):
    """The first blocks pass; then every URL that was given out before is refused."""
    moved, expired = set(), set()

    def expiring(real):
        def attempt(self, presigned, argument):
            name = presigned.url.split("?")[0]
            if len(moved) >= 3 and name not in moved and name not in expired:
                expired.add(name)
                raise StaleUrl
            moved.add(name)
            return real(self, presigned, argument)

        return attempt

    content = dice.randbytes(12 * MIB)
    monkeypatch.setattr(BlockStore, "put", expiring(BlockStore.put))
    sent = laptop.send_ok(laptop.write("film", content))["film"]
    assert expired
    assert len(moved) == len(sent.blocks)
    moved.clear()
    expired.clear()
    monkeypatch.setattr(BlockStore, "get", expiring(BlockStore.get))
    phone.fetch(to_fetch(sent, len(content)))

    assert expired
    assert phone.staged("staged") == content


def test_a_store_that_refuses_for_ever_fails_that_file_only(laptop, dice, monkeypatch):
    large = laptop.write("large", dice.randbytes(MIB))
    empty = laptop.write("empty", b"")

    def refuse(self, presigned, content):
        raise StaleUrl

    monkeypatch.setattr(BlockStore, "put", refuse)
    results = laptop.send(large, empty)

    assert isinstance(results["large"], ApiProblem)
    assert results["large"].code == "block-refused"
    assert isinstance(results["empty"], Sent)


def test_wrong_bytes_from_the_store_never_reach_the_file(laptop, phone, dice, monkeypatch):
    content = dice.randbytes(2 * MIB)
    sent = laptop.send_ok(laptop.write("film", content))["film"]
    monkeypatch.setattr(
        BlockStore, "get", lambda self, presigned, size_bytes: memoryview(bytes(size_bytes))
    )

    result = phone.fetch(to_fetch(sent, len(content)))["staged"]

    assert isinstance(result, PathProblem)
    assert result.code == "content-unavailable"
    assert not (phone.root / ".drive" / "staging" / "staged").exists()


def test_a_store_that_does_not_answer_is_a_passing_trouble(laptop, phone, dice, monkeypatch):
    content = dice.randbytes(5 * MIB)
    sent = laptop.send_ok(laptop.write("film", content))["film"]

    def unreachable(self, presigned, size_bytes):
        raise Unreachable("The block store cannot be reached.")

    with monkeypatch.context() as patch:
        patch.setattr(BlockStore, "get", unreachable)
        with pytest.raises(Unreachable):
            phone.fetch(to_fetch(sent, len(content)))
    phone.fetch(to_fetch(sent, len(content)))

    assert phone.staged("staged") == content


def test_a_block_that_the_server_lost_fails_its_file_only(laptop, phone, server):
    # Of this test alone: no other account has the block stored, too.
    dice = random.Random(12)
    contents = {"bad": dice.randbytes(6 * MIB), "good": dice.randbytes(6 * MIB)}
    sent = laptop.send_ok(*(laptop.write(name, each) for name, each in contents.items()))
    first = sent["bad"].blocks[0].block_hash
    (stored,) = (path for path in server.data_dir.rglob(f"{first}/*") if path.is_file())
    whole = stored.read_bytes()
    os.truncate(stored, len(whole) // 2)

    wanted = [to_fetch(sent[name], 6 * MIB, name) for name in contents]
    results = phone.fetch(*wanted)

    assert isinstance(results["good"], Fetched)
    assert isinstance(results["bad"], PathProblem)
    assert results["bad"].code == "content-unavailable"

    # What has arrived of it is used when it is tried again.
    stored.write_bytes(whole)
    phone.kill_and_restart()
    assert isinstance(phone.fetch(wanted[0])["bad"], Fetched)
    assert phone.staged("bad") == contents["bad"]
    assert phone.down < 5 * MIB


def test_a_block_that_cannot_be_sent_leaves_the_others_standing(laptop, dice, monkeypatch):
    files = [laptop.write(name, dice.randbytes(6 * MIB)) for name in ("bad", "good")]
    put = BlockStore.put
    bad = (laptop.root / "bad").read_bytes()

    def sometimes(self, presigned, content):
        if bad.endswith(content):
            raise ObjectTrouble("The block store answered 500.")
        put(self, presigned, content)

    with monkeypatch.context() as patch:
        patch.setattr(BlockStore, "put", sometimes)
        results = laptop.send(*files)
    assert isinstance(results["good"], Sent)
    assert isinstance(results["bad"], Transient)

    laptop.kill_and_restart()
    laptop.send_ok(files[0])
    assert 0 < laptop.up < 5 * MIB


def test_a_store_that_fails_with_everything_is_in_trouble_itself(monkeypatch):
    monkeypatch.setattr("sync_client.transfer_store.pause_before", lambda attempt: 0.0)
    web = Web()
    web.answers[0] = Answer(503)
    store = BlockStore(threading.Event(), Limits())
    presigned = Presigned("GET", web.url, {})
    for _ in range(23):
        with pytest.raises(ObjectTrouble):
            store.get(presigned, 1)
    with pytest.raises(Transient):
        store.get(presigned, 1)
    web.answers[0] = Answer(200, b"x")
    assert bytes(store.get(presigned, 1)) == b"x"
    web.answers[0] = Answer(503)
    with pytest.raises(ObjectTrouble):
        store.get(presigned, 1)
    store.close()
    web.close()


def test_a_version_that_is_not_there_is_answered_for_that_file_only(laptop, phone):
    sent = laptop.send_ok(laptop.write("note", b"text"))["note"]

    results = phone.fetch(
        to_fetch(sent, 4, "good"),
        to_fetch(sent, 4, "gone", file_version_id=new_id()),
    )

    assert isinstance(results["good"], Fetched)
    assert isinstance(results["gone"], ApiProblem)
    assert results["gone"].code == "not-found"


def test_a_full_disk_is_a_problem_of_the_file_and_frees_its_room(laptop, phone, dice, monkeypatch):
    content = dice.randbytes(2 * MIB)
    sent = laptop.send_ok(laptop.write("film", content), laptop.write("note", b"text"))
    stage = phone.fs.stage

    class Full:
        def __init__(self, staged):
            self._staged = staged

        def write_at(self, offset, data):
            raise OSError(errno.ENOSPC, "No space left on device")

        def __getattr__(self, name):
            return getattr(self._staged, name)

    def staging(name):
        staged = stage(name)
        return Full(staged) if name == "film" else staged

    monkeypatch.setattr(phone.fs, "stage", staging)
    results = phone.fetch(to_fetch(sent["film"], len(content), "film"), to_fetch(sent["note"], 4))

    assert isinstance(results["film"], PathProblem)
    assert results["film"].code == "disk-full"
    assert isinstance(results["staged"], Fetched)
    assert "film" not in phone.fs.staged()


def test_stopping_ends_a_transfer_and_the_next_one_continues(laptop, dice):
    content = dice.randbytes(30 * MIB)
    file = laptop.write("film", content)
    arrived = threading.Event()
    real_count = laptop.count

    def count(up, down):
        real_count(up, down)
        if laptop.up >= 10 * MIB:
            arrived.set()

    laptop.transfers._sender._on_bytes = count
    stopper = threading.Thread(target=lambda: (arrived.wait(30), laptop.transfers.stop()))
    stopper.start()
    with pytest.raises(Transient):
        laptop.send(file)
    stopper.join()
    sent_before = laptop.up

    laptop.kill_and_restart()
    laptop.send_ok(file)

    assert laptop.up <= len(content) - sent_before


def test_names_of_blocks_are_the_hashes_of_their_bytes(laptop, dice):
    content = dice.randbytes(3 * MIB)
    sent = laptop.send_ok(laptop.write("film", content))["film"]
    for ref in sent.blocks:
        assert block_hash_of(content[ref.offset : ref.offset + ref.size_bytes]) == ref.block_hash
