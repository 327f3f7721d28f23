"""Whether the tests have teeth: take one safeguard away, and they must fail.

`make mutants` copies the tree, changes one place of the source, runs what should notice, and
expects it to fail; without a change, the same must pass. A change whose text is not in the
source any more is an error, which `test_mutants.py` finds in each `make test`.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).parents[2]
SIMULATION = ("-m", "tests.simulation", "--seeds", "400", "--failures", "1", "--twice", "0")
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "var", "__pycache__", ".*_cache", ".hypothesis")


@dataclass(frozen=True)
class Mutant:
    """One safeguard less. changes: file, text, what stands there instead."""

    name: str
    changes: tuple[tuple[str, str, str], ...]
    command: tuple[str, ...] = SIMULATION
    needs_postgres: bool = False

    def check(self) -> None:
        """Each text is in its file, once. Raises SystemExit."""
        for name, text, _ in self.changes:
            if (count := (ROOT / name).read_text().count(text)) != 1:
                raise SystemExit(
                    f"{self.name}: its text is {count} times in {name}. Mend the list in"
                    " tests/simulation/mutants.py."
                )


def pytest(*arguments: str) -> tuple[str, ...]:
    return ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *arguments)


MUTANTS = (
    Mutant(
        "fsync of contents before their names",
        (
            (
                "sync_client/apply_files.py",
                "    bench.fs.sync_staged([intent.staged for _, intent, _ in steps])\n",
                "",
            ),
        ),
    ),
    Mutant(
        "fsync of folders before the books",
        (
            (
                "sync_client/apply_files.py",
                "    bench.fs.sync([path[:-1] for intent, _ in done"
                " for path in (intent.path, intent.aside) if path])\n",
                "",
            ),
        ),
    ),
    Mutant(
        "the check of what an exchange displaced",
        (
            (
                "sync_client/apply_files.py",
                "    elif is_agreed(bench, intent, displaced):\n",
                "    elif True:\n",
            ),
        ),
    ),
    Mutant(
        "the check of what a deletion took",
        (
            (
                "sync_client/apply_disk.py",
                "    if is_agreed(bench, intent, displaced):\n",
                "    if True:\n",
            ),
        ),
    ),
    Mutant(
        "the base revision of an upload",
        (
            (
                "sync_client/apply_files.py",
                "        return synced.version_id, synced.parent_id\n",
                "        now = bench.trees.remote(synced.item_id)\n"
                "        return (now or synced).version_id, synced.parent_id\n",
            ),
        ),
    ),
    Mutant(
        "op_id: one for each request, however often it is sent",
        (
            (
                "sync_client/pending.py",
                "        if row is not None:\n            return str(row[0])\n        op_id",
                "        op_id",
            ),
            ("sync_client/pending.py", '"INSERT INTO op_ids', '"INSERT OR REPLACE INTO op_ids'),
        ),
        # What the journal tells of our own uploads makes up for most of it, so that chance
        # hardly ever meets the one harm: somebody edits a new file before its maker has asked
        # again.
        pytest("tests/sync_client/test_engine.py", "-k", "though_the_answer_was_lost"),
    ),
    Mutant(
        "op_id: the same request, the first answer",
        (
            (
                "files/idempotency.py",
                "    return record\n\n\ndef remember(",
                "    return None\n\n\ndef remember(",
            ),
        ),
        pytest("tests/files/test_idempotency.py"),
    ),
    Mutant(
        "the lock on the namespace",
        (
            (
                "files/services/locking.py",
                "Namespace.objects.select_for_update(no_key=True)\n"
                "        .filter(pk__in=wanted)\n",
                "Namespace.objects.filter(pk__in=wanted)\n",
            ),
        ),
        pytest("tests/files/test_commit_races.py"),
        needs_postgres=True,
    ),
    Mutant(
        "the references taken at the init",
        (
            (
                "blocks/references.py",
                "for value in (block_hash, count, BlockState.AWAITED.value)\n",
                "for value in (block_hash, 0, BlockState.AWAITED.value)\n",
            ),
        ),
        pytest("tests/blocks/test_concurrency.py"),
        needs_postgres=True,
    ),
)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="those with this in their names")
    asked = parser.parse_args(arguments)
    chosen = [each for each in MUTANTS if asked.only in each.name]
    for mutant in chosen:
        mutant.check()
    survivors = 0
    print("| without | caught by | |\n|---|---|---|", flush=True)
    for mutant in chosen:
        said = run(mutant)
        survivors += said is None
        what = " ".join(each for each in mutant.command if each[0] != "-")
        print(f"| {mutant.name} | `{what}` | {said or 'SURVIVED'} |", flush=True)
    return int(survivors > 0)


def run(mutant: Mutant) -> str | None:
    """What the tests said when they failed; None where they passed."""
    with tempfile.TemporaryDirectory(prefix="drive-mutant-") as folder:
        tree = pathlib.Path(folder) / "drive"
        shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
        for name, text, instead in mutant.changes:
            file = tree / name
            file.write_text(file.read_text().replace(text, instead))
        environment = dict(os.environ)
        if mutant.needs_postgres:
            environment["DRIVE_TEST_DATABASE"] = "postgres"
        done = subprocess.run(
            [sys.executable, *mutant.command],
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode == 0:
        return None
    lines = [line for line in done.stdout.splitlines() if line.startswith(("seed ", "FAILED "))]
    if not lines:
        raise SystemExit(f"{mutant.name}: the tests did not run.\n{done.stdout}\n{done.stderr}")
    return lines[0][:120]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
