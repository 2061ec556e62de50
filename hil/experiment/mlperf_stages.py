"""A model's folder through the official MLPerf Tiny runner on a rig."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from hil.artefact import load_artefact
from hil.experiment.device_stages import RigName, make_firmware, opened_rig
from hil.experiment.feature_file import load_features
from hil.experiment.mlperf import (
    MlperfRun,
    Mode,
    choose_clips,
    find_runner,
    inferences_for,
    run_runner,
    runner_commit,
    summarize,
    write_files,
)
from hil.experiment.run import connect
from hil.experiment.stages import ARTEFACT, FEATURES
from hil.experiment.workspace import Workspace, write_text
from hil.link.mlperf import TextLine
from hil.link.port import open_port
from hil.recipe import Recipe

FOLDER, RESULT = "mlperf", "result.json"


def run_mlperf(
    recipe: Recipe,
    ws: Workspace,
    rig_name: RigName,
    compiler: str | None,
    *,
    runner: Path,
    mode: Mode,
    clips: int,
    python: str = sys.executable,
    fast_load: bool = False,
) -> MlperfRun:
    """
    Build, flash, write the runner's files, time one inference, run the runner, compare with the twin.

    Args:
        recipe, ws, rig_name, compiler, fast_load: As for `hil.experiment.device_stages.make_run`.
        runner: A checkout of mlcommons/tiny, or its folder ``benchmark/runner``.
        mode: What it shall measure.
        clips: At most so many of the test set.
        python: The interpreter that runs it.

    Raises:
        UsageError, ToolError: As `find_runner`, `write_files`, `run_runner` and `summarize`.
        RigError, DeviceError: As `hil.experiment.run.run_on_rig`.
    """
    main = find_runner(runner, python)
    artefact, test = load_artefact(ws.path(ARTEFACT)), load_features(ws.path(FEATURES)).test
    chosen = choose_clips(test, clips)
    folder = ws.path(FOLDER)
    with opened_rig(ws, rig_name, fast_load=fast_load) as rig:
        firmware = make_firmware(recipe, ws, compiler, rig)
        rig.flash(firmware)
        device, hello = connect(rig, firmware)
        rig.real_time()
        path, baud = device.port, hello.baud
        device.close()
        with open_port(path, baud, rig.name) as port:
            line = TextLine(port, rig.name)
            line.load(test.x[chosen[0]].tobytes())
            each_s = line.infer(1, 0).seconds
        write_files(folder, test, chosen, inferences_for(each_s), baud)
        with ws.progress.task(f"MLPerf Tiny runner, {mode}") as update:
            lines: list[str] = []

            def told(text: str) -> None:
                lines.append(text)
                loaded = sum("Load complete" in line for line in lines)
                update(loaded, len(chosen) if mode == "accuracy" else 5, text)

            run_runner(main, folder, mode, path, told, python)
        result = summarize(mode, rig.name, rig.tier, artefact, test, chosen, folder, lines, runner_commit(main))
    write_text(folder / RESULT, json.dumps(dataclasses.asdict(result), indent=1, sort_keys=True) + "\n")
    return result
