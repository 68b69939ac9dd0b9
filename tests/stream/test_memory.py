"""A worker keeps the memory of a batch for the next one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from stream.runtime.memory import POLARS_ALLOCATOR, POLARS_VARIABLE

SET_UP = """
import sys
import stream.cli.worker as command
kept = command.keep_memory
def keep_memory():
    kept()
    assert "polars" not in sys.modules
    import os
    print(os.environ["_RJEM_MALLOC_CONF"])
    sys.exit(0)
command.keep_memory = keep_memory
command.worker()
"""

BATCHES, ARRAY_BYTES = 5, 32 << 20
PAGE_FAULTS = """
import resource, sys
if sys.argv[1] == "kept":
    from stream.runtime.memory import keep_memory
    keep_memory()
import numpy, polars
batches, numbers_in_a_batch = int(sys.argv[2]), int(sys.argv[3]) // 8
def batch():
    numbers = numpy.ones(numbers_in_a_batch)
    return polars.DataFrame({"a": numbers}).select((polars.col("a") + 1).alias("b"), polars.col("a").sort()).height
batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(batches):
    batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def output_of(program: str, *arguments: str, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name != POLARS_VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


def test_the_worker_sets_it_up_before_polars_is_there_to_read_it() -> None:
    assert output_of(SET_UP) == POLARS_ALLOCATOR


def test_what_the_operator_set_stays() -> None:
    assert output_of(SET_UP, **{POLARS_VARIABLE: "dirty_decay_ms:0"}) == "dirty_decay_ms:0"


@pytest.mark.skipif(sys.platform != "linux", reason="about glibc and the page faults of Linux")
def test_a_batch_after_the_first_takes_no_array_from_the_system_anew() -> None:
    """An array that was given back costs a page fault for each of its pages, and the largest pages are 2 MB."""
    kept, left_alone = (
        int(output_of(PAGE_FAULTS, how, str(BATCHES), str(ARRAY_BYTES))) for how in ("kept", "left alone")
    )
    one_array_a_batch = BATCHES * ARRAY_BYTES // (2 << 20)
    assert kept < one_array_a_batch
    assert left_alone >= one_array_a_batch, "the allocators keep memory by themselves: keep_memory has become needless"
