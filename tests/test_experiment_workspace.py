"""Stages: skipped when nothing has changed, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hil.errors import UsageError
from hil.experiment.hashes import code_sha256, commit, version
from hil.experiment.progress import Quiet
from hil.experiment.workspace import Workspace, write_text


def workspace(folder: Path, force: bool = False) -> Workspace:
    return Workspace(folder, Quiet(), force)


def writer(text: str, calls: list[str]) -> Callable[[Path], dict[str, str]]:
    def make(folder: Path) -> dict[str, str]:
        calls.append(text)
        (folder / "a.txt").write_text(text)
        return {"letters": str(len(text))}

    return make


def files(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def test_a_stage_with_the_same_inputs_is_skipped_and_says_so(tmp_path: Path) -> None:
    """The second call returns the first one's manifest without work."""
    calls: list[str] = []
    ws = workspace(tmp_path)
    first = ws.stage("one", {"in": "1"}, ["a.txt"], writer("x", calls))
    again = ws.stage("one", {"in": "1"}, ["a.txt"], writer("y", calls))
    assert (again, calls) == (first, ["x"])
    assert first.facts == {"letters": "1"}
    assert isinstance(ws.progress, Quiet)
    assert ws.progress.said[-1].startswith("one: unchanged, skipped")


@pytest.mark.parametrize("inputs", [{"in": "2"}, {"in": "1", "more": "1"}, {}])
def test_a_stage_with_other_inputs_is_done_again(tmp_path: Path, inputs: dict[str, str]) -> None:
    """A changed, added or removed input counts."""
    calls: list[str] = []
    workspace(tmp_path).stage("one", {"in": "1"}, ["a.txt"], writer("x", calls))
    workspace(tmp_path).stage("one", inputs, ["a.txt"], writer("y", calls))
    assert calls == ["x", "y"]
    assert (tmp_path / "a.txt").read_text() == "y"


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "a.txt").write_text("edited"),
        lambda folder: (folder / "a.txt").unlink(),
        lambda folder: (folder / "one.manifest.json").write_text("{"),
        lambda folder: (folder / "one.manifest.json").write_text("[]"),
        lambda folder: (folder / "one.manifest.json").unlink(),
    ],
)
def test_a_stage_whose_files_changed_is_done_again(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    """Edited, missing or damaged files are not trusted."""
    calls: list[str] = []
    workspace(tmp_path).stage("one", {"in": "1"}, ["a.txt"], writer("x", calls))
    damage(tmp_path)
    workspace(tmp_path).stage("one", {"in": "1"}, ["a.txt"], writer("x", calls))
    assert calls == ["x", "x"]


def test_force_and_always_do_a_stage_again(tmp_path: Path) -> None:
    """``--force`` and measurements on a real device are never skipped."""
    calls: list[str] = []
    workspace(tmp_path).stage("one", {}, ["a.txt"], writer("x", calls))
    workspace(tmp_path, force=True).stage("one", {}, ["a.txt"], writer("y", calls))
    workspace(tmp_path).stage("one", {}, ["a.txt"], writer("z", calls), always=True)
    assert calls == ["x", "y", "z"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, UsageError, SystemExit])
def test_an_interrupted_stage_leaves_the_files_as_they_were(tmp_path: Path, error: type[BaseException]) -> None:
    """The old files and their manifest stay valid; nothing temporary is left."""
    ws = workspace(tmp_path)
    ws.stage("one", {"in": "1"}, ["a.txt"], writer("old", []))
    before = files(tmp_path)

    def interrupted(folder: Path) -> None:
        (folder / "a.txt").write_text("half")
        raise error

    with pytest.raises(error):
        ws.stage("one", {"in": "2"}, ["a.txt"], interrupted)
    assert files(tmp_path) == before
    assert (tmp_path / "a.txt").read_text() == "old"
    known = ws.manifest("one")
    assert known is not None
    assert known.inputs == {"in": "1"}


def test_an_interrupted_first_stage_leaves_nothing(tmp_path: Path) -> None:
    """No file and no manifest appear."""

    def interrupted(folder: Path) -> None:
        (folder / "a.txt").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workspace(tmp_path).stage("one", {}, ["a.txt"], interrupted)
    assert files(tmp_path) == set()


def test_a_stage_that_forgets_a_file_is_an_error(tmp_path: Path) -> None:
    """The stage is not called done."""
    with pytest.raises(RuntimeError, match=r"did not write b\.txt"):
        workspace(tmp_path).stage("one", {}, ["a.txt", "b.txt"], writer("x", []))
    assert files(tmp_path) == set()


def test_the_manifest_lists_inputs_and_outputs(tmp_path: Path) -> None:
    """It is JSON with the hash of every file."""
    workspace(tmp_path).stage("one", {"in": "1"}, ["a.txt"], writer("x", []))
    table = json.loads((tmp_path / "one.manifest.json").read_text())
    assert table["inputs"] == {"in": "1"}
    assert table["outputs"] == {"a.txt": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}


def test_one_process_at_a_time_works_in_a_folder(tmp_path: Path) -> None:
    """The second is refused, and may come in when the first is done."""
    with workspace(tmp_path).locked(), pytest.raises(UsageError, match="another hil"), workspace(tmp_path).locked():
        pass
    with workspace(tmp_path).locked():
        pass


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    """A temporary folder without an owner goes at the next start."""
    (tmp_path / ".part-data-xyz").mkdir()
    (tmp_path / ".part-data-xyz" / "dataset.npz").write_text("half")
    with workspace(tmp_path).locked():
        assert files(tmp_path) == {".lock"}


def test_a_folder_that_stays_empty_goes_again(tmp_path: Path) -> None:
    """A command that fails at once leaves no folder; one with files stays."""
    with workspace(tmp_path / "new").locked():
        pass
    assert files(tmp_path) == set()
    with workspace(tmp_path / "new").locked():
        (tmp_path / "new" / "a.txt").write_text("x")
    assert files(tmp_path / "new") == {".lock", "a.txt"}


def test_text_is_written_whole(tmp_path: Path) -> None:
    """The old text stays if the new one cannot be written."""
    path = tmp_path / "deep" / "a.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\udcff")
    assert path.read_text() == "old"
    assert files(path.parent) == {"a.txt"}


def test_code_hashes_tell_parts_apart() -> None:
    """Equal parts have equal hashes in any order; other parts have others."""
    assert code_sha256("quant", "fixed.py") == code_sha256("fixed.py", "quant")
    assert len({code_sha256("quant"), code_sha256("fixed.py"), code_sha256("firmware/")}) == 3


def test_versions_and_commit_are_text() -> None:
    """Something that is not installed has the version ``none``."""
    assert version("no-such-package-anywhere") == "none"
    assert version("numpy")[0].isdigit()
    assert commit() == "none" or len(commit()) >= 40
