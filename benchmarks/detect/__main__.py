"""How well the rules about unusual hours find what is unusual, at an equal number of false alarms.

    make detect                                      all; some minutes at most
    make detect ARGS="--seeds 1000:1200 --json"      other series, as one object
    make detect ARGS="--series synth --false-alarms 0.63"

Every rule is scored by the code that judges in the worker, beside an oracle that knows the truth of the synthetic
series. Progress goes to standard error. Exit status 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

from rich.console import Console

from benchmarks.detect import synth, traces
from benchmarks.detect.labelled import Floats, Labelled
from benchmarks.detect.methods import METHODS, Method
from benchmarks.detect.oracle import oracle
from benchmarks.detect.report import Measured, Row, as_dict, show
from benchmarks.detect.scoring import Scored, outcome, threshold_at

SOURCES: Final[dict[str, Callable[[int], Labelled]]] = {"synth": synth.series, "traces": traces.series}
ORACLE: Final = "it knows the true mean of each hour, and how far noise goes"
TOLD_EVERY: Final = 20
INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        measured = [
            measure(name, options.seeds, false_alarms=options.false_alarms, tell=_tell)
            for name in (options.series or SOURCES)
        ]
    except KeyboardInterrupt:
        _tell("\nstopped: nothing is printed, since rules are compared on all series or not at all\n")
        return INTERRUPTED
    if options.json:
        print(json.dumps(as_dict(measured), indent=1))
    else:
        show(measured, Console(width=None if sys.stdout.isatty() else 120))
    return 0 if all(met for each in measured for *_, met in each.goals()) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.detect", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=_seeds, default=range(200), metavar="FIRST:END", help="0:200, if not given")
    parser.add_argument("--series", action="append", choices=list(SOURCES), help="those alone; without it both")
    parser.add_argument(
        "--false-alarms", type=_above_zero, default=1.0, metavar="N", help="a series and month, for each rule; 1"
    )
    parser.add_argument("--json", action="store_true", help="print one object")
    return parser


def _seeds(text: str) -> range:
    first, _, end = text.partition(":")
    if not (first.isdecimal() and end.isdecimal() and int(first) < int(end)):
        raise argparse.ArgumentTypeError(f"{text!r} names no seeds: write the first and the one after the last, 0:200")
    return range(int(first), int(end))


def _above_zero(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


def measure(name: str, seeds: range, *, false_alarms: float, tell: Callable[[str], None]) -> Measured:
    """Every rule on one kind of series; the oracle where the truth is known."""
    every: list[Labelled] = []
    for number, seed in enumerate(seeds, start=1):
        every.append(SOURCES[name](seed))
        _progress(tell, f"{name}: made", number, len(seeds))
    rows = [_measured(method, every, false_alarms, tell) for method in METHODS]
    if all(one.truth is not None for one in every):
        scored = [Scored(one, oracle(one)) for one in every]
        rows.append(Row("oracle", ORACLE, outcome(scored, threshold_at(scored, false_alarms=false_alarms))))
    return Measured(name, f"{seeds.start}:{seeds.stop}", false_alarms, rows)


def _measured(method: Method, every: Sequence[Labelled], false_alarms: float, tell: Callable[[str], None]) -> Row:
    scored, seconds = list[Scored](), 0.0
    for number, one in enumerate(every, start=1):
        began = time.process_time()
        scores: Floats = method.scores(one.moments, one.values, one.counts)
        seconds += time.process_time() - began
        scored.append(Scored(one, scores))
        _progress(tell, method.name, number, len(every))
    return Row(
        name=method.name,
        sentence=method.sentence,
        equal=outcome(scored, threshold_at(scored, false_alarms=false_alarms)),
        shipped=outcome(scored, method.shipped),
        microseconds=1e6 * seconds / sum(len(one.values) for one in every),
    )


def _progress(tell: Callable[[str], None], doing: str, number: int, of: int) -> None:
    if number % TOLD_EVERY == 0 or number == of:
        tell(f"\r{doing}: {number} of {of} series" + ("\n" if number == of else ""))


def _tell(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
