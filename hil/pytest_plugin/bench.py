"""A rig for tests: taken once, flashed when the program changes, reset between tests, recovered after a fault."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from hil.artefact import Artefact, load_artefact
from hil.chips import Board, chip
from hil.codegen import complete_build, emit_c
from hil.errors import DeviceError, HilError, RigBusy, RigError, RigNotFound, UsageError, suggest
from hil.experiment.hashes import values_sha256
from hil.experiment.stages import ARTEFACT
from hil.firmware import Firmware, compile_firmware, find_compiler
from hil.link.device import Device, Hello
from hil.recipe import RECIPE_FILE, BuildRecipe, Recipe, StreamRecipe, load_recipe
from hil.resources import resource
from hil.rig import Rig, RigRequest, connect, load_rig, load_rig_file, predictor_of
from hil.rig.locks import BenchLock
from hil.trace import Tier

_POLL_S = 0.5


@dataclass(frozen=True)
class Model:
    """
    What is tested.

    Attributes:
        name: Of the model.
        path: Of its artefact.
        artefact: The model itself.
        build: How its firmware is built.
        stream: How it decides about streams of sound.
    """

    name: str
    path: Path
    artefact: Artefact
    build: BuildRecipe = field(default_factory=BuildRecipe)
    stream: StreamRecipe = field(default_factory=StreamRecipe)


def find_model(named: str, root: Path) -> Model:
    """
    A model by the path of an artefact, of a recipe or of a folder with either, or by the name of a shipped one.

    A recipe's artefact is ``build/NAME/model.artefact`` of the current folder, else the one beside the recipe.

    Args:
        named: As above; relative to ``root`` or to the current folder.
        root: pytest's root folder.

    Raises:
        UsageError: There is no such model; ArtefactError: its artefact is damaged.
    """
    shipped = {path.parent.name: path.parent for path in resource("models").glob(f"*/{RECIPE_FILE}")}
    places = [root / named, Path(named), *([shipped[named]] if named in shipped else [])]
    place = next((p for p in places if p.exists()), None)
    if place is None:
        raise UsageError(f"no model {named!r}{suggest(named, shipped)}: give a recipe's folder or an artefact")
    if place.is_file() and place.suffix != ".toml":
        artefact = load_artefact(place)
        return Model(artefact.name, place, artefact)
    folder = place.parent if place.is_file() else place
    recipe: Recipe | None = None
    if place.is_file() or (folder / RECIPE_FILE).is_file():
        recipe = load_recipe(place)
    built = [Path("build") / recipe.name / ARTEFACT] if recipe else []
    for path in (*built, folder / ARTEFACT):
        if path.is_file():
            artefact = load_artefact(path)
            return Model(
                artefact.name,
                path,
                artefact,
                recipe.build if recipe else BuildRecipe(),
                recipe.stream if recipe else StreamRecipe(),
            )
    raise UsageError(f"{folder}: has no {ARTEFACT} and none was built: run `hil train` and `hil quantize {named}`")


class BenchRig:
    """
    What the fixture `rig` gives a test.

    Attributes:
        name: Of the rig that runs.
        tier: What its cycles are worth.
        reason: Why it and not another.
        chip, wiring: What a program is built for.
        features: What it can be trusted for.
        firmware: The program on it, None before `start`.
        hello: What it said of itself.
        flashed: How often it was flashed.
        must_recover: The bench failed: it is opened and flashed anew before the next test.
    """

    def __init__(
        self, names: Sequence[str], *, fallback: bool, timeout_s: float | None, compiler: str | None, cache: Path
    ) -> None:
        """
        Args:
            names: Rigs or their files; of several the first one that is free.
            fallback: Another rig may stand in for one that is not there.
            timeout_s: For each frame; None: the rig's.
            compiler: ``"gcc"``, ``"zig"`` or None.
            cache: Folder for programs.

        Raises:
            RigError: None of them is there, or all are held by others.
        """
        self._stack = ExitStack()
        self._names, self._fallback = tuple(names), fallback
        self._timeout_s, self._compiler, self._cache = timeout_s, compiler, cache
        self._rig = self._stack.enter_context(_take(self._names, fallback, self._stack))
        self._device: Device | None = None
        self._predictor: tuple[Rig, Device, str] | None = None
        self._programs: dict[str, Firmware] = {}
        self.firmware: Firmware | None = None
        self.hello: Hello | None = None
        self.flashed = 0
        self.must_recover = False

    @property
    def name(self) -> str:
        return self._rig.name

    @property
    def tier(self) -> Tier:
        return self._rig.tier

    @property
    def reason(self) -> str:
        return self._rig.reason

    @property
    def chip(self) -> str:
        return self._rig.chip

    @property
    def wiring(self) -> Board:
        return self._rig.wiring

    @property
    def features(self) -> tuple[str, ...]:
        return self._rig.features

    @property
    def asked(self) -> str:
        """The rig as on the command line, to repeat a test."""
        return self._names[0]

    @property
    def device(self) -> Device:
        """To talk to.  Raises `RigNotFound` before `start`."""
        if self._device is None:
            raise RigNotFound(self.name, "nothing was flashed: name a model, or call rig.start(firmware)")
        return self._device

    def build(self, model: Model) -> Firmware:
        """The model's program for this rig's chip and wiring.  Raises as `hil.firmware.compile_firmware`."""
        build = complete_build(model.artefact, model.build.kernel, model.build.layers)
        key = f"{model.artefact.sha256()[:16]}-{values_sha256(build)[:8]}"
        if key not in self._programs:
            self._programs[key] = compile_firmware(
                emit_c(model.artefact, audio=True, build=build),
                chip=chip(self._rig.chip),
                board=self._rig.wiring,
                compiler=find_compiler(self._compiler),
                optimize=model.build.optimize,
                out=self._cache / f"{model.name}-{key}-{self._rig.chip}",
            )
        return self._programs[key]

    def start(self, firmware: Firmware) -> Device:
        """
        Have a program run from its start: flashed if it is another one, else reset.

        After a fault of the bench the rig is opened and flashed anew.

        Raises:
            RigError: The bench failed, and does so again.
            DeviceError: Another program answers.
        """
        if self.must_recover:
            self._recover()
        if self.firmware is None or self.firmware.elf_sha256 != firmware.elf_sha256:
            return self._flash(firmware)
        try:
            self.device.reset()
            self.hello = self.device.hello(firmware.build_id, firmware.artefact_hash)
            return self.device
        except (RigError, DeviceError):
            return self._flash(firmware)

    def _flash(self, firmware: Firmware) -> Device:
        self.firmware = self._device = None
        try:
            self._rig.flash(firmware)
            self.flashed += 1
            connection = connect(self._rig, firmware)
        except RigError:
            self.must_recover = True
            raise
        self._device, self.hello, self.firmware = connection.device, connection.hello, firmware
        if self._timeout_s is not None:
            self._device.conversation.timeout_s = self._timeout_s
        return self._device

    def _recover(self) -> None:
        """Let go of the rig and take one again, which may be another of the pool."""
        with suppress(HilError):
            self._stack.close()
        self.firmware = self._device = None
        self._predictor = None
        self._stack = ExitStack()
        self._rig = self._stack.enter_context(_take(self._names, self._fallback, self._stack))
        self.must_recover = False

    def predict(self, features: npt.NDArray[np.int16]) -> npt.NDArray[np.int64] | None:
        """
        [T] cycles that the model gives the same program and input; None where this rig is no board.

        Raises:
            HilError: As every rig.
        """
        predictor = predictor_of(self._rig)
        if predictor is None or self.firmware is None:
            return None
        if self._predictor is None or self._predictor[2] != self.firmware.elf_sha256:
            self._stack.enter_context(predictor)
            predictor.flash(self.firmware)
            self._predictor = predictor, connect(predictor, self.firmware).device, self.firmware.elf_sha256
        return self._predictor[1].run_sequence(features).cycles

    def close(self) -> None:
        """Let go of everything; harmless when repeated."""
        self._stack.close()
        self._device = None

    def __enter__(self) -> BenchRig:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _take(names: tuple[str, ...], fallback: bool, stack: ExitStack) -> Rig:
    """One of the rigs; of several one that no other run holds, waiting as long as the most patient one's file says."""
    if len(names) == 1:
        return load_rig(RigRequest(names[0], fallback))
    files = {name: load_rig_file(name) for name in names}
    deadline = time.monotonic() + max(file.stages.lock_s for file in files.values())
    worker = int("".join(c for c in os.environ.get("PYTEST_XDIST_WORKER", "0") if c.isdigit()))
    in_turn = [names[(worker + i) % len(names)] for i in range(len(names))]
    makers: dict[str, Callable[[], Rig]] = {n: lambda n=n: load_rig(RigRequest(n, fallback)) for n in in_turn}  # type: ignore[misc]
    while True:
        failed: list[RigError] = []
        for name, make in makers.items():
            try:
                if files[name].kind == "board":
                    stack.enter_context(BenchLock(name, f"rig {name}", f"pool:{name}"))
                return make()
            except RigError as error:
                failed.append(error)
        if not any(isinstance(error, RigBusy) for error in failed) or time.monotonic() >= deadline:
            raise failed[0]
        time.sleep(_POLL_S)
