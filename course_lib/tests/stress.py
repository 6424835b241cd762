"""Everything that can go wrong, on purpose and often: `make stress`.

    python course_lib/tests/stress.py                         # all groups, some 20 minutes on two cores
    python course_lib/tests/stress.py --only kill-training --times 200 --seed 7

One line for each group: what was tried, how often, what was seen; then one line for all. The status is 1 if
any group found a fault, or did not come to its number of trials in its time. A light share of it
(`--share 0.02`) runs in `make test`. An input that makes a fault is kept in ``build/stress``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before torch is there: processes that fork have one thread

import stress_checkpoints  # noqa: E402
import stress_decode  # noqa: E402
import stress_disk  # noqa: E402
import stress_kill  # noqa: E402
import stress_net  # noqa: E402
import stress_serve  # noqa: E402
from stress_kit import Trials  # noqa: E402

PARTS = (stress_kill, stress_disk, stress_net, stress_checkpoints, stress_serve, stress_decode)
GROUPS = {name: group for part in PARTS for name, group in part.GROUPS.items()}


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Nothing on stderr: neither our progress bars nor what a decoder's C code has to say."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=GROUPS, help="this group (may be given again)")
    parser.add_argument("--times", type=int, help="trials of each group; default: as each group says")
    parser.add_argument("--share", type=float, default=1.0, help="of the default number of trials")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=600, help="for one group; default 600")
    options = parser.parse_args(arguments)
    done, faults, groups = 0, 0, options.only or list(GROUPS)
    for name in groups:
        work, wanted = GROUPS[name]
        wanted = options.times or max(1, round(wanted * options.share))
        with tempfile.TemporaryDirectory(prefix=f"stress-{name}-") as folder:
            trials = Trials(name, wanted, options.seed, options.seconds, Path(folder).resolve())
            os.environ["COURSE_CACHE_DIR"] = str(trials.folder / "cache")
            try:
                with silence():
                    work(trials)
            except Exception:
                trials.check(False, traceback.format_exc())
            trials.check(trials.done >= wanted, f"only {trials.done} of {wanted} in {options.seconds:g} s")
        print(trials.line(), flush=True)
        done, faults = done + trials.done, faults + len(trials.faults)
    print(f"{len(groups)} groups, {done:,} trials, {faults} faults (seed {options.seed})")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
