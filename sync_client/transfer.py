"""Whole files up and down over the network: the real `ports.Transfers`.

`transfer_send.py` and `transfer_fetch.py` do the work; here is what they share.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from sync_client.errors import SyncError
from sync_client.limits import Limits
from sync_client.ports import (
    Api,
    Contents,
    Fetched,
    FileToFetch,
    FileToSend,
    LocalBlocks,
    Sent,
)
from sync_client.transfer_fetch import Fetcher
from sync_client.transfer_send import Sender
from sync_client.transfer_state import TransferState
from sync_client.transfer_store import PARALLEL_REQUESTS, BlockStore

# Cutting and hashing release the interpreter lock; more threads than this wait for the disk.
HASHING_THREADS = 4


class HttpTransfers:
    """Transfers of one linked folder. Memory stays bounded whatever the files are: at most
    eight objects of up to 8 MiB are under way, and 48 MiB of packs."""

    def __init__(
        self,
        api: Api,
        fs: Contents,
        local_blocks: LocalBlocks,
        state: TransferState,
        *,
        limits: Limits | None = None,
        on_bytes: Callable[[int, int], None] = lambda up, down: None,
    ) -> None:
        """limits: shared with the other folders of the device. on_bytes: told of bytes that
        went up and down, from any thread."""
        self._stopped = threading.Event()
        self._store = BlockStore(self._stopped, limits or Limits())
        self._state = state
        self._hashing = ThreadPoolExecutor(HASHING_THREADS, "hashing")
        self._moving = ThreadPoolExecutor(PARALLEL_REQUESTS, "transfer")
        self._sender = Sender(
            api, self._store, fs, state, self._hashing, self._moving, self._stopped, on_bytes
        )
        self._fetcher = Fetcher(api, self._store, fs, state, local_blocks, self._moving, on_bytes)

    def send(
        self,
        files: Sequence[FileToSend],
        *,
        on_result: Callable[[FileToSend, Sent | SyncError], None],
    ) -> None:
        self._sender.send(files, on_result)

    def fetch(
        self,
        files: Sequence[FileToFetch],
        *,
        on_result: Callable[[FileToFetch, Fetched | SyncError], None],
    ) -> None:
        self._fetcher.fetch(files, on_result)

    def stop(self) -> None:
        """End what is under way soon, with Transient; from any thread."""
        self._stopped.set()

    def close(self) -> None:
        self.stop()
        self._hashing.shutdown(cancel_futures=True)
        self._moving.shutdown(cancel_futures=True)
        self._store.close()
        self._state.close()
