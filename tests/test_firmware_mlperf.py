"""The MLPerf Tiny text protocol, command by command, on the application as a process under ASan and UBSan."""

import re

import numpy as np
import pytest
from conftest import make_artefact
from firmware_support import SOURCES, requests, talk

from hil.codegen import emit_c
from hil.firmware import compile_host_app
from hil.link.codec import Frame
from hil.link.schema import Kind
from hil.quant import run_twins

FRAMES, INPUTS = 9, 5
SIZE = 2 * FRAMES * INPUTS


@pytest.fixture(scope="module")
def artefact():
    return make_artefact(seed=3, inputs=INPUTS, frames=FRAMES, outputs=3)


@pytest.fixture(scope="module")
def program(artefact, tmp_path_factory):
    return compile_host_app(emit_c(artefact, audio=True), tmp_path_factory.mktemp("mlperf"))


@pytest.fixture(scope="module")
def without_input(tmp_path_factory):
    """A model without room for a clip's features."""
    return compile_host_app(SOURCES, tmp_path_factory.mktemp("without"))


def features(seed=0):
    return np.random.default_rng(seed).integers(-20000, 20000, (FRAMES, INPUTS)).astype(np.int16)


def loading(data, bytes_a_command=31):
    """As the official runner sends an input."""
    parts = [data[i : i + bytes_a_command] for i in range(0, len(data), bytes_a_command)]
    return [f"db load {len(data)}", *(f"db {part.hex()}" for part in parts)]


def ask(program, *commands):
    """The lines of each answer without its ``m-ready``."""
    items = talk(program, "".join(f"{command}%" for command in commands).encode())
    lines = [item for item in items if isinstance(item, str)]
    answers = [[]]
    for line in lines:
        if line == "m-ready":
            answers.append([])
        else:
            answers[-1].append(line)
    assert answers.pop() == []
    assert len(answers) == len(commands)
    return answers


def probabilities(line):
    return [float(p) for p in re.fullmatch(r"m-results-\[([0-9.,]+)\]", line)[1].split(",")]


def softmax(logits_q15):
    e = np.exp((logits_q15 - logits_q15.max()) / 32768)
    return e / e.sum()


def test_the_device_says_who_it_is(program):
    """Lines as the runner's patterns want them."""
    name, profile, stamp, told = ask(program, "name", "profile", "timestamp", "help")
    assert name == ["m-name-dut-[hil]"]
    assert profile == ["m-profile-[ULPMark for tinyML Firmware V0.0.1]", "m-model-[egru01]"]
    assert re.fullmatch(r"m-lap-us-[0-9]+", stamp[0])
    assert all(line.startswith("m-") for line in told)


def test_inference_gives_the_twins_probabilities(program, artefact):
    """Softmax of the twin's logits within two tenthousandths, its largest output strictly first."""
    for seed in range(5):
        x = features(seed)
        [twin] = run_twins(artefact, x[None])
        answer = ask(program, *loading(x.tobytes()), "infer 2 1", "results")
        infer, results = answer[-2:]
        assert answer[0] == [f"m-[Expecting {SIZE} bytes]"]
        assert answer[-3] == ["m-load-done"]
        assert answer[1:-3] == [[]] * (len(answer) - 4)
        assert infer[:4] == ["m-warmup-start-1", "m-warmup-done", "m-infer-start-2", "m-lap-us-0"]
        assert re.fullmatch(r"m-lap-us-[0-9]+", infer[4])
        assert infer[5] == "m-infer-done"
        assert [infer[6]] == results
        got = np.array(probabilities(infer[6]))
        assert np.abs(got - softmax(twin.logits)).max() < 2e-4
        assert got.argmax() == twin.decision


def test_ten_warm_ups_unless_told_otherwise(program):
    """The reference firmware's number."""
    assert ask(program, *loading(features().tobytes()), "infer 1")[-1][0] == "m-warmup-start-10"


def test_a_shorter_clip_has_fewer_steps(program, artefact):
    """Whole feature vectors only."""
    x = features()[:4]
    [twin] = run_twins(artefact, x[None])
    got = probabilities(ask(program, *loading(x.tobytes()), "infer 1 0")[-1][-1])
    assert np.abs(np.array(got) - softmax(twin.logits)).max() < 2e-4


def test_the_buffer_is_printed_in_lines_of_eight(program):
    """All of it, sixteen bytes, or from an offset."""
    data = features().tobytes()
    short, some, rest, none = ask(
        program, *loading(data), "db print", "db print 3 6", f"db print 99 {SIZE - 2}", f"db print 4 {SIZE}"
    )[-4:]
    assert short == [f"m-buffer-{data[:8].hex('-')}", f"m-buffer-{data[8:16].hex('-')}"]
    assert some == [f"m-buffer-{data[6:9].hex('-')}"]
    assert rest == [f"m-buffer-{data[-2:].hex('-')}"]
    assert none == []


def test_upper_case_and_one_byte_at_a_time_load_as_well(program):
    """The last byte is the one that is answered."""
    data = features().tobytes()
    answers = ask(program, f"db load {SIZE}", *(f"db {byte:02X}" for byte in data), "db print 90")
    assert [len(answer) for answer in answers[1:-2]] == [0] * (SIZE - 1)
    assert answers[-2] == ["m-load-done"]
    assert "-".join(line.removeprefix("m-buffer-") for line in answers[-1]) == data.hex("-")


LIMIT = f"e-[the input must be a multiple of {2 * INPUTS} bytes, at most {SIZE}]"
MALFORMED = {
    "": "e-[Unknown command: ]",
    " ": "e-[Unknown command:  ]",
    "nam": "e-[Unknown command: nam]",
    "names": "e-[Unknown command: names]",
    "name profile": "e-[Unknown command: name profile]",
    "x" * 100: f"e-[Unknown command: {'x' * 80}]",
    "db": "e-[db takes load, print, or bytes of two hexadecimal digits]",
    "db 1": "e-[db takes load, print, or bytes of two hexadecimal digits]",
    "db 0g": "e-[db takes load, print, or bytes of two hexadecimal digits]",
    "db 00 00": "e-[db takes load, print, or bytes of two hexadecimal digits]",
    "db 00": "e-[say db load first]",
    "db load": "e-[db load takes a number of bytes]",
    "db load x": "e-[db load takes a number of bytes]",
    "db load -1": "e-[db load takes a number of bytes]",
    "db load 90 1": "e-[db load takes a number of bytes]",
    "db load 99999999999": "e-[db load takes a number of bytes]",
    "db load 0": LIMIT,
    f"db load {SIZE - 1}": LIMIT,
    f"db load {SIZE + 2 * INPUTS}": LIMIT,
    "db load 999999990": LIMIT,
    "db print x": "e-[db print takes a number of bytes and an offset]",
    "db print 1 2 3": "e-[db print takes a number of bytes and an offset]",
    "infer": "e-[infer takes a number of inferences, 1 to 1000000, and of warm-ups]",
    "infer 0 0": "e-[infer takes a number of inferences, 1 to 1000000, and of warm-ups]",
    "infer 1 x": "e-[infer takes a number of inferences, 1 to 1000000, and of warm-ups]",
    "infer 1 1 1": "e-[infer takes a number of inferences, 1 to 1000000, and of warm-ups]",
    "infer 1000001 0": "e-[infer takes a number of inferences, 1 to 1000000, and of warm-ups]",
    "infer 1 0": "e-[load the whole input first]",
    "results": "e-[nothing was inferred yet]",
}


@pytest.mark.parametrize("command", MALFORMED)
def test_a_malformed_command_is_named_and_the_next_one_served(program, command):
    """One error line, then m-ready, always."""
    assert ask(program, command, "name") == [[MALFORMED[command]], ["m-name-dut-[hil]"]]


def test_more_bytes_than_announced_are_refused_whole(program):
    """The buffer keeps what it had."""
    answers = ask(program, "db load 10", "db 00112233445566778899", "db aa", "db print 20")
    assert answers[1:] == [
        ["m-load-done"],
        ["e-[more bytes than db load announced]"],
        ["m-buffer-00-11-22-33-44-55-66-77", "m-buffer-88-99"],
    ]


def test_half_an_input_is_not_inferred_from(program):
    """Nor after another `db load`."""
    data = features().tobytes()
    assert ask(program, *loading(data)[:-1], "infer 1 0")[-1] == ["e-[load the whole input first]"]
    assert ask(program, *loading(data), f"db load {SIZE}", "infer 1 0")[-1] == ["e-[load the whole input first]"]


def test_a_model_without_room_says_so(without_input):
    """Instead of writing somewhere."""
    assert ask(without_input, "db load 6", "db 00", "infer 1 0", "results", "db print") == [
        ["e-[this firmware has no room for an input]"],
        ["e-[say db load first]"],
        ["e-[load the whole input first]"],
        ["e-[nothing was inferred yet]"],
        [],
    ]


def test_listening_takes_the_buffer(program):
    """A clip loaded before it is not inferred from after it."""
    how = {"sequence": 1, "frames": FRAMES, "hop": 1, "flags": 0, "smooth_log2": 0, "hold": 0, "margin": 0, "quiet": 0}
    listen = requests((Kind.LISTEN, how))
    said = "".join(f"{command}%" for command in loading(features().tobytes())).encode()
    items = talk(program, said + listen + b"infer 1 0%")
    assert [item.kind for item in items if isinstance(item, Frame)][1:] == [Kind.IS_HELLO, Kind.LISTENING]
    assert items[-2:] == ["e-[load the whole input first]", "m-ready"]


@pytest.mark.parametrize("seed", range(3))
def test_any_text_is_survived(program, seed):
    """10,000 commands of random words: every one is answered."""
    rng = np.random.default_rng(seed)
    words = ["db", "load", "print", "infer", "0", "1", "2", "10", "90", "ff", "zz", "name", "results", "", "9" * 9]
    commands = [" ".join(rng.choice(words, rng.integers(0, 5))) for _ in range(10_000)]
    commands = [command for command in commands if "999999999" not in command or "infer" not in command]
    assert len(ask(program, *commands)) == len(commands)
