"""Runs on the real firmware as a process of this machine: exact, wrong, silent, unplugged, replaced."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import make_artefact
from host_rig import HostRig

from hil.artefact import Artefact
from hil.codegen import emit_bench_c, emit_c
from hil.errors import DeviceError, FirmwareFault, LinkTimeout, PortLost, UsageError, WrongFirmware
from hil.experiment.bench import measure
from hil.experiment.feature_file import Features, load_features, save_features
from hil.experiment.progress import Quiet
from hil.experiment.result import Epoch, result_from_json
from hil.experiment.run import Background, connect, run_on_rig
from hil.features import FeatureSet
from hil.link.device import Device
from hil.link.schema import Crash

ARTEFACT = make_artefact(seed=11)


def feature_set(clips: int, artefact: Artefact = ARTEFACT, seed: int = 2) -> FeatureSet:
    rng = np.random.default_rng(seed)
    x = rng.integers(-(1 << 15), 1 << 15, (clips, artefact.frontend.frames, artefact.inputs)).astype(np.int16)
    return FeatureSet(x, np.arange(clips) % len(artefact.labels), tuple(f"clip{i}" for i in range(clips)), 3)


def features_for(artefact: Artefact, clips: int = 5) -> Features:
    sets = [feature_set(clips, artefact, seed) for seed in (1, 2, 3)]
    return Features(artefact.labels, artefact.frontend, *sets)


FEATURES = features_for(ARTEFACT)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


@pytest.fixture
def host_rig(programs: Path) -> Iterator[HostRig]:
    with HostRig(emit_c(ARTEFACT), programs) as made:
        yield made


def test_a_run_is_exact_and_complete(host_rig: HostRig) -> None:
    """Every step and output equals the twin; accuracies, counts and hashes are those of the test set."""
    background = Background(
        "r" * 64,
        "d" * 64,
        {"float GRU": 0.5},
        77,
        {"float GRU": (Epoch(1, 1.0, 0.5, 0.5),)},
        {"data": 1.0},
        ("a note",),
    )
    result = run_on_rig(ARTEFACT, FEATURES, host_rig.firmware(ARTEFACT.sha256()), host_rig, background, Quiet())
    assert result.bit_exact
    assert (result.steps, result.steps_exact, result.outputs, result.outputs_exact) == (45, 45, 5, 5)
    assert list(result.accuracy) == ["float GRU", "quantized eGRU", "device"]
    assert result.accuracy["device"] == result.accuracy["quantized eGRU"]
    assert (len(result.cycles), len(result.output_cycles), result.void_windows) == (45, 5, 0)
    assert sum(map(sum, result.confusion)) == 5
    assert sum(result.confusion[i][i] for i in range(3)) == round(5 * result.accuracy["device"])
    assert result.hashes["artefact"] == ARTEFACT.sha256()
    assert set(result.hashes) == {"recipe", "data", "artefact", "elf", "rig", "outputs", "commit"}
    assert [len(t.device_q15) for t in result.trajectories] == [9, 9]
    assert all(t.device_q15 == t.twin_q15 for t in result.trajectories)
    assert result.notes[0] == "a note"
    assert result.repetitions == 0


def test_a_result_survives_its_file(host_rig: HostRig) -> None:
    """JSON and back gives the same result."""
    result = run_on_rig(ARTEFACT, FEATURES, host_rig.firmware(ARTEFACT.sha256()), host_rig, Background(), Quiet())
    assert result_from_json(result.to_json()) == result


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"tier": "silicon"}', '{"tier": "gold"}'])
def test_a_damaged_result_is_refused(text: str) -> None:
    """With what to do, not with a traceback."""
    with pytest.raises(UsageError, match=r"result\.json"):
        result_from_json(text)


def wrong_weight(artefact: Artefact) -> Artefact:
    """One weight of the second layer's candidate rows, column of a state, has another level."""
    layer = artefact.recurrent[1]
    weight = layer.rows.weight_q2.copy()
    row = layer.units + 1
    weight[row, 0] = 2 if weight[row, 0] != 2 else -2
    changed = replace(layer, rows=replace(layer.rows, weight_q2=weight))
    return replace(artefact, recurrent=(artefact.recurrent[0], changed))


def test_a_wrong_weight_is_named_as_a_wrong_sum(programs: Path) -> None:
    """The firmware has one wrong weight: layer, unit and accumulator are named, and the run is not exact."""
    wrong = wrong_weight(ARTEFACT)
    with HostRig(emit_c(wrong), programs) as rig:
        firmware = rig.firmware(wrong.sha256())
        result = run_on_rig(ARTEFACT, FEATURES, firmware, rig, Background(), Quiet())
    first = result.first_difference
    assert first is not None
    assert (first.sequence, first.layer, first.unit, first.operation) == (0, 1, 1, "accumulator")
    assert not result.bit_exact
    assert result.steps_exact < result.steps
    assert result.trajectories[1].label == "sequence 0, layer 1, unit 1"
    assert result.trajectories[1].device_q15 != result.trajectories[1].twin_q15


def test_a_wrong_output_layer_is_named_as_an_output(programs: Path) -> None:
    """All steps are right, the logits are not."""
    last = ARTEFACT.dense[-1]
    bias = last.rows.bias_q17.copy()
    bias[1] += 1 << 10
    wrong = replace(ARTEFACT, dense=(ARTEFACT.dense[0], replace(last, rows=replace(last.rows, bias_q17=bias))))
    with HostRig(emit_c(wrong), programs) as rig:
        result = run_on_rig(ARTEFACT, FEATURES, rig.firmware(wrong.sha256()), rig, Background(), Quiet())
    first = result.first_difference
    assert first is not None
    assert (first.step, first.unit, first.operation) == (-1, 1, "output")
    assert (result.steps_exact, result.outputs_exact) == (result.steps, 0)


def test_firmware_of_another_build_is_refused(host_rig: HostRig) -> None:
    """HELLO gives another build id than the ELF's: the run ends before the first sequence."""
    firmware = replace(host_rig.firmware(ARTEFACT.sha256()), build_id="0" * 32)
    with pytest.raises(WrongFirmware, match="build_id") as caught:
        run_on_rig(ARTEFACT, FEATURES, firmware, host_rig, Background(), Quiet())
    assert caught.value.field == "build_id"
    assert "Flash it again" in str(caught.value)


def test_firmware_of_another_artefact_is_refused(host_rig: HostRig) -> None:
    """The same check for the model inside."""
    other = make_artefact(seed=12)
    with pytest.raises(WrongFirmware, match="artefact_hash"):
        run_on_rig(other, FEATURES, host_rig.firmware(other.sha256()), host_rig, Background(), Quiet())


def test_a_pulled_cable_ends_the_run(host_rig: HostRig) -> None:
    """The port goes away in mid-run: an error of the bench, and no result."""
    firmware = host_rig.firmware(ARTEFACT.sha256())
    many = features_for(ARTEFACT, clips=400)

    def pull_soon(device: Device) -> Device:
        threading.Timer(0.2, host_rig.pull_cable).start()
        return device

    host_rig.wrap = pull_soon
    with pytest.raises(PortLost) as caught:
        run_on_rig(ARTEFACT, many, firmware, host_rig, Background(), Quiet())
    assert caught.value.rig == "host"


def test_silence_ends_the_run(host_rig: HostRig) -> None:
    """A firmware that hangs answers nothing: the error names what was waited for and how long."""
    firmware = host_rig.firmware(ARTEFACT.sha256())
    host_rig.flash(firmware)
    device = host_rig.open()
    device._talk.timeout_s = 0.1
    device.hello()
    with pytest.raises(LinkTimeout, match="no FAULT frame"):
        device.crash(Crash.HANG)
    with pytest.raises(LinkTimeout, match=r"no IS_STATUS frame within 0\.1 s"):
        device.status()


def test_a_fault_ends_the_run(host_rig: HostRig) -> None:
    """The firmware's fault handler answers with its registers."""
    firmware = host_rig.firmware(ARTEFACT.sha256())
    host_rig.flash(firmware)
    device, _ = connect(host_rig, firmware)
    with pytest.raises(FirmwareFault, match="HardFault in the program"):
        device.crash(Crash.HARD_FAULT)


def test_the_requests_of_the_real_firmware(host_rig: HostRig) -> None:
    """ECHO of the largest body, BAUD, STATUS, RESET and INSPECT against the C side."""
    host_rig.flash(None)
    device = host_rig.open()
    hello = device.hello()
    assert (hello.inputs, hello.states, hello.outputs, hello.layers) == (5, 7, 3, 2)
    data = bytes(range(256)) * 4
    assert device.echo(data) == data
    device.set_baud(500_000)
    trace = device.run_sequence(FEATURES.test.x[0])
    assert device.inspect(1).h_q15[0].tolist() == trace.states_q15[-1, 4:].tolist()
    status = device.status()
    assert (status.bad_frames, status.overruns, status.replays) == (0, 0, 0)
    with pytest.raises(UsageError, match=r"takes int16 \[T, 5\]"):
        device.run_sequence(FEATURES.test.x[0][:, :4])


def test_kernels_are_measured(programs: Path) -> None:
    """Every kernel of a bench firmware is called as often as asked; the ratio is of medians."""
    names = ("float_gru_step", "embedded_gru_step")
    with HostRig(emit_bench_c(4, 3, kernels=names), programs) as rig:
        firmware = rig.firmware("0" * 64)
        bench = measure(firmware, rig, Quiet(), inputs=4, units=3, kernels=names, repeats=5)
        assert list(bench.cycles) == list(names)
        assert all(len(cycles) == 5 for cycles in bench.cycles.values())
        assert bench.ratio is not None
        with pytest.raises(DeviceError, match="2 kernels, expected 1"):
            measure(firmware, rig, Quiet(), inputs=4, units=3, kernels=names[:1], repeats=5)
        with pytest.raises(UsageError, match="repeats = 65"):
            measure(firmware, rig, Quiet(), inputs=4, units=3, kernels=names, repeats=65)


def test_features_survive_their_file(tmp_path: Path) -> None:
    """Arrays, names, front end and counts come back; equal features give equal bytes."""
    for name in ("a", "b"):
        save_features(FEATURES, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    got = load_features(tmp_path / "a")
    assert got.labels == FEATURES.labels
    assert vars(got.frontend) | {"offset": 0} == vars(FEATURES.frontend) | {"offset": 0}
    for name in ("train", "validation", "test"):
        mine, theirs = getattr(FEATURES, name), getattr(got, name)
        assert (mine.x == theirs.x).all()
        assert (mine.y == theirs.y).all()
        assert (mine.names, mine.saturated) == (theirs.names, theirs.saturated)


@pytest.mark.parametrize("cut", [0, 7, 100, -1])
def test_a_cut_feature_file_is_refused(tmp_path: Path, cut: int) -> None:
    """Truncation anywhere is noticed."""
    save_features(FEATURES, tmp_path / "a")
    (tmp_path / "b").write_bytes((tmp_path / "a").read_bytes()[:cut])
    with pytest.raises(UsageError, match="corrupt"):
        load_features(tmp_path / "b")


def test_an_altered_feature_file_is_refused(tmp_path: Path) -> None:
    """One flipped bit in the values is noticed."""
    save_features(FEATURES, tmp_path / "a")
    data = bytearray((tmp_path / "a").read_bytes())
    data[-1] ^= 1
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(UsageError, match="hash"):
        load_features(tmp_path / "a")


def test_missing_features_say_what_makes_them(tmp_path: Path) -> None:
    """The message names the command."""
    with pytest.raises(UsageError, match="hil train"):
        load_features(tmp_path / "none")
