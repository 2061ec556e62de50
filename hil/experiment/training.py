"""
Training in processes of its own: two models at once, and the caller never imports torch.

A worker ends when its parent does: it writes to a pipe whose other end is gone.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import numpy as np

from hil.errors import HilError, ToolError, UsageError
from hil.experiment.progress import Progress, Update
from hil.recipe import Recipe

_TELL_S = 0.1
"""Shortest time between two messages of one worker."""
_END_S = 5.0

Model = Literal["gru", "embedded_gru", "event_embedded_gru", "event_gru", "quantized"]


@dataclass(frozen=True)
class Job:
    """
    One training.

    Attributes:
        recipe: How.
        model: ``"gru"``, ``"embedded_gru"``, ``"event_embedded_gru"`` or ``"event_gru"`` (float), or
            ``"quantized"``: the float network of the recipe's cell trained on in integers.
        features: The feature file.
        out: Where the model file goes; beside it, with the suffix ``.logits.npy``, its outputs on the test set.
        start: The float eGRU, for ``"quantized"``.
        checkpoint: Keeps the state of a training that is not finished; one that finds it goes on from there.
        tensorboard: Folder for learning curves; None: none are written.
    """

    recipe: Recipe
    model: Model
    features: Path
    out: Path
    start: Path | None = None
    checkpoint: Path | None = None
    tensorboard: Path | None = None


@dataclass(frozen=True)
class Trained:
    """
    What a worker tells at its end.

    Attributes:
        test_accuracy: On the test set, 0..1.
        validation_accuracy: Of the epoch that was kept.
    """

    test_accuracy: float
    validation_accuracy: float


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    update: Update
    ending: Trained | Exception | None = None


class Workers:
    """Training processes; use `workers`, which ends them."""

    def __init__(self, progress: Progress, stack: ExitStack) -> None:
        self._progress, self._stack = progress, stack
        self._workers: dict[str, _Worker] = {}

    def start(self, title: str, job: Job) -> None:
        """Start one; ``title`` names it."""
        update = self._stack.enter_context(self._progress.task(title))
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(job, theirs), name=title, daemon=True)
        resource_tracker.ensure_running()  # starting it later would let interrupts through again
        with _interrupts_held():
            process.start()
        self._workers[title] = _Worker(process, ours, update)
        theirs.close()

    def result(self, title: str) -> Trained:
        """
        Wait for one, showing the progress of all.

        Raises:
            HilError: As raised in the worker.
            ToolError: The worker ended without a word.
        """
        worker = self._workers[title]
        while worker.ending is None:
            alive = {w.pipe: w for w in self._workers.values() if w.ending is None}
            for pipe in wait(list(alive), timeout=1.0):
                assert isinstance(pipe, Connection)
                self._read(alive[pipe])
        if isinstance(worker.ending, Exception):
            raise worker.ending
        return worker.ending

    def _read(self, worker: _Worker) -> None:
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join(_END_S)
            worker.ending = ToolError(
                f"training of {worker.process.name} ended without a result (exit code {worker.process.exitcode}). "
                f"Is there enough memory? Run the command again: it goes on after the last epoch."
            )
            return
        if isinstance(message, tuple):
            worker.update(*message)
        else:
            worker.ending = message

    def end(self) -> None:
        """Terminate what still runs."""
        for worker in self._workers.values():
            worker.process.terminate()
        for worker in self._workers.values():
            worker.process.join(_END_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()


@contextmanager
def workers(progress: Progress) -> Iterator[Workers]:
    """Workers that end with the block, however it ends."""
    with ExitStack() as stack:
        made = Workers(progress, stack)
        try:
            yield made
        finally:
            made.end()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """
    Ctrl-C waits until the block is done; a process started inside never gets it, its parent ends it instead.

    Blocking the signal is what the new process inherits.  It does not keep it from this one, where another thread may
    take it: hence the handler.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    held = False

    def hold(number: int, frame: FrameType | None) -> None:
        nonlocal held
        held = True

    handler = signal.signal(signal.SIGINT, hold)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, signal.SIG_DFL if handler is None else handler)
    if held and callable(handler):
        handler(signal.SIGINT, None)


def _work(job: Job, pipe: Connection) -> None:
    """The worker: messages are (done, total, text), then a `Trained` or an error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        ending: Trained | Exception = _train(job, pipe)
    except BrokenPipeError:
        return
    except ModuleNotFoundError as error:
        ending = UsageError(f"training needs {error.name}: pip install 'hil[train]'")
    except HilError as error:
        ending = UsageError(str(error))
    except Exception:
        ending = ToolError(f"training failed:\n{traceback.format_exc()}")
    pipe.send(ending)


def _train(job: Job, pipe: Connection) -> Trained:
    from hil.experiment.feature_file import load_features
    from hil.float_model import load_float_model
    from hil.train import Session, fit, fit_quantized, predict

    features = load_features(job.features)
    told = 0.0

    def tell(done: int, total: int, text: str = "") -> None:
        nonlocal told
        if done == total or time.monotonic() - told >= _TELL_S:
            told = time.monotonic()
            pipe.send((done, total, text))

    sets: tuple[Any, Any] = (features.train, features.validation)
    session = Session(features.frontend, features.labels, tell, job.checkpoint, job.tensorboard)
    if job.model == "quantized":
        assert job.start is not None
        model = fit_quantized(job.recipe, load_float_model(job.start), *sets, session=session)
    else:
        model = fit(job.recipe, *sets, kind=job.model, session=session)
    model.save(job.out)
    logits = predict(model, features.test)
    np.save(job.out.with_suffix(".logits.npy"), logits)
    correct = logits.argmax(axis=1) == features.test.y
    return Trained(float(correct.mean()), max((e.validation_accuracy for e in model.curve), default=0.0))
