"""The device listens to its own microphone: the same firmware as a process and on the emulated chip."""

import dataclasses
import os
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from host_rig import HostRig
from kernel_support import random_artefact

from hil.chips import Board, Microphone, chip
from hil.codegen import emit_c
from hil.emulator import EmulatedBoard
from hil.emulator.sound import feed_microphone, input_of, set_supply
from hil.errors import DeviceRefusal, UsageError
from hil.experiment.microphone_bench import (
    SECONDS,
    bench_microphone,
    build_with_microphone,
    cases,
    heard_all,
    noise,
)
from hil.experiment.progress import Quiet
from hil.features import FeatureStream
from hil.features.offset import OffsetTwin, centred_adc, centred_i2s
from hil.firmware import compile_firmware, find_compiler
from hil.link.capture import RESENT, begin_capture
from hil.link.device import Device
from hil.link.port import open_port
from hil.link.schema import Content, Kind, Trigger
from hil.quant import ListenTwin
from hil.resources import resource
from hil.rig import load_rig, load_rig_file
from hil.trace import Listening

COMPILER = "gcc" if shutil.which("arm-none-eabi-gcc") else "zig"
ARTEFACT = random_artefact(3, hidden=(6, 5), inputs=32, dense=(4, 3))
WIDE = dataclasses.replace(ARTEFACT, frontend=dataclasses.replace(ARTEFACT.frontend, rate_hz=16000))
LISTENING = Listening(9, 3, smooth=2, hold=1)
ALL = Content.SOUND | Content.FEATURES | Content.DECISIONS
ADC8, ADC16, I2S16 = Microphone("adc", 8000, oversampling=32), Microphone("adc", 16000), Microphone("i2s", 16000)


def drain(capture, wait_s=0.5):
    got = []
    while (item := capture.next(wait_s)) is not None:
        got.append(item)
    return got


def values(items, kind):
    return [item.values for item in items if item.kind is kind]


def pcm_of(items):
    sounds = values(items, Kind.SOUND)
    return np.concatenate([s["x"] for s in sounds]) if sounds else np.zeros(0, np.int16)


def check_against_twin(artefact, items, pcm, listening=LISTENING):
    """Every vector and every decision is what the twin makes of the samples that were sent."""
    x = FeatureStream(artefact.sound).feed(pcm)
    decisions = ListenTwin(artefact, listening).feed(x)
    vectors, verdicts = values(items, Kind.VECTOR), values(items, Kind.VERDICT)
    window, hop = artefact.sound.window, artefact.sound.hop
    assert np.array_equal(np.array([v["x"] for v in vectors]), x)
    assert [v["frame"] for v in vectors] == list(range(len(x)))
    assert [v["sample"] for v in vectors] == [i * hop + window - 1 for i in range(len(x))]
    got = [
        (v["index"], v["frame"], v["label"], bool(v["triggered"]), v["margin"], v["logits"].tolist()) for v in verdicts
    ]
    assert got == [(d.index, d.frame, d.label, d.triggered, d.margin_q15, list(d.logits)) for d in decisions]
    assert len(decisions) > 5


# As a process, under sanitizers


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    """The firmware with a microphone that hears a file."""
    folder = tmp_path_factory.mktemp("app")
    with HostRig(emit_c(ARTEFACT, audio=True), folder, microphone=Microphone("adc", 8000, gain=2)) as rig:
        rig.hears = folder / "sound.pcm"
        yield rig


@contextmanager
def listening_process(process, sound, *args, **more):
    process.hears.write_bytes(np.asarray(sound, "<i2").tobytes())
    process.flash(None)
    device = process.open()
    device.hello()
    yield device, begin_capture(device, *args, **more)
    process.close()


def test_what_a_process_hears_is_the_twins(process):
    """Gain and offset removal bit for bit, with saturation; vectors and decisions of the samples that are sent."""
    sound = (noise(9600).astype(int) * 3 + 900).clip(-32768, 32767).astype(np.int16)
    with listening_process(process, sound, LISTENING, ALL, sequence=77) as (_, capture):
        items = drain(capture)
        stopped = capture.stop()
        items += drain(capture, 0.1)
    pcm = pcm_of(items)
    assert np.array_equal(pcm, OffsetTwin().feed((sound.astype(int) * 2).tolist()))
    assert np.abs(pcm.astype(int)).max() >= 32767
    check_against_twin(ARTEFACT, items, pcm)
    assert [item.values["number"] for item in items] == list(range(len(items)))
    assert (stopped["number"], stopped["samples"], stopped["lost"], stopped["unsent"]) == (len(items), 9600, 0, 0)
    assert (items[0].kind, items[0].values["sequence"], items[0].values["rate"]) == (Kind.META, 77, 8000)


def test_samples_are_sent_again(process):
    """Any that the ring still has, while the capture goes on; older ones are refused with the oldest."""
    with listening_process(process, noise(12800), None, Content.SOUND) as (_, capture):
        items = drain(capture)
        pcm = pcm_of(items)
        newest = 12800
        first = newest - capture.begun.ring
        assert np.array_equal(capture.resend(first, 128), pcm[first : first + 128])
        assert np.array_equal(capture.resend(newest - 5, 5), pcm[newest - 5 :])
        for wrong in (first - 1, newest - 4):
            with pytest.raises(DeviceRefusal, match="BAD_STEP"):
                capture.resend(wrong, 5)
        with pytest.raises(DeviceRefusal, match="TOO_LARGE"):
            capture.resend(first, 129)
    assert RESENT == 0xFFFFFFFF


def test_lost_frames_are_mended_or_gaps_of_their_length(process):
    """What a lost frame held is asked for again; where the ring has gone on, the gap is exactly that long."""
    rng, seen, pieces, gaps, dropped = np.random.default_rng(4), 0, {}, 0, 0
    with listening_process(process, noise(32000), None, Content.SOUND) as (_, capture):
        while (item := capture.next(0.5)) is not None:
            if item.kind is not Kind.SOUND:
                continue
            first, count = item.values["first"], len(item.values["x"])
            if rng.random() < 0.1 and first < 31000:
                dropped += count  # as if it had been damaged
                continue
            for start in range(seen, first, 128):
                try:
                    pieces[start] = capture.resend(start, 128)
                except DeviceRefusal:
                    gaps += 128
            pieces[first], seen = item.values["x"], first + count
        capture.stop()
    whole = OffsetTwin().feed((noise(32000).astype(int) * 2).tolist())
    assert dropped > 1000
    assert gaps <= dropped
    assert sum(map(len, pieces.values())) + gaps == 32000
    for start, x in pieces.items():
        assert np.array_equal(x, whole[start : start + len(x)])


def test_no_sound_leaves_the_device_without_the_content_bit(process):
    """Features and decisions alone: not one SOUND frame, and RESEND is refused."""
    with listening_process(process, noise(9600), LISTENING, Content.FEATURES | Content.DECISIONS) as (_, capture):
        items = drain(capture)
        with pytest.raises(DeviceRefusal, match="BAD_STATE"):
            capture.resend(0, 8)
        capture.stop()
    assert not values(items, Kind.SOUND)
    assert len(values(items, Kind.VECTOR)) == (9600 - 256) // 128 + 1


@pytest.mark.parametrize(("before", "after"), [(0, 0), (300, 200), (3000, 1500)])
def test_sound_around_detections(process, before, after):
    """Exactly the samples around detecting windows, in numbered segments; what overlaps is sent once."""
    sound = noise(16000)
    asked = Listening(9, 3, margin_q15=4000, hold=4)
    more = {"trigger": Trigger.DETECTIONS, "before": before, "after": after}
    with listening_process(process, sound, asked, Content.SOUND | Content.DECISIONS, **more) as (_, capture):
        items = drain(capture)
        capture.stop()
        items += drain(capture, 0.1)
    whole = OffsetTwin().feed((sound.astype(int) * 2).clip(-(1 << 19), 1 << 19).tolist())
    wanted = np.zeros(16000, bool)
    for v in values(items, Kind.VERDICT):
        if v["triggered"]:
            wanted[max(0, v["sample"] + 1 - before) : v["sample"] + 1 + after] = True
    sent, segments = np.zeros(16000, bool), []
    for s in values(items, Kind.SOUND):
        place = slice(s["first"], s["first"] + len(s["x"]))
        assert not sent[place].any()
        assert np.array_equal(s["x"], whole[place])
        sent[place] = True
        segments.append(s["segment"])
    assert np.array_equal(sent, wanted)
    assert segments == sorted(segments)
    assert any(v["triggered"] for v in values(items, Kind.VERDICT))


def test_requests_that_disturb_or_end_a_capture(process):
    """BENCH and BAUD are refused, HELLO and BEGIN end it, text gets no answer, impossible requests are refused."""
    with listening_process(process, noise(3200), LISTENING, ALL) as (device, capture):
        drain(capture)
        for request in (lambda: device.bench(0), lambda: device.set_baud(57600)):
            with pytest.raises(DeviceRefusal, match="BAD_STATE"):
                request()
        assert device.status().replays == 0
        device.hello()
        with pytest.raises(DeviceRefusal, match="BAD_STATE"):
            capture.stop()
        for listening, content, more in (
            (None, Content.DECISIONS, {}),
            (None, Content.SOUND, {"trigger": Trigger.DETECTIONS}),
            (Listening(10, 3), ALL, {}),
            (LISTENING, ALL, {"before": 5000}),
        ):
            with pytest.raises(DeviceRefusal, match=r"BAD_VALUE|TOO_LARGE"):
                begin_capture(device, listening, content, **more)


def test_a_second_capture_begins_anew(process):
    """Counters, offset and states from zero."""
    with listening_process(process, noise(6400), LISTENING, ALL) as (device, capture):
        once = drain(capture)
        again = drain(begin_capture(device, LISTENING, ALL))
    timeless = {"time_us", "time_us_low", "time_us_high", "asleep_permille"}
    for a, b in zip(once, again, strict=True):
        assert a.kind is b.kind
        for name in a.values.keys() - timeless:
            assert np.array_equal(a.values[name], b.values[name]), name


# On the emulated chip


@pytest.fixture(scope="module")
def builds(tmp_path_factory):
    """Firmwares by microphone and model."""
    made = {}

    def build(microphone, artefact=ARTEFACT):
        key = (microphone, artefact.sound.rate_hz)
        if key not in made:
            folder = tmp_path_factory.mktemp("firmware")
            made[key] = build_with_microphone(artefact, microphone, find_compiler(COMPILER), folder)
        return made[key]

    return build


def capture_on_chip(firmware, microphone, sound, listening, content, baud=500_000, supply_mv=3300, rate=None):
    """What the host gets of a sound, and STOPPED."""
    with EmulatedBoard(chip("atsamd21j18a")) as board:
        board.load_elf(firmware.elf)
        set_supply(board.emulator, supply_mv)
        where = input_of(microphone.kind)
        feed_microphone(board.emulator, where, sound, rate or microphone.rate_hz, then_stop=True)
        board.start()
        device = Device(open_port(board.port, 115_200, "emulator"), "emulator", timeout_s=20.0)
        device.hello(firmware.build_id)
        if baud != device.conversation.baud:
            device.set_baud(baud)
        capture = begin_capture(device, listening, content)
        items = heard_all(capture, len(sound) // 64 * 64)
        stopped = capture.stop()
        items += drain(capture, 0.2)
        assert device.status().overruns == 0
        assert device.bad_frames == 0
        assert not board.ask(lambda emulator: emulator.unmodelled)
        device.close()
    return items, stopped, capture.begun


def adc_results(sound, oversampling):
    """Ideal sums of the converter that reads the file at its own rate: (data sheet) 7 cycles of 2 MHz between two."""
    position = np.arange(len(sound))[:, None] + np.arange(oversampling) * (7 / 2_000_000) * 8000
    level = np.interp(position, np.arange(len(sound) + 1), np.append(sound, 0)) + 32768
    codes = np.floor(level / 16).astype(np.int64)
    return codes.sum(axis=1) >> max(0, oversampling.bit_length() - 5)


def test_an_analog_microphone_from_pin_to_decision(builds):
    """Samples as the converter makes them, no constant part, no loss; vectors and decisions are the twin's."""
    sound = (noise(16000) // 2 + 3000).astype(np.int16)
    items, stopped, begun = capture_on_chip(builds(ADC8), ADC8, sound, LISTENING, ALL)
    pcm = pcm_of(items)
    ideal = OffsetTwin().feed(centred_adc(adc_results(sound, 32).astype(np.uint16), 32).tolist())
    assert np.abs(pcm.astype(int) - ideal).max() <= 24  # a conversion begins some cycles late where the core is busy
    assert abs(pcm[4000:].astype(float).mean()) < 200
    check_against_twin(ARTEFACT, items, pcm)
    assert [item.values["number"] for item in items] == list(range(len(items)))
    assert (stopped["samples"], stopped["lost"], stopped["unsent"]) == (16000, 0, 0)
    assert (begun.rate_millihertz, begun.supply_mv, begun.oversampling) == (8_000_000, 3300, 32)
    metas = values(items, Kind.META)
    assert [m["samples"] for m in metas] == [0, 8000, 16000]
    assert metas[2]["time_us_low"] - metas[1]["time_us_low"] == pytest.approx(1_000_000, abs=20_000)
    sounds = values(items, Kind.SOUND)
    assert sounds[50]["time_us"] - sounds[0]["time_us"] == 50 * 128 * 125


def test_the_same_sound_gives_the_same_bytes(builds):
    """Twice the same, times included, whatever the host does meanwhile."""
    runs = [capture_on_chip(builds(ADC8), ADC8, noise(8000), LISTENING, ALL)[0] for _ in range(2)]
    for a, b in zip(*runs, strict=True):
        assert a.kind is b.kind
        for name in a.values:
            assert np.array_equal(a.values[name], b.values[name]) or "time_us" in name or "permille" in name


def test_a_digital_microphone_bit_for_bit(builds):
    """24 bits of the first slot; every sample as the straight line between the file's samples at the slot's time."""
    sound = noise(16000)
    items, stopped, begun = capture_on_chip(
        builds(I2S16, WIDE), I2S16, sound, LISTENING, ALL, supply_mv=2950, rate=15957
    )
    pcm = pcm_of(items)
    clock_uhz = 48_000_000 * 10**6 // 47
    times = [64 * i * 10**18 // clock_uhz for i in range(len(pcm))]
    position = [(t * 15957 << 32) // 10**12 for t in times]
    padded = np.append(sound.astype(np.int64), 0)
    here = np.array([p >> 32 for p in position])
    part = np.array([p & 0xFFFFFFFF for p in position], np.int64)
    words = (padded[here] * 256 + ((padded[here + 1] - padded[here]) * part >> 24)) << 8
    close = np.abs(pcm.astype(int) - OffsetTwin().feed(centred_i2s(words.astype(np.int32)).tolist()))
    assert close.max() <= 1
    assert (close > 0).mean() < 0.02  # the slot's first bit is timed to a picosecond
    check_against_twin(WIDE, items, pcm)
    assert (stopped["lost"], stopped["unsent"]) == (0, 0)
    assert begun.supply_mv == pytest.approx(2950, abs=1)
    assert begun.rate_millihertz == round(48e9 / 47 / 64)


def test_a_line_that_is_too_slow_loses_samples_and_counts_them(builds):
    """16 kHz at 115,200 baud: sampling and decisions go on; each gap is as long as the counters say."""
    sound = noise(32000)
    slow, stopped, _ = capture_on_chip(builds(ADC16, WIDE), ADC16, sound, LISTENING, Content.SOUND, baud=115_200)
    quick, _, _ = capture_on_chip(builds(ADC16, WIDE), ADC16, sound, LISTENING, Content.SOUND)
    whole, expected, unsent, gaps = pcm_of(quick), 0, 0, 0
    sent = 0
    for s in values(slow, Kind.SOUND):
        gap = s["first"] - expected
        assert gap == s["unsent"] - unsent
        assert s["lost"] == 0
        place = slice(s["first"], s["first"] + len(s["x"]))
        assert np.abs(s["x"].astype(int) - whole[place]).max() <= 48
        gaps += gap > 0
        sent += len(s["x"])
        expected, unsent = s["first"] + len(s["x"]), s["unsent"]
    assert gaps > 0
    assert sent + stopped["unsent"] == stopped["samples"] == 32000
    assert stopped["decisions"] > 50


def test_shares_of_the_budget(tmp_path):
    """Paper front end and eGRU 30-20 under 25 % of 48 MHz, log-mel and speech-commands under 40 %, all else asleep."""
    paper, paper_pcm, commands, everything = bench_microphone(cases(), ADC8, find_compiler(COMPILER), tmp_path, Quiet())
    assert max(paper.busy, paper_pcm.busy) < 250
    assert max(commands.busy, everything.busy) < 400
    for cost in (paper, paper_pcm, commands, everything):
        assert (cost.lost, cost.unsent, cost.seconds) == (0, 0, SECONDS)
        assert cost.sampling < 20
        assert 0 < cost.features < 100
        assert 0 < cost.network < 150
        assert cost.rest >= 0
        assert 1.89 < cost.estimated_ma < 2.5
    assert paper.asleep > paper_pcm.asleep
    assert commands.asleep > everything.asleep


@pytest.mark.parametrize("microphone", [ADC16, I2S16], ids=["adc", "i2s"])
def test_no_sample_is_lost(builds, microphone):
    """16 kHz, sound, vectors and decisions over the line: every sample is there; ten minutes with HIL_ALL."""
    seconds = 600 if os.environ.get("HIL_ALL") else 10
    sound = np.resize(noise(16000 * min(seconds, 60)), 16000 * seconds)
    rate = 16000 if microphone is ADC16 else 15957  # what the bit clock makes of 16 kHz
    items, stopped, _ = capture_on_chip(builds(microphone, WIDE), microphone, sound, LISTENING, ALL, rate=rate)
    firsts = [s["first"] for s in values(items, Kind.SOUND)]
    pcm = pcm_of(items)
    assert (stopped["lost"], stopped["unsent"]) == (0, 0)
    assert firsts == list(range(0, len(pcm), 128))
    assert len(pcm) == stopped["samples"] >= len(sound) // 64 * 64


def test_a_rigs_microphone_hears_a_file(builds, tmp_path):
    """`hears` of an emulator rig's file, brought to the microphone's rate; the reason of the rig says so."""
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "sound.wav", noise(32000), 16000)
    text = (resource("rigs") / "emulated-microphone.toml").read_text().replace("[board]", 'hears = "FILE"\n[board]')
    (tmp_path / "rig.toml").write_text(text.replace("FILE", str(tmp_path / "sound.wav")))
    with load_rig(str(tmp_path / "rig.toml"), fast_load=True) as rig:
        firmware = builds(rig.microphone)
        rig.flash(firmware)
        assert "hears" in rig.reason
        assert "2.000 s at 8,000 Hz (" in rig.reason
        device = rig.open()
        device.hello(firmware.build_id)
        device.set_baud(500_000)
        capture = begin_capture(device, LISTENING, ALL)
        pcm = pcm_of(heard_all(capture, 16000))
        assert capture.stop()["samples"] == 16000
    assert np.corrcoef(pcm, noise(32000)[::2][: len(pcm)])[0, 1] > 0.5


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('kind = "adc"', 'kind = "acd"'), "kind"),
        (("pin = ", "pins = "), "pin"),
        (("rate_hz = 8000", "rate_hz = 44100"), "rate_hz"),
        (("[microphone]", "[microfone]"), "microphone"),
        (("[board]", 'hears_then = "loop"\n[board]'), "hears_then"),
    ],
)
def test_mistakes_in_a_rigs_microphone(change, says, tmp_path):
    """An unknown key or value is an error with its name."""
    text = (resource("rigs") / "emulated-microphone.toml").read_text()
    (tmp_path / "rig.toml").write_text(text.replace(*change))
    with pytest.raises(UsageError, match=says):
        load_rig_file(str(tmp_path / "rig.toml"))


# What a microphone may be, and what it takes


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"kind": "spi"}, "kind"),
        ({"rate_hz": 44100}, "rate_hz"),
        ({"oversampling": 3}, "oversampling"),
        ({"rate_hz": 16000, "oversampling": 32}, "oversampling"),
        ({"pin": "PA24"}, "pin"),
        ({"sck": "PA02"}, "sck"),
        ({"gain": 3}, "gain"),
        ({"ring": 8192}, "ring"),
    ],
)
def test_wirings_that_the_chip_does_not_have(wrong, says):
    """Each is named with what would be possible."""
    with pytest.raises(UsageError, match=says):
        Microphone(**{"kind": "adc", **wrong})


def test_a_firmware_without_microphone_has_none_of_it(tmp_path):
    """No symbol, no byte of RAM; a small chip takes a small ring."""
    sources, compiler = emit_c(ARTEFACT, audio=True), find_compiler(COMPILER)
    plain = compile_firmware(
        sources, chip=chip("atsamd21e17a"), board=Board(), compiler=compiler, optimize="2", out=tmp_path / "plain"
    )
    assert not [name for name in plain.symbols if "microphone" in name or "capture" in name or "dma_" in name]
    small = compile_firmware(
        sources,
        chip=chip("atsamd21e17a"),
        board=Board(),
        compiler=compiler,
        optimize="2",
        out=tmp_path / "small",
        microphone=Microphone("adc", 8000, ring=512),
    )
    assert small.ram_bytes - plain.ram_bytes < 3500
