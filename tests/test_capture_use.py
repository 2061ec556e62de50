"""From a recording to a test and to training data: replay, export, labels."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import soundfile
from conftest import make_artefact
from host_rig import HostRig
from test_audio import sound
from test_capture import Pieces, blocks_of

from hil.capture import CaptureInfo, Recorder, load_capture
from hil.capture.decide import Decider
from hil.capture.export import export_data, export_tests, load_cases
from hil.capture.field import agreement, stretches
from hil.capture.info import ARTEFACT as MODEL
from hil.capture.info import INDEX
from hil.capture.labels import Label, parse_audacity, read_labels, write_labels
from hil.capture.record import HostCapture
from hil.capture.replay import replay
from hil.capture.trigger import Keeper, Trigger
from hil.cli import EXIT_DIFFERENT, EXIT_USAGE, run
from hil.codegen import emit_c
from hil.datasets import load_dataset
from hil.errors import UsageError
from hil.experiment.listen import run_stream
from hil.experiment.progress import Quiet
from hil.features import extract
from hil.quant import listen_twin
from hil.recipe import DataRecipe
from hil.trace import Listening

ARTEFACT = make_artefact(seed=21, name="tiny")
LISTENINGS = [
    Listening(9, 3, smooth=2, hold=1),
    Listening(9, 4, hold=2),
    Listening(5, 7, smooth=4),
    Listening(9, 3, carry=True, smooth=2, hold=2),
]


def recorded(folder, listening, lost=(), trigger=Trigger(), segment_s=1.0):  # noqa: B008
    """A capture as a device of the field would have made it: the twin decides, also about what the line then loses."""
    x = sound(30000, 3)
    info = CaptureInfo(
        "0123abcd",
        1.0,
        8000,
        segment_s=segment_s,
        model="tiny",
        tier="host",
        artefact_sha256=ARTEFACT.sha256(),
        labels=ARTEFACT.labels,
        window=256,
        hop=128,
        listening=listening,
    )
    folder.mkdir(exist_ok=True)
    ARTEFACT.save(folder / MODEL)
    with Recorder(folder, info) as recorder:
        if trigger.kind == "all":
            recorder.event("stream", stream=0, sample=0, wall=1.0)
            fe = dataclasses.replace(ARTEFACT.frontend, frames=(x.size - 256) // 128 + 1)
            from hil.capture.decide import decision_line

            for decision in listen_twin(ARTEFACT, extract(x, fe)[0], listening):
                recorder.event("decision", **decision_line(ARTEFACT, decision, 0, 0))
            for block in blocks_of(x, lost=lost):
                recorder.sound(block.first, block.samples)
        else:
            made = HostCapture(Pieces(blocks_of(x)), recorder, Keeper(recorder, trigger), Decider(ARTEFACT, listening))
            made.run(None, lambda told: None)
    return load_capture(folder), x


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    """The firmware as a process."""
    with HostRig(emit_c(ARTEFACT, audio=True), tmp_path_factory.mktemp("app")) as rig:
        rig.flash(None)
        opened = rig.open()
        opened.hello()
        yield opened


@pytest.mark.parametrize("listening", LISTENINGS, ids=str)
@pytest.mark.parametrize("lost", [(), (12000, 20300, 20400)], ids=["whole", "gaps"])
def test_a_replay_is_as_in_the_field(device, tmp_path, listening, lost):
    """All that can be compared is equal; of the rest it is said how much it is; nothing is compared across a gap."""
    capture, x = recorded(tmp_path, listening, lost)
    done = replay(capture, ARTEFACT, listening, device, Quiet())

    assert done.exact
    assert done.field.compared == done.field.equal
    assert done.field.compared + done.not_comparable == len(capture.decisions)
    span = (listening.frames - 1) * 128 + 256
    if listening.carry:
        clean = [d for d in capture.decisions if d["sample"] <= (lost[0] if lost else x.size)]
    else:
        clean = [
            d for d in capture.decisions if not any(d["sample"] - span < at + 100 and d["sample"] > at for at in lost)
        ]
    assert done.field.compared == len(clean)
    assert done.stretches == (1 if not lost or listening.carry else 3)
    if not lost:
        assert done.field.labels_equal == done.field.detections_equal == len(capture.decisions)
        assert done.not_comparable == 0


def test_sound_around_detections_is_replayed(device, tmp_path):
    """Each kept piece with the decisions whose windows lie in it."""
    listening = Listening(5, 3, hold=20)
    capture, _ = recorded(tmp_path, listening, trigger=Trigger("detections", 0.3, 0.1))
    done = replay(capture, ARTEFACT, listening, device, Quiet())
    assert done.exact
    assert done.stretches > 2
    assert 0 < done.field.compared < len(capture.decisions)


@pytest.mark.parametrize(("name", "value"), [("logits", [1, 2, 3]), ("label", "class2"), ("triggered", None)])
def test_another_decision_in_the_field_is_told(device, tmp_path, name, value):
    """One field of one decision changed: outputs, label and detection are each compared."""
    capture, _ = recorded(tmp_path, LISTENINGS[1])
    events = [dict(event) for event in capture.events]
    decision = [event for event in events if event["kind"] == "decision"][7]
    before = decision[name]
    decision[name] = (not before) if value is None else value if value != before else "class1"
    done = replay(dataclasses.replace(capture, events=tuple(events)), ARTEFACT, LISTENINGS[1], device, Quiet())
    assert not done.exact
    assert done.first is None
    assert "decision 7: in the field" in done.field.first


def test_stretches_of_chosen_segments_are_cut_to_length(tmp_path):
    """Two segments, half a second at most: each begins with a decision's window and lies in its segment."""
    capture, _ = recorded(tmp_path, LISTENINGS[1])
    found = list(stretches(capture, ARTEFACT, capture.segments[1:3], longest_s=0.5))
    assert len(found) >= 4
    for stretch in found:
        assert any(s.first <= stretch.first < stretch.end <= s.end for s in capture.segments[1:3])
        assert stretch.end - stretch.first <= 4000
        if stretch.field:
            assert stretch.field[0].frame == 8
    assert sum(len(s.field) for s in found) >= 20


@pytest.mark.parametrize("listening", LISTENINGS[:3], ids=str)
def test_exported_cases(device, tmp_path, listening):
    """What the exported test does, with the firmware as a process: as the twin, as in the field; a change is told."""
    capture, _ = recorded(tmp_path / "c", listening, (12000,))
    module = export_tests(capture, capture.segments, tmp_path / "tests", 2.0)
    cases = load_cases(tmp_path / "tests" / "capture_0123abcd")
    compile(module.read_text(), module, "exec")

    assert len(cases) >= 4
    for case in cases:
        heard = run_stream(ARTEFACT, case.name, case.samples(), case.listening, device)
        assert heard.first is None
        found = case.agreement(heard.decisions)
        assert found.first is None
        assert found.compared == len(case.stretch.field) > 0
        wrong = [dataclasses.replace(d, logits=(0, 0, 0)) for d in heard.decisions]
        assert case.agreement(wrong).equal == 0
    with pytest.raises(UsageError, match=r"has no case-\*\.json"):
        load_cases(tmp_path)


def test_an_exported_test_runs(pytester, tmp_path):
    """`pytest FOLDER --rig emulator` on what `hil capture export` has written: passes, and fails once it is changed."""
    recorded(tmp_path / "c", LISTENINGS[0])
    assert run(["capture", "export", str(tmp_path / "c"), "--to", str(pytester.path), "--segments", "1-2"]) == 0
    result = pytester.runpytest_subprocess("--rig", "emulator", "-q")
    result.assert_outcomes(passed=2)
    case = sorted(pytester.path.glob("capture_*/case-*.json"))[0]
    case.write_text(re.sub(r'"logits": \[(-?\d+)', lambda m: f'"logits": [{int(m[1]) + 1}', case.read_text(), count=1))
    result = pytester.runpytest_subprocess("--rig", "emulator", "-q", "-k", case.stem)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*in the field*"])


def test_carried_states_cannot_be_exported_behind_the_beginning(tmp_path):
    """The first segment can, as far as its sound goes; later ones say why not."""
    capture, _ = recorded(tmp_path, LISTENINGS[3])
    export_tests(capture, capture.segments[:1], tmp_path / "t")
    (case,) = load_cases(tmp_path / "t" / "capture_0123abcd")
    assert case.stretch.first == 0
    assert agreement(case.stretch, case.stretch.field, "x").first is None
    with pytest.raises(UsageError, match="no decision in these segments can be compared"):
        export_tests(capture, capture.segments[1:], tmp_path / "u")


def test_replay_on_the_chip(tmp_path, capsys, monkeypatch):
    """`hil replay`: the capture's own model, code 0; code 1 once the field said something else; another artefact."""
    monkeypatch.chdir(tmp_path)
    recorded(tmp_path / "c", LISTENINGS[0], (12000,))
    assert run(["replay", "c", "--fast-load"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"3\.7 s of sound in 2 stretches on emulator \(cycle-model\): \d+ decisions, all as the twin", out)
    assert re.search(r"as in the field: (\d+) of \1 outputs, (\d+) of \2 labels", out)
    assert "4 decisions of the field cannot be compared: a gap is in their past" in out
    index = (tmp_path / "c" / INDEX).read_text()
    (tmp_path / "c" / INDEX).write_text(re.sub(r'"logits":\[(-?\d+)', '"logits":[99999', index, count=1))
    assert run(["replay", "c", "--fast-load"]) == EXIT_DIFFERENT
    assert "differs: 0123abcd from 0.000 s: decision 0: in the field" in capsys.readouterr().out
    make_artefact(seed=22, name="tiny").save(tmp_path / "c" / MODEL)
    assert run(["replay", "c", "--fast-load"]) == EXIT_USAGE
    assert "is another model" in capsys.readouterr().err


def test_replay_of_a_capture_without_a_model(tmp_path, capsys, monkeypatch):
    """Nobody decided: a model must be named, and then only the twin is compared."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c").mkdir()
    with Recorder(tmp_path / "c", CaptureInfo("0123abcd", 1.0, 8000)) as recorder:
        recorder.sound(0, sound(9000))
    assert run(["replay", "c"]) == EXIT_USAGE
    assert "nobody decided about it in the field; name a --model" in capsys.readouterr().err
    ARTEFACT.save(tmp_path / "m.artefact")
    assert run(["replay", "c", "--model", "m.artefact", "--fast-load"]) == 0
    out = capsys.readouterr().out
    assert "1.1 s of sound in 1 stretches" in out
    assert "all as the twin" in out
    assert "field" not in out


def test_labels_come_back(tmp_path):
    """The table in order; a label track of Audacity, with a frequency line and a decimal comma."""
    labels = [Label(1, 0.5, 0.75, "no"), Label(0, 0.25, 1.0, "yes, really")]
    write_labels(tmp_path, labels)
    assert (tmp_path / "labels.csv").read_text().splitlines()[0] == "segment,start_s,end_s,label"
    assert read_labels(tmp_path) == [labels[1], labels[0]]
    track = "0.250000\t1.000000\tyes\n\\\t100.0\t4000.0\n1,5\t1,5\ta point\n"
    assert parse_audacity(track, 3, "x") == [Label(3, 0.25, 1.0, "yes"), Label(3, 1.5, 1.5, "a point")]
    with pytest.raises(UsageError, match="x: line 2 is not start, end and label"):
        parse_audacity("0\t1\tyes\n0 1 no\n", 0, "x")
    (tmp_path / "labels.csv").write_text("segment,start_s,end_s,label\n0,0,1\n")
    with pytest.raises(UsageError, match="line 2 is not segment"):
        read_labels(tmp_path)


def test_labels_to_and_from_audacity_to_training_data(tmp_path, capsys):
    """Detections as labels, tracks written, changed and read, LABEL/*.flac, and a data set of source "folder"."""
    recorded(tmp_path / "c", Listening(9, 1, hold=5), (12000,))
    folder = str(tmp_path / "c")
    assert run(["capture", "labels", folder, "--from-detections"]) == 0
    found = read_labels(tmp_path / "c")
    assert len(found) > 12
    assert run(["capture", "labels", folder, "--write-tracks"]) == 0
    track = tmp_path / "c" / "segment-000002.txt"
    lines = track.read_text().splitlines()
    assert len(lines) == sum(label.segment == 2 for label in found)
    track.write_text("0.1\t0.3\tmine\n0.4\t0.6\tmine\n0.7\t0.9\tmine\n")
    assert run(["capture", "labels", folder, "--read-tracks"]) == 0
    now = read_labels(tmp_path / "c")
    assert [label for label in now if label.segment == 2] == [
        Label(2, a, b, "mine") for a, b in ((0.1, 0.3), (0.4, 0.6), (0.7, 0.9))
    ]
    capsys.readouterr()
    assert run(["capture", "export", folder, "--to", str(tmp_path / "sounds"), "--as", "data"]) == 0
    out, err = capsys.readouterr()
    assert "there is a gap in it" in err
    files = sorted((tmp_path / "sounds" / "mine").iterdir())
    assert [path.name for path in files] == [f"0123abcd-000002-{ms:07d}.flac" for ms in (100, 400, 700)]
    capture = load_capture(tmp_path / "c")
    assert np.array_equal(soundfile.read(files[1], dtype="int16")[0], capture.between(16000 + 3200, 16000 + 4800))
    assert "train on them with `hil train --data" in out
    labels = sorted(path.name for path in (tmp_path / "sounds").iterdir())
    many = [name for name in labels if len(list((tmp_path / "sounds" / name).iterdir())) >= 3]
    data = load_dataset(
        DataRecipe(source="folder", folder=str(tmp_path / "sounds"), keywords=tuple(many), seconds=0.2), 8000
    )
    assert set(data.labels) == set(many)
    assert "mine" in many


def test_data_needs_good_labels(tmp_path):
    """None; outside its segment; a name that is no folder."""
    capture, _ = recorded(tmp_path, LISTENINGS[0])
    with pytest.raises(UsageError, match="has no labels"):
        export_data(capture, [], tmp_path / "x")
    for label in (Label(0, 0.5, 1.5, "a"), Label(9, 0, 1, "a"), Label(0, 0.5, 0.5, "a"), Label(0, 0, 1, "../a")):
        with pytest.raises(UsageError, match=r"must lie within|there is no segment"):
            export_data(capture, [label], tmp_path / "x")
    assert export_data(capture, [Label(0, 0.5, 1.0, "a")], tmp_path / "x") == (1, [])
