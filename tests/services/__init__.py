"""Real services for the tests, private and short-lived: started here, stopped by pid.

For each, in this order: what the environment names, the system's programs, the programs
inside the wheels of the development requirements. Where none can be had the tests stop
with one sentence that says what to do; they are never skipped in silence.
"""

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable


class ServiceMissing(Exception):
    """No way to start a service was found; the text says what was tried and what helps."""


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def dies_with_parent(signal_number: int = signal.SIGKILL) -> Callable[[], None]:
    """A `preexec_fn` by which the child gets this signal when our thread ends, however.

    Linux only: elsewhere a killed test run leaves its services behind. The kernel forgets
    the wish when a process changes its user, so it must come after that; `subprocess` calls
    it there.
    """
    if sys.platform != "linux":
        return lambda: None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()
    set_parent_death_signal = 1

    def wish() -> None:
        libc.prctl(set_parent_death_signal, signal_number)
        if os.getppid() != parent:
            # It ended before the wish was made.
            os._exit(1)

    return wish
