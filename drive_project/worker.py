"""`python -m drive_project.worker`: the embedded worker, with beat as one of its threads.

In production these are `celery -A drive_project worker` (many) and `… beat` (one). Here one
process does both, so that there is nothing to forget: when beat stops, the process ends, and
the launcher starts it again.
"""

import logging
import os
import sys
from threading import Event, Thread

from celery.beat import Service
from django.conf import settings

from drive_project.celery import app

logger = logging.getLogger(__name__)

# Two may be busy for a minute, hashing and collecting; one is left for what cannot wait.
THREADS = 3


def _beat(is_stopping: Event) -> None:
    app.set_current()
    service = Service(
        app,
        # It looks for the end, and for what is due, once a second.
        max_interval=1,
        schedule_filename=str(settings.DATA_DIR / "beat-schedule"),
    )
    try:
        service.start()
    except BaseException:
        logger.critical("Beat has failed: ending this worker", exc_info=True)
        raise
    finally:
        if not is_stopping.is_set():
            logging.shutdown()
            os._exit(1)


def main() -> None:
    """Work until SIGTERM, which lets running tasks end."""
    worker = app.Worker(
        pool="threads",
        concurrency=THREADS,
        without_gossip=True,
        without_mingle=True,
        quiet=True,
        loglevel=logging.INFO,
    )
    is_stopping = Event()
    Thread(target=_beat, args=(is_stopping,), name="beat", daemon=True).start()
    worker.start()
    is_stopping.set()
    sys.exit(worker.exitcode)


if __name__ == "__main__":
    main()
