"""
Cycles of sums over events, on the emulated chip: ``python tests/benchmarks/bench_events.py [--compiler gcc|zig]``.

For each shape, share of zero weights and flash setting: cycles at 0 to 100 % of columns active, the line through them
over active nonzero weights (slope, intercept, largest residual), bytes of flash a weight, and, at 14 % zeros, the share
of active columns at which dense code of 1.42 cycles a weight would be as fast.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from event_support import EventChip, build_events, events_of

SHAPES = ((32, 32), (32, 64), (16, 128))
ZEROS = (0.14, 0.5, 0.8, 0.95)
ACTIVE = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)
DENSE = 1.42


def matrix(rng, inputs, units, zeros):
    weight = rng.choice([-4, -2, -1, 1, 2, 4], (2 * units, inputs + units))
    weight[rng.random(weight.shape) < zeros] = 0
    return weight.astype(np.int8)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compiler", default="gcc", choices=("gcc", "zig"))
    compiler = parser.parse_args().compiler
    print("tier: cycle-model (built-in emulator); cycles of the sums alone, lists ready")
    print(
        "D   H   zeros ws  flash B/w  " + "  ".join(f"{a:>6.0%}" for a in ACTIVE) + "   slope  fixed  resid  crossover"
    )
    for inputs, units in SHAPES:
        for zeros in ZEROS:
            rng = np.random.default_rng(1)
            weight = matrix(rng, inputs, units, zeros)
            with tempfile.TemporaryDirectory() as folder:
                elf, codes = build_events(Path(folder), compiler, {"sum": weight})
            code, columns = codes["sum"], weight.shape[1]
            for wait_states in (0, 1):
                chip, points = EventChip(elf, wait_states), []
                for share in ACTIVE:
                    values = np.zeros(columns, np.int64)
                    chosen = rng.permutation(columns)[: round(share * columns)]
                    values[chosen] = rng.integers(1, 32767, chosen.size)
                    events = events_of(values, code.where[:-1], code.where[-1])
                    acc, _ = chip.sum("sum", events, np.zeros(2 * units))
                    assert (acc == weight.astype(np.int64) @ values).all()
                    points.append((np.count_nonzero(weight[:, chosen]), chip.cycles))
                nonzero, cycles = np.array(points, float).T
                slope, fixed = np.polyfit(nonzero, cycles, 1)
                residual = np.abs(cycles - slope * nonzero - fixed).max()
                crossover = (DENSE * weight.size - fixed) / (slope * nonzero[-1])
                told = f"{min(crossover, 1):>8.0%}" if wait_states == 0 and zeros == ZEROS[0] else ""
                row = "  ".join(f"{c:>6.0f}" for c in cycles)
                flash = code.blocks * int(code.where[-1]) / weight.size
                print(
                    f"{inputs:<3} {units:<3} {zeros:>5.0%} {wait_states:>2}  {flash:>9.2f}  {row}  "
                    f"{slope:>6.3f} {fixed:>6.0f} {residual:>6.1f} {told}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
