"""Field recordings: whatever ends them, what was heard before is there, and what is missing is counted."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from conftest import make_artefact
from test_audio import sound

from hil.capture import CaptureEnded, CaptureInfo, Recorder, load_capture
from hil.capture.decide import Decider
from hil.capture.info import INDEX, append_lines, journal_path, journals
from hil.capture.journal import Event, Gap, JournalWriter, Meta, Pcm, Vectors, encode_record, parse_journal
from hil.capture.record import HostCapture
from hil.capture.recorder import NOT_TRIGGERED, Hole, recover
from hil.capture.segment import close_segment
from hil.capture.source import Block, FileSource
from hil.capture.trigger import Keeper, Trigger
from hil.cli import EXIT_USAGE, run
from hil.features import extract
from hil.quant import listen_twin
from hil.trace import Listening

RATE = 8000
INFO = CaptureInfo("0123abcd", 1.0, RATE, segment_s=1.0)
RECORDS = [
    Meta(json.loads(json.dumps(INFO.line()))),
    Pcm(0, sound(100)),
    Gap(100, 7, "lost on the way"),
    Event({"kind": "decision", "label": "ja, später"}),
    Vectors(3, sound(12).reshape(3, 4)),
    Pcm(107, sound(50, 1)),
]
ARTEFACT = make_artefact(seed=21, name="tiny")
LISTENING = Listening(9, 3, smooth=2, hold=1)


def same(one, other):
    """Equal records, arrays included."""
    pairs = zip(dataclasses.astuple(one), dataclasses.astuple(other), strict=True)
    return type(one) is type(other) and all(np.array_equal(a, b) for a, b in pairs)


def whole(capture):
    """All sound that is there, in order, and where each sample belongs."""
    parts = [(s.first, capture.sound(s)) for s in capture.segments if s.samples]
    return np.concatenate([part for _, part in parts]), np.concatenate(
        [np.arange(first, first + len(part)) for first, part in parts]
    )


def test_records_come_back():
    """Every kind of record, in order, with no byte left over."""
    journal = parse_journal(b"".join(map(encode_record, RECORDS)))
    assert (journal.torn_bytes, journal.damaged_bytes) == (0, 0)
    assert len(journal.records) == len(RECORDS)
    assert all(same(a, b) for a, b in zip(journal.records, RECORDS, strict=True))


def test_the_bytes_of_a_record():
    """As docs/capture.md says: magic, kind, version, reserved, length, CRC-32, body."""
    data = encode_record(Pcm(258, np.array([1, -2], np.int16)))
    assert data[:12].hex(" ") == "48 49 4c 6a 01 01 00 00 0c 00 00 00"
    assert data[16:].hex(" ") == "02 01 00 00 00 00 00 00 01 00 fe ff"
    assert encode_record(Gap(1, 2, "why", True))[16:] == b"\1" + 7 * b"\0" + b"\2" + 7 * b"\0" + b"\1why"


def test_a_torn_tail_is_cut_at_the_last_good_record():
    """Cut at every byte of the last record: all records before it, and the number of bytes that are left."""
    data = [encode_record(record) for record in RECORDS]
    before = b"".join(data[:-1])
    for cut in range(len(data[-1])):
        journal = parse_journal(before + data[-1][:cut])
        assert len(journal.records) == len(RECORDS) - 1
        assert (journal.good_bytes, journal.torn_bytes, journal.damaged_bytes) == (len(before), cut, 0)


def test_damage_inside_costs_one_record():
    """Any flipped bit, in header or body: the record is left out, those after it are read."""
    data = [encode_record(record) for record in RECORDS]
    rng = random.Random(1)
    for at in [*range(16), *(rng.randrange(16, len(data[1])) for _ in range(40))]:
        bad = bytearray(data[1])
        bad[at] ^= 1 << rng.randrange(8)
        journal = parse_journal(data[0] + bytes(bad) + b"".join(data[2:]))
        assert len(journal.records) == len(RECORDS) - 1
        assert (journal.torn_bytes, journal.damaged_bytes) == (0, len(bad))


def test_journals_are_on_the_disk_in_time(tmp_path, monkeypatch):
    """What was appended is synced once it is half a second old, by the next record or by a tick without one."""
    now, synced = [0.0], []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(now[0]), fsync(fd))[1])
    journal = JournalWriter(tmp_path / "j", lambda: now[0])
    synced.clear()
    for now[0] in (0.0, 0.2, 0.4, 0.6):
        journal.append(RECORDS[1])
    assert synced == [0.6]
    now[0] = 5.0
    journal.append(RECORDS[1])
    for now[0] in (5.25, 5.5, 5.75):
        journal.tick()
    assert synced == [0.6, 5.5]
    journal.close()


def test_segments_and_gaps(tmp_path):
    """Segments of one second; a gap is zeros of its length, listed; a long one ends the segment and is no sound."""
    x = sound(60000)
    with Recorder(tmp_path, INFO) as recorder:
        for at in range(0, 20000, 300):
            if at not in (3000, 12000):
                recorder.sound(at, x[at : min(at + 300, 20000)])
        recorder.sound(20000 + 10 * RATE + 1, x[:500], Hole("the port vanished", estimated=True))
    capture = load_capture(tmp_path)

    assert [(g.first, g.count, g.why, g.estimated) for g in capture.gaps] == [
        (3000, 300, "lost on the way", False),
        (12000, 300, "lost on the way", False),
        (20000, 10 * RATE + 1, "the port vanished", True),
    ]
    assert [(s.first, s.samples, s.lost) for s in capture.segments] == [
        (0, 8000, 300),
        (8000, 8000, 300),
        (16000, 4000, 0),
        (100001, 500, 0),
    ]
    expected = np.concatenate([x[:20000], x[:500]])
    expected[3000:3300] = expected[12000:12300] = 0
    got, places = whole(capture)
    assert np.array_equal(got, expected)
    assert places[-1] == 100500
    assert (capture.samples, capture.lost) == (19400 + 500, 600 + 10 * RATE + 1)
    assert np.array_equal(capture.between(7990, 16010), expected[7990:16010])
    assert soundfile.info(capture.segments[0].file).subtype == "PCM_16"
    assert not list(tmp_path.glob("*.journal"))


def test_an_open_capture_can_be_read(tmp_path):
    """While it is being made, and from its journals alone."""
    recorder = Recorder(tmp_path, INFO)
    recorder.sound(0, sound(7000))
    recorder.event("decision", sample=7000, label="x", triggered=True)
    capture = load_capture(tmp_path)
    assert np.array_equal(whole(capture)[0], sound(7000))
    assert capture.segments[-1].open
    assert capture.decisions[0]["sample"] == 7000
    (tmp_path / INDEX).write_bytes(b'{"kind":"capt')  # the first line was being written
    assert load_capture(tmp_path).info == INFO
    recorder.close()
    assert np.array_equal(capture.sound(capture.segments[0]), sound(7000))  # closed since it was opened


@pytest.mark.parametrize("stage", ["nothing", "part of the FLAC", "FLAC", "half of the index", "index"])
def test_closing_can_be_interrupted_anywhere(tmp_path, stage):
    """Whatever was done when the power failed, closing again gives what one whole closing gives: nothing twice."""
    journal = JournalWriter(journal_path(tmp_path, 0))
    for record in RECORDS:
        journal.append(record)
    journal.close()
    append_lines(tmp_path, [INFO.line()])
    kept = journal.path.read_bytes()
    close_segment(tmp_path, 0)
    expected = (tmp_path / INDEX).read_bytes(), (tmp_path / "segment-000000.flac").read_bytes()

    journal.path.write_bytes(kept)
    lines = (tmp_path / INDEX).read_bytes().splitlines(keepends=True)
    if stage in ("nothing", "part of the FLAC"):
        (tmp_path / "segment-000000.flac").unlink()
    if stage == "part of the FLAC":
        (tmp_path / ".segment-000000.flac.part").write_bytes(b"fLaC")
    if stage != "index":
        half = lines[1][:9] if stage == "half of the index" else b""
        (tmp_path / INDEX).write_bytes(lines[0] + half)
    assert np.array_equal(whole(load_capture(tmp_path))[0][:100], sound(100))
    assert recover(tmp_path) == (157, 1)
    assert ((tmp_path / INDEX).read_bytes(), (tmp_path / "segment-000000.flac").read_bytes()) == expected
    assert sorted(p.name for p in tmp_path.iterdir()) == [INDEX, "segment-000000.features.npz", "segment-000000.flac"]


def test_flac_that_reads_back_different_keeps_the_journal(tmp_path, monkeypatch):
    """The journal is removed only after its sound was read back equal."""
    read = soundfile.read
    monkeypatch.setattr(soundfile, "read", lambda *a, **k: (read(*a, **k)[0] + 1, RATE))
    with Recorder(tmp_path, INFO) as recorder:
        recorder.sound(0, sound(900))
        (failure,) = recorder.close()
    assert "reads back other samples" in failure
    monkeypatch.undo()
    assert sorted(p.name for p in tmp_path.iterdir()) == [INDEX, "segment-000000.journal"]
    assert np.array_equal(whole(load_capture(tmp_path))[0], sound(900))


def test_kill_at_ten_random_moments(tmp_path):
    """SIGKILL, then --resume, ten times: what could be read before can be read after, and in the end all is there."""
    x = sound(16 * RATE, 5)
    soundfile.write(tmp_path / "x.wav", x, RATE, subtype="PCM_16")
    command = [sys.executable, "-m", "hil.cli", "capture", "--input", "x.wav", "--out", "c", "--rate", str(RATE)]
    command += ["--segment", "1", "--consent", "a test"]
    rng, readable = random.Random(11), 0
    for turn in range(10):
        process = subprocess.Popen(
            [*command, *(["--resume"] if turn else [])], cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        grown = readable + rng.randrange(500, 9000)
        deadline = time.monotonic() + 60
        while not (tmp_path / "c" / INDEX).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        while readable < grown and time.monotonic() < deadline and process.poll() is None:
            time.sleep(rng.random() * 0.05)
            readable = max(readable, load_capture(tmp_path / "c").samples)
        assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        after = load_capture(tmp_path / "c")
        assert after.samples >= readable >= grown
        assert after.gaps == ()
        assert np.array_equal(whole(after)[0], x[: after.samples])
    done = subprocess.run([*command, "--resume", "--fast"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    capture = load_capture(tmp_path / "c")
    assert np.array_equal(whole(capture)[0], x)
    assert capture.lost == 0
    assert not journals(tmp_path / "c")
    assert sum(event["kind"] == "resumed" for event in capture.events) == 10


def limited_capture(folder, size):
    """`hil capture` in a process that may not write larger files, as on a disk that is full."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, resource.RLIM_INFINITY));"
        "from hil.cli import run; sys.exit(run(sys.argv[1:]))"
    )
    arguments = ["capture", "--input", "x.wav", "--out", "c", "--rate", str(RATE), "--fast", "--consent", "a test"]
    return subprocess.run([sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True)


def test_a_file_that_cannot_grow(tmp_path):
    """The capture ends with an error that says where; everything before is there; --resume goes on to the end."""
    x = sound(9 * RATE, 6)
    soundfile.write(tmp_path / "x.wav", x, RATE, subtype="PCM_16")
    ended = limited_capture(tmp_path, 50_001)
    assert ended.returncode == EXIT_USAGE
    assert "cannot be written to (File too large). The capture ended at 2.88" in ended.stderr
    got = whole(load_capture(tmp_path / "c"))[0]
    assert got.size == 2.88 * RATE
    assert np.array_equal(got, x[: got.size])
    arguments = [
        "capture",
        "--input",
        tmp_path / "x.wav",
        "--out",
        tmp_path / "c",
        "--rate",
        RATE,
        "--fast",
        "--resume",
    ]
    assert run([str(a) for a in arguments]) == 0
    assert np.array_equal(whole(load_capture(tmp_path / "c"))[0], x)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 100 KB, where this user may make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system of 100 KB can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk(small_disk, tmp_path):
    """As above on a file system that is really full; its segments could not be closed and open from their journals."""
    x = sound(9 * RATE, 6)
    recorder = Recorder(small_disk, INFO)
    keeper = HostCapture(Pieces(blocks_of(x, 160)), recorder, Keeper(recorder, Trigger()), None)
    with pytest.raises(CaptureEnded, match=r"No space left on device.*Make room, then go on with --resume") as ended:
        keeper.run(None, lambda told: None)
    recorder.close()
    got = whole(load_capture(small_disk))[0]
    assert got.size == ended.value.position
    assert got.size > 2 * RATE
    assert np.array_equal(got, x[: got.size])
    elsewhere = tmp_path / "roomier"
    shutil.copytree(small_disk, elsewhere)
    with Recorder(elsewhere, INFO, resume=True) as recorder:
        assert recorder.position == got.size
        recorder.sound(got.size, x[got.size :])
    assert np.array_equal(whole(load_capture(elsewhere))[0], x)


class Pieces:
    """A source of given blocks."""

    name, ended = "pieces", False

    def __init__(self, blocks):
        self._blocks = list(blocks)

    def read(self, timeout_s):
        block = self._blocks.pop(0) if self._blocks else None
        self.ended = not self._blocks
        return block


def blocks_of(x, size=100, lost=(), first=0):
    return [
        Block(first + at, x[at : at + size], (first + at) / RATE) for at in range(0, len(x), size) if at not in lost
    ]


def host_capture(folder, blocks, trigger=Trigger(), info=INFO, resume=False):  # noqa: B008
    decider = Decider(ARTEFACT, LISTENING)
    with Recorder(folder, dataclasses.replace(info, labels=ARTEFACT.labels), resume=resume) as recorder:
        made = HostCapture(Pieces(blocks), recorder, Keeper(recorder, trigger), decider)
        made.run(None, lambda told: None)
    return load_capture(folder)


def test_decisions_of_the_host_alone(tmp_path):
    """Those of the twin for the sound that was heard; a hole begins a stream anew, as nothing before it counts."""
    x = sound(20000)
    capture = host_capture(tmp_path, blocks_of(x, lost=(7000,)))
    for stream, part in enumerate((x[:7000], x[7100:])):
        fe = dataclasses.replace(ARTEFACT.frontend, frames=(part.size - 256) // 128 + 1)
        expected = listen_twin(ARTEFACT, extract(part, fe)[0], LISTENING)
        got = [d for d in capture.decisions if d["stream"] == stream]
        assert [(d["index"], d["frame"], tuple(d["logits"]), d["triggered"], d["margin_q15"]) for d in got] == [
            (d.index, d.frame, d.logits, d.triggered, d.margin_q15) for d in expected
        ]
        assert [d["sample"] for d in got] == [7100 * stream + d.frame * 128 + 256 for d in expected]
        assert len(got) > 10
    assert [(g.first, g.count) for g in capture.gaps] == [(7000, 100)]


def test_sound_around_detections(tmp_path):
    """Kept: 20 ms before the end of a detection's window, 10 after; all else is a gap that was meant."""
    x = sound(40000)
    capture = host_capture(tmp_path, blocks_of(x, lost=(20100,)), Trigger("detections", 0.02, 0.01))
    kept = np.zeros(40000, bool)
    for decision in capture.decisions:
        if decision["triggered"]:
            kept[max(0, decision["sample"] - 160) : decision["sample"] + 80] = True
    kept[20100:20200] = False
    got, places = whole(capture)
    gapped = np.zeros(40000, bool)
    for gap in capture.gaps:
        gapped[gap.first : gap.first + gap.count] = True
    assert 0 < kept.sum() < 20000
    assert np.array_equal(gapped, ~kept)
    assert np.array_equal(got[kept[places]], x[kept])
    assert capture.lost == sum(g.count for g in capture.gaps if g.why != NOT_TRIGGERED.why)
    assert capture.samples == kept.sum()


def test_features_only(tmp_path):
    """No sample is written; the vectors are those of the front end; no FLAC."""
    x = sound(20000)
    capture = host_capture(tmp_path, blocks_of(x), Trigger("features"))
    frames, vectors = (np.concatenate(part) for part in zip(*map(capture.vectors, capture.segments), strict=True))
    fe = dataclasses.replace(ARTEFACT.frontend, frames=(x.size - 256) // 128 + 1)
    assert np.array_equal(vectors, extract(x, fe)[0])
    assert frames.tolist() == list(range(fe.frames))
    assert capture.samples == 0
    assert not list(tmp_path.glob("*.flac"))


def test_files_keep_the_clocks_pace(tmp_path):
    """50 blocks a second, each when its last sample is due; with --fast at once."""
    soundfile.write(tmp_path / "x.wav", sound(4000), RATE, subtype="PCM_16")
    now = [100.0]

    def sleep(seconds):
        now[0] += seconds

    source = FileSource(tmp_path / "x.wav", RATE, clock=lambda: now[0], sleep=sleep, start=400)
    heard = []
    while not source.ended:
        if block := source.read(0.013):
            heard.append((round(now[0] - 100, 6), block.first))
    assert heard == [(round(0.02 * (i + 1), 6), 400 + 160 * i) for i in range(22)] + [(0.45, 3920)]
    fast, now[0] = FileSource(tmp_path / "x.wav", RATE, fast=True, clock=lambda: now[0], sleep=sleep), 0.0
    assert sum(fast.read(1).samples.size for _ in range(25)) == 4000
    assert (fast.ended, now[0]) == (True, 0.0)


def test_another_capture_is_not_gone_on_with(tmp_path, capsys):
    """--resume of another rate is refused; a folder with a capture is not written over; consent's absence is said."""
    soundfile.write(tmp_path / "x.wav", sound(4000), RATE, subtype="PCM_16")
    call = ["capture", "--input", str(tmp_path / "x.wav"), "--out", str(tmp_path / "c"), "--fast"]
    assert run([*call, "--resume"]) == EXIT_USAGE
    assert "no capture to go on with" in capsys.readouterr().err
    assert run([*call, "--rate", "8000"]) == 0
    assert "warning: no consent is noted" in capsys.readouterr().err
    assert run([*call, "--rate", "8000"]) == EXIT_USAGE
    assert "holds a capture" in capsys.readouterr().err
    assert run([*call, "--resume"]) == EXIT_USAGE
    assert "has rate_hz 8000, not 16000" in capsys.readouterr().err
    assert run(["capture", "show", str(tmp_path / "c")]) == 0
    assert "0.5 s of sound in 1 segments; 0 gaps, 0 samples lost" in capsys.readouterr().out
    first = json.loads((tmp_path / "c" / INDEX).read_text().splitlines()[0])
    assert (first["kind"], first["rate_hz"], first["version"]) == ("capture", 8000, 1)
