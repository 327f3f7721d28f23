"""Run the simulation from the command line: `python -m tests.simulation --seeds 1000`."""

import argparse
import sys
import time
from collections.abc import Sequence

from tests.simulation.runs import Failure, run, shrink


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many runs (default 100)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--steps", type=int, help="end after so many steps, whatever the seeds")
    parser.add_argument("--acts", type=int, default=60, help="acts in a run (default 60)")
    parser.add_argument("--shrink", action="store_true", help="shorten what fails")
    parser.add_argument("--twice", type=int, default=10, help="replay every so many-th seed")
    parser.add_argument("--failures", type=int, default=5, help="end after so many failures")
    parser.add_argument("--seed", type=int, help="run this one, and show what happens")
    parser.add_argument("--only", help="of that seed, only these acts: 1,5,9")
    asked = parser.parse_args(arguments)
    if asked.seed is not None:
        only = None if asked.only is None else [int(each) for each in asked.only.split(",")]
        outcome = run(asked.seed, acts=asked.acts, only=only, keeps_log=True)
        print("\n".join(outcome.log))
        print(outcome.failure or f"nothing is wrong ({outcome.steps} steps)")
        return int(outcome.failure is not None)
    return _many(asked)


def _many(asked: argparse.Namespace) -> int:
    began, steps, seeds, failures = time.monotonic(), 0, 0, 0
    for seed in range(asked.first, asked.first + asked.seeds):
        outcome = run(seed, acts=asked.acts)
        steps += outcome.steps
        seeds += 1
        if outcome.failure is not None:
            failures += 1
            _show(seed, outcome.failure, asked)
        elif asked.twice and seed % asked.twice == 0:
            again = run(seed, acts=asked.acts)
            steps += again.steps
            if again.trace != outcome.trace:
                failures += 1
                print(f"seed {seed}: the second run went another way", flush=True)
        if asked.steps is not None and steps >= asked.steps:
            break
        if failures >= asked.failures:
            break
    took = time.monotonic() - began
    print(
        f"{seeds} seeds from {asked.first}, {steps:,} steps in {took:.0f} s"
        f" ({steps / max(took, 0.001):,.0f}/s): {failures} failures"
    )
    return int(failures > 0)


def _show(seed: int, failure: Failure, asked: argparse.Namespace) -> None:
    acts = asked.acts
    print(f"seed {seed}: {failure}", flush=True)
    if not asked.shrink:
        return
    found = shrink(seed, acts=acts)
    only = ",".join(str(each) for each in found.acts)
    print(f'  make simulate SEED="{seed} --acts {acts} --only {only}"  {found.failure}', flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
