"""`hil bench training`: what is timed is what the table says."""

import functools
import json

import pytest
import torch

import hil.train.speed as speed
from hil.cells import EventGRU
from hil.cli import run
from hil.train.speed import Timing, Variant, Workload, measure_training, peak_of_a_step

SMALL = Workload(inputs=8, units=48, batch=6, steps=20)
VARIANTS = (Variant("nn.GRU"), Variant("loop", 0.15), Variant("fused", 1.0), Variant("fused", 0.15))


def test_activity_is_what_the_layer_itself_does():
    """Wanted and found agree, loop and compiled code have the same; the GRU's ratio to itself is 1."""
    told = []
    rows = measure_training(SMALL, VARIANTS, 2, lambda *at: told.append(at), peak=lambda *_: 7)
    gru, loop, dense, sparse = rows
    assert (gru.ratio, gru.events, gru.wanted) == (1.0, None, None)
    assert dense.events > 0.95
    assert sparse.events == pytest.approx(0.15, abs=0.01)
    assert sparse.events < sparse.wanted < 0.9
    assert (loop.events, loop.wanted) == pytest.approx((sparse.events, sparse.wanted), abs=2e-3)
    assert all(row.forward_ms > 0 and row.backward_ms > 0 and row.peak_bytes == 7 for row in rows)
    assert all(done < total for done, total, _ in told)


def test_memory_is_that_of_the_step():
    """Four times the steps take more than twice as much, and not less than what a backward pass has to keep."""
    few, many = (
        peak_of_a_step(VARIANTS[3], Workload(inputs=8, units=256, batch=32, steps=steps), 0.3) for steps in (100, 400)
    )
    kept = 6 * 256 * 32 * 4  # r, z, g, q, c, y of a step, float32
    assert many > 2 * few
    assert 400 * kept < many < 400 * kept * 3
    assert torch.get_num_threads() == 1


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(speed, "VARIANTS", VARIANTS[:1] + VARIANTS[3:])
    monkeypatch.setattr(speed, "measure_training", functools.partial(measure_training, peak=lambda *_: 1_500_000))


def test_the_command_prints_a_table_and_keeps_it(quick, tmp_path, capsys):
    """Rows by name, shares and memory; the same as JSON where it is asked for."""
    assert run(["bench", "training", "-D", "3", "-H", "16", "--out", str(tmp_path / "b")]) == 0
    out = capsys.readouterr().out
    for text in ("D=3, H=16, 1 thread(s)", "torch.nn.GRU", "EventGRU, compiled, 15% speak", "/ nn.GRU", " 2 "):
        assert text in out
    kept = json.loads((tmp_path / "b" / "training-speed.json").read_text())
    assert [row["title"] for row in kept["rows"]] == ["torch.nn.GRU", "EventGRU, compiled, 15% speak"]
    assert kept["work"] == {"inputs": 3, "units": 16, "batch": 32, "steps": 100, "threads": 1}


def test_a_ratio_that_is_missed_is_the_status(quick, monkeypatch, capsys):
    """1, as `hil bench emulator`; the limit itself is met."""
    slow = Timing(Variant("fused", 0.05, most=0.5), 1.0, 1.0, 0.51, 0.05, 0.2, 1)
    for row, status in ((slow, 1), (Timing(slow.variant, 1.0, 1.0, 0.5, 0.05, 0.2, 1), 0)):
        monkeypatch.setattr(speed, "measure_training", lambda *_, row=row: [row])
        assert run(["bench", "training"]) == status
    capsys.readouterr()


def test_a_layer_found_before_is_made_again():
    """The threshold that was found, given to another process, gives the same events."""
    layer = speed._layer(VARIANTS[3], SMALL)
    again = speed._layer(VARIANTS[3], SMALL, layer.threshold[0].item())
    assert isinstance(again, EventGRU)
    x, _ = speed._inputs(SMALL)
    assert torch.equal(layer(x)[0], again(x)[0])
