"""A random sample of mutants of the pure core: small changes of its code, and whether a test or mypy notices each.

A mutant that is lost shows a test that is missing, or means the same as the code: look at each. The `ast` module is all
this needs: mutmut and cosmic-ray try every mutant of a package with one command for its tests, and have no sample.
"""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from random import Random

from tests.mutants.places import Mutant, mutants_of
from tests.mutants.targets import TARGETS
from tests.mutants.trials import NoBaseline, Tests, Tried, trials

ROOT = Path(__file__).resolve().parents[2]


def drawn(root: Path, paths: Iterable[str], *, seed: int, count: int, at: Sequence[str] = ()) -> list[Mutant]:
    """``count`` different mutants of these modules, each as likely, or as many as there are. The same seed draws the
    same from the same modules. Where ``at`` names files, or lines of them (`file:line`), all are from there."""
    sources = {path: (root / path).read_bytes() for path in sorted(paths)}
    mutants = [mutant for path, source in sources.items() for mutant in mutants_of(path, source)]
    mutants = [each for each in mutants if not at or {each.path, f"{each.path}:{each.line}"} & {*at}]
    Random(seed).shuffle(mutants)
    changing = (mutant for mutant in mutants if mutant.changes(sources[mutant.path]))
    return [mutant for mutant, _ in zip(changing, range(count), strict=False)]


def shown(mutant: Mutant) -> str:
    return f"{mutant.path}:{mutant.line}: {mutant.operator}\n  - {mutant.before}\n  + {mutant.after}\n"


def sampled(root: Path, mutants: Sequence[Mutant], targets: Mapping[str, Sequence[Tests]], *, jobs: int) -> list[Tried]:
    """Tries each with the lists of tests of its module, and tells of it on standard error."""
    results = []
    with closing(trials(root, mutants, lambda mutant: targets[mutant.path], jobs=jobs)) as ended:
        for tried in ended:
            results.append(tried)
            by = f", by {tried.noticed_by}" if tried.noticed_by else ""
            sys.stderr.write(f"{len(results)} of {len(mutants)} {tried.outcome}{by}: {shown(tried.mutant)}")
            sys.stderr.flush()
    return results


def as_json(seed: int, results: Sequence[Tried]) -> str:
    each = [{"outcome": tried.outcome, "noticed_by": tried.noticed_by} | asdict(tried.mutant) for tried in results]
    return json.dumps({"seed": seed, **counts(results), "mutants": each})


def counts(results: Sequence[Tried]) -> dict[str, float]:
    lost = sum(tried.outcome == "lost" for tried in results)
    endless = sum(tried.outcome == "caught: no end" for tried in results)
    share = round(100 * lost / len(results), 1) if results else 0.0
    return {
        "count": len(results),
        "caught": len(results) - lost,
        "no_end": endless,
        "lost": lost,
        "lost_percent": share,
    }


def report(seed: int, results: Sequence[Tried]) -> str:
    """For people: each lost one, then how many there are."""
    said = counts(results)
    lost = "".join(shown(tried.mutant) for tried in results if tried.outcome == "lost")
    return (
        f"{lost}seed {seed}: {said['count']} mutants, {said['caught']} caught ({said['no_end']} by the time limit), "
        f"{said['lost']} lost: {said['lost_percent']} %"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of the draw")
    parser.add_argument("--count", type=int, default=110, help="how many are drawn")
    parser.add_argument("--jobs", type=int, default=1, help="how many are tried at once")
    parser.add_argument(
        "--at", action="append", default=[], metavar="FILE[:LINE]", help="draw only here; may be repeated"
    )
    parser.add_argument("--show", action="store_true", help="list what is drawn, and try none")
    parser.add_argument("--json", action="store_true", help="one object on standard output instead of lines")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    mutants = drawn(ROOT, TARGETS, seed=given.seed, count=given.count, at=given.at)
    if given.show:
        sys.stdout.writelines(map(shown, mutants))
        return 0
    try:
        results = sampled(ROOT, mutants, TARGETS, jobs=given.jobs)
    except NoBaseline as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("ended before all mutants were tried; the copies are removed\n")
        return 130
    sys.stdout.write(f"{as_json(given.seed, results) if given.json else report(given.seed, results)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
