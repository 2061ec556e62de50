"""
Speed of the emulator against Unicorn without hooks, in one run: `python tests/benchmarks/bench_emulator.py`.

Exits with 1 if a required ratio is missed.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[2])]

from emulator_support.speed import REPEATS, REQUIRED, measure  # noqa: E402  (the path is set above)

COLUMNS = ("program", "instructions", "1 wait state", "0 wait states", "Unicorn", "ratio", "required")


def row(cells) -> str:
    """Cells in columns."""
    return "".join(f"{cell:>15}" for cell in cells)


def main() -> int:
    """Print a row for each program; speeds in million instructions a second."""
    print(row(COLUMNS))
    missed = False
    for program in REPEATS:
        speed = measure(program, rounds=5)
        required = REQUIRED.get(program, 0)
        missed |= speed.ratio < required
        rates = [f"{rate / 1e6:.0f} M/s" for rate in (speed.emulator, speed.emulator_0ws, speed.oracle)]
        print(row((program, f"{speed.instructions:,}", *rates, f"{speed.ratio:.2f}", required or "")))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
