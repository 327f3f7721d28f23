"""After a crash: finish or give up the steps with content that were under way.

Each was written down before it began (`pending.py`). What is in staging and at the path
tells how far it came.
"""

from sync_client.apply_disk import give_back, settle_taken
from sync_client.apply_files import is_expected, record_placed, settle_displaced
from sync_client.errors import PathProblem
from sync_client.names import printable
from sync_client.nodes import Intent
from sync_client.operations import Conflict
from sync_client.ports import Displaced, Path, Signature, Why, displaced_name
from sync_client.workbench import Workbench


def recover(bench: Workbench) -> None:
    """Finish or give up the steps that were under way; then staging holds only downloads."""
    intents = bench.pending.intents()
    staged = bench.fs.staged()
    placed: list[Intent] = []
    gone_to: dict[str, Path | None] = {}
    for intent in intents:
        bench.look_again(intent.path[:-1])
        there = staged.get(intent.staged)
        if intent.step == "take":
            settle_taken(bench, intent, there)
        elif _was_placed(bench, intent, staged, gone_to):
            placed.append(intent)
    # The rename before the books, also now: what they say must outlive a power cut.
    bench.fs.sync([path[:-1] for each in intents for path in (each.path, each.aside) if path])
    with bench.trees.transaction():
        for intent in placed:
            record_placed(bench, intent, None, None, gone_to=gone_to.get(intent.staged))
        bench.pending.done(intents)
    _sweep_staging(bench)


def _was_placed(
    bench: Workbench,
    intent: Intent,
    staged: dict[str, Signature],
    gone_to: dict[str, Path | None],
) -> bool:
    """Whether a download reached its path; what it displaced is settled, and went to `gone_to`.

    That its staged file is gone proves nothing: staging may have been emptied, or the disk
    have lost what was never synced. Only the file at the path does, or the one that only an
    exchange can have put into staging. In doubt the answer is no: the scan finds what there
    is, and the plan goes on from that.
    """
    there = staged.get(intent.staged)
    aside = displaced_name(intent.staged)
    if there is not None and _is_the_download(intent, there):
        if aside in staged:
            # Without exchange, the old file goes first; nothing has come in its place.
            give_back(bench, Displaced(aside, staged[aside]), intent, Conflict.EDIT_EDIT)
        return False
    try:
        seen = bench.fs.observe(intent.path)
    except PathProblem:
        seen = None
    was_placed = seen is not None and _is_the_download(intent, seen.signature)
    if intent.step == "exchange":
        if there is not None:
            was_placed |= is_expected(intent, there)
            gone_to[intent.staged] = settle_displaced(
                bench, intent, Displaced(intent.staged, there)
            )
        if aside in staged:
            gone_to[intent.staged] = settle_displaced(
                bench, intent, Displaced(aside, staged[aside])
            )
    return was_placed


def _is_the_download(intent: Intent, signature: Signature) -> bool:
    return intent.staged_signature is not None and (
        signature.identity == intent.staged_signature.identity
    )


def _sweep_staging(bench: Workbench) -> None:
    """Drop downloads that nobody wants any more; keep what may be somebody's file."""
    for name, signature in bench.fs.staged().items():
        version_id = name.removesuffix(".part")
        is_download = version_id != name
        if is_download and bench.trees.knows_version(version_id):
            continue
        if is_download and not bench.trees.database.is_new:
            bench.fs.drop_staged(name)
        else:
            # Without the books, it may be what a download had just displaced.
            bench.fs.discard(Displaced(name, signature), (printable((name,)),), why=Why.LEFT_OVER)
