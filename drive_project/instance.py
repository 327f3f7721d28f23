"""One instance: the folder it lives in, the address it serves, its private Redis.

Read by the settings and by the launcher, which stays small by never loading Django.
Several instances run side by side from one checkout: each has a data folder of its own.
"""

import re
from pathlib import Path

from drive_project import env

BASE_DIR = Path(__file__).resolve().parent.parent

DATA_DIR = env.folder(
    "DRIVE_DATA_DIR",
    default=BASE_DIR / "var",
    shown_default="var/ in the checkout",
    meaning="Folder of the embedded databases, blocks, Redis data, keys and logs.",
)
BIND_HOST, BIND_PORT = env.bind(
    "DRIVE_BIND", default="127.0.0.1:8000", meaning="Address on which `make up` serves."
)
REDIS_URL = env.redis_url(
    "REDIS_URL",
    shown_default="a private Redis that `make up` starts in DRIVE_DATA_DIR",
    meaning="Redis for Celery, signals, event streams and cache. redis://…, rediss://…, unix:///… "
    "or redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB; not a cluster.",
)

# Where the private Redis listens when its socket cannot stand in the data folder.
REDIS_SOCKET_NOTE = DATA_DIR / "redis.socket-path"
# The kernel's limit is 108 bytes with the closing NUL (104 on macOS).
MAX_SOCKET_PATH_BYTES = 100


def has_room_for_socket(folder: Path) -> bool:
    """Whether a socket in the folder has a path that the kernel and URLs take as it stands."""
    path = str(folder / "redis.sock")
    is_plain = re.fullmatch(r"[A-Za-z0-9/._+@=,-]+", path) is not None
    return is_plain and len(path) <= MAX_SOCKET_PATH_BYTES


def redis_socket() -> Path:
    """The private Redis's UNIX socket, as the launcher that runs it has placed it."""
    try:
        return Path(REDIS_SOCKET_NOTE.read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return DATA_DIR / "redis.sock"
