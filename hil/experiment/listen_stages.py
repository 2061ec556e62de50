"""Sound through a rig from a model's folder: its test clips, or recordings given by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hil.artefact import Artefact, FrontEnd, load_artefact
from hil.errors import UsageError
from hil.experiment.device_stages import RigName, make_firmware, opened_rig
from hil.experiment.listen import AudioRun, Stream, listening_of, run_clips, run_stream, whole_window
from hil.experiment.run import connect
from hil.experiment.stages import ARTEFACT, DATA
from hil.experiment.workspace import Workspace
from hil.link.audio import Heard
from hil.recipe import Recipe

Show = Callable[[Artefact, str, Heard], None]


def make_audio_run(
    recipe: Recipe, ws: Workspace, rig_name: RigName, compiler: str | None, fast_load: bool = False
) -> AudioRun:
    """
    The test clips as samples through a rig.

    Raises:
        UsageError: The model takes no sound, or the clips are not there.
        HilError: As `hil.experiment.device_stages.make_run`.
    """
    from hil.datasets import load_saved_dataset

    artefact, _ = _with_sound(ws)
    path = ws.path(DATA)
    if not path.is_file():
        raise UsageError(f"{path}: no clips here. Make them: `hil train MODEL`")
    clips = load_saved_dataset(path).test
    with opened_rig(ws, rig_name, fast_load=fast_load) as rig:
        firmware = make_firmware(recipe, ws, compiler, rig)
        return run_clips(artefact, clips, firmware, rig, ws.progress)


def run_inputs(
    recipe: Recipe,
    ws: Workspace,
    rig_name: RigName,
    compiler: str | None,
    files: Sequence[Path],
    show: Show,
    fast_load: bool = False,
) -> list[Stream]:
    """
    Recordings as streams through a rig, decided as the recipe's [stream] says.

    Args:
        recipe, ws, rig_name, compiler, fast_load: As for `make_audio_run`.
        files: WAV, FLAC and whatever else libsndfile reads; brought to the front end's rate.
        show: Called with the model, the file's name and what each part of it gave, as it comes.

    Raises:
        UsageError: The model takes no sound, or a file cannot be used.
        HilError: As `make_audio_run`.
    """
    from hil.datasets.audio import read_sounds

    artefact, frontend = _with_sound(ws)
    listening = listening_of(recipe.stream, artefact)
    notes: list[str] = []
    sounds = read_sounds(files, Path(), frontend.rate_hz, skip_bad=False, notes=notes)
    for note in notes:
        ws.progress.say(note)
    streams = []
    with opened_rig(ws, rig_name, fast_load=fast_load) as rig:
        firmware = make_firmware(recipe, ws, compiler, rig)
        rig.flash(firmware)
        device, _ = connect(rig, firmware)
        rig.stream()
        for path, samples in zip(files, sounds, strict=True):
            assert samples is not None
            heard = whole_window(samples, frontend, listening)
            if heard.size > samples.size:
                ws.progress.say(f"{path}: shorter than a window; silence is put after it")
            streams.append(
                run_stream(artefact, str(path), heard, listening, device, _shower(show, artefact, str(path)))
            )
    return streams


def _with_sound(ws: Workspace) -> tuple[Artefact, FrontEnd]:
    """The folder's artefact and its front end.  Raises `UsageError` if it takes no sound."""
    artefact = load_artefact(ws.path(ARTEFACT))
    return artefact, artefact.sound


def _shower(show: Show, artefact: Artefact, name: str) -> Callable[[Heard], None]:
    return lambda heard: show(artefact, name, heard)
