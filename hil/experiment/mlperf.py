"""
The official MLPerf Tiny runner, unmodified, from the user's own checkout, against a rig.

Its files are written here, its ``main.py`` runs in a process of its own, and what it found is compared with the twin.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hil.artefact import Artefact
from hil.errors import ToolError, UsageError
from hil.experiment.workspace import write_text
from hil.features import FeatureSet
from hil.quant import run_twins
from hil.trace import Tier

Mode = Literal["accuracy", "performance"]
MODEL_ID = "egru01"
WINDOWS = 5
"""Of performance mode; the runner refuses another number."""
WINDOW_S = 12.0
"""Aimed at: more than 10 s is valid, and after 30 s the runner gives up."""
WARMUPS = 2
MOST_INFERENCES = 1_000_000
USB_ID = (0x03EB, 0x2111)
"""Of the EDBG probe; what the runner is told."""
NEEDED = ("numpy", "sklearn", "matplotlib", "serial", "yaml")
_TOP1 = re.compile(r"Top 1% = ([0-9.]+)")
_THROUGHPUT = re.compile(r"Median throughput is +([0-9.]+)")


@dataclass(frozen=True)
class MlperfRun:
    """
    What the runner found.

    Attributes:
        mode: Accuracy or performance.
        rig, tier: Where, and what the device's clock is worth.
        clips: Inputs that it sent.
        accuracy: In percent, as it printed; None in performance mode.
        twin_accuracy: Of the twin on the same clips, in percent.
        agreeing: Clips whose first result is the twin's decision.
        throughput: Inferences a second, median of the windows; None in accuracy mode.
        runner: The runner's commit, if it is a git checkout, else ``"unknown"``.
    """

    mode: Mode
    rig: str
    tier: Tier
    clips: int
    accuracy: float | None
    twin_accuracy: float
    agreeing: int
    throughput: float | None
    runner: str


def find_runner(path: Path, python: str = sys.executable) -> Path:
    """
    The runner's ``main.py``.

    Args:
        path: The folder with it, or a checkout of mlcommons/tiny.
        python: The interpreter that will run it.

    Raises:
        UsageError: It is not there.
        ToolError: The interpreter lacks packages that it needs; they are listed.
    """
    candidates = [path / "main.py", path / "benchmark" / "runner" / "main.py"]
    found = next((p for p in candidates if p.is_file() and p.with_name("device_under_test.py").is_file()), None)
    if found is None:
        raise UsageError(
            f"{path}: has no main.py of the MLPerf Tiny runner. "
            "Clone https://github.com/mlcommons/tiny and name its folder benchmark/runner."
        )
    check = "import importlib.util, sys; print(*(m for m in sys.argv[1:] if importlib.util.find_spec(m) is None))"
    done = subprocess.run([python, "-c", check, *NEEDED], capture_output=True, text=True, check=False)
    if done.returncode or done.stdout.split():
        names = {"sklearn": "scikit-learn", "serial": "pyserial", "yaml": "PyYAML"}
        missing = " ".join(names.get(name, name) for name in done.stdout.split()) or "a working Python"
        raise ToolError(f"{python} cannot run the MLPerf Tiny runner: it lacks {missing}. `pip install {missing}`")
    return found


def choose_clips(test: FeatureSet, most: int) -> list[int]:
    """Indices of at most ``most`` clips, the labels in turn, so that each of them occurs as early as it can."""
    by_label = [np.flatnonzero(test.y == label).tolist() for label in np.unique(test.y)]
    turns = max((len(members) for members in by_label), default=0)
    ordered = [members[turn] for turn in range(turns) for members in by_label if turn < len(members)]
    return ordered[:most]


def write_files(folder: Path, test: FeatureSet, clips: Sequence[int], inferences: int, baud: int) -> None:
    """
    The runner's configuration and data: ``devices.yaml``, ``tests_*.yaml`` and ``datasets/egru01/``.

    Args:
        folder: Where; made if missing.
        test: The test set.
        clips: Which of it, in order; performance mode takes the first five.
        inferences: In each window of performance mode.
        baud: Line speed.

    Raises:
        UsageError: Fewer than five clips, or a label without one: the runner needs each in its table.
    """
    absent = sorted({*np.unique(test.y).tolist()} - {int(test.y[i]) for i in clips})
    if len(clips) < WINDOWS or absent:
        raise UsageError(f"{len(clips)} clips are too few for the runner: it needs {WINDOWS}, and one of each label")
    data = folder / "datasets" / MODEL_ID
    data.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, clip in enumerate(clips):
        name = f"clip{number:04d}.bin"
        (data / name).write_bytes(test.x[clip].astype("<i2").tobytes())
        rows.append(f"{name},{int(test.y.max()) + 1},{int(test.y[clip])}\n")
    write_text(data / "y_labels.csv", "".join(rows))
    vendor, product = (f"0x{number:04X}" for number in USB_ID)
    speeds = f"{{energy: 9600, performance: {baud}, accuracy: {baud}}}"
    write_text(
        folder / "devices.yaml",
        f"- name: hil\n  type: dut\n  baud: {speeds}\n  usb:\n    {vendor}: {product}\n",
    )
    for mode, loop, infer in (
        ("accuracy", "loop", "infer 1 0"),
        ("performance", f"loop {WINDOWS}", f"infer {inferences} {WARMUPS}"),
    ):
        write_text(
            folder / f"tests_{mode}.yaml",
            f"{MODEL_ID}:\n  name: {MODEL_ID}\n  model: {MODEL_ID}\n  truth_file: y_labels.csv\n"
            f"  script:\n    - {loop}:\n      - download\n      - {infer}\n",
        )


def inferences_for(seconds_each: float) -> int:
    """How many fill a window.  Raises `UsageError` if one alone is too long for the runner."""
    if seconds_each * 2 > WINDOW_S:
        raise UsageError(f"an inference takes {seconds_each:.1f} s: the runner waits 30 s for a window of at least two")
    return min(MOST_INFERENCES, max(1, round(WINDOW_S / max(seconds_each, 1e-9))))


def run_runner(
    main: Path, folder: Path, mode: Mode, port: str, told: Callable[[str], None], python: str = sys.executable
) -> list[str]:
    """
    Run ``main.py`` in ``folder``; its lines, as they come also to ``told``.

    Raises:
        ToolError: It failed; carries what it said.
    """
    site = Path(__file__).with_name("mlperf_site")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONUNBUFFERED": "1",
        "MPLBACKEND": "Agg",
        "HIL_MLPERF_PORT": port,
        "HIL_MLPERF_VID": str(USB_ID[0]),
        "HIL_MLPERF_PID": str(USB_ID[1]),
    }
    command = [python, str(main), "-d", "devices.yaml", "-t", f"tests_{mode}.yaml", "-s", "datasets", "-m", mode[0]]
    lines: list[str] = []
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line.rstrip("\n"))
                told(lines[-1])
            code = process.wait()
        finally:
            process.kill()
    if code:
        raise ToolError(f"the MLPerf Tiny runner ended with {code}", command, "\n".join(lines[-40:]))
    return lines


def summarize(
    mode: Mode,
    rig: str,
    tier: Tier,
    artefact: Artefact,
    test: FeatureSet,
    clips: Sequence[int],
    folder: Path,
    lines: Sequence[str],
    runner: str,
) -> MlperfRun:
    """
    What the runner printed and left in its session, beside the twin.

    Raises:
        ToolError: It gave no result, or called it invalid.
    """
    for line in lines:
        if "ERROR" in line:
            raise ToolError(f"the MLPerf Tiny runner says: {line.strip()}", log="\n".join(lines[-40:]))
    accuracy, throughput = _found(_TOP1, lines), _found(_THROUGHPUT, lines)
    if (accuracy if mode == "accuracy" else throughput) is None:
        raise ToolError("the MLPerf Tiny runner printed no result", log="\n".join(lines[-40:]))
    used = list(clips) if mode == "accuracy" else list(clips[:WINDOWS])
    decisions = [trace.decision for trace in run_twins(artefact, test.x[used])]
    results = [entry["infer"]["results"] for entry in _session(folder) if "infer" in entry]
    agreeing = sum(int(np.argmax(r)) == d for r, d in zip(results, decisions, strict=True))
    twin = 100 * float(np.mean([d == test.y[i] for d, i in zip(decisions, used, strict=True)]))
    return MlperfRun(mode, rig, tier, len(used), accuracy, twin, agreeing, throughput, runner)


def runner_commit(main: Path) -> str:
    """Of the checkout; ``"unknown"`` outside one."""
    command = ["git", "-C", str(main.parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _found(pattern: re.Pattern[str], lines: Sequence[str]) -> float | None:
    matches = [match for line in lines if (match := pattern.search(line))]
    return float(matches[-1][1]) if matches else None


def _session(folder: Path) -> list[dict[str, Any]]:
    """The newest session's results."""
    files = sorted((folder / "sessions").glob("*/results.json"))
    if not files:
        raise ToolError(f"{folder / 'sessions'}: the MLPerf Tiny runner left no results.json")
    entries: list[dict[str, Any]] = json.loads(files[-1].read_text(encoding="utf-8"))
    return entries
