import dataclasses
import json
import struct

import numpy as np
import pytest
from conftest import make_artefact

from hil.artefact import Rows, artefact_from_bytes, load_artefact
from hil.errors import ArtefactError
from hil.fixed import MAX_FAN_IN


def parse_header(data):
    size = struct.unpack("<Q", data[:8])[0]
    return size, json.loads(data[8 : 8 + size])


def with_manifest(data, **changes):
    """The same file with other values in its manifest."""
    size, header = parse_header(data)
    manifest = json.loads(header["__metadata__"]["manifest"]) | changes
    header["__metadata__"]["manifest"] = json.dumps(manifest)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


@pytest.mark.parametrize("hidden", [(1,), (4, 3), (2, 3, 4)])
def test_a_saved_artefact_comes_back_equal(tmp_path, hidden):
    """Every array, name and number survives the file, and the bytes are the same."""
    original = make_artefact(hidden=hidden)
    original.save(tmp_path / "model.artefact")
    back = load_artefact(tmp_path / "model.artefact")
    assert back.to_bytes() == original.to_bytes()
    assert back.sha256() == original.sha256()
    assert back.labels == original.labels
    assert [p.name for p in tmp_path.iterdir()] == ["model.artefact"]


def test_parameter_bytes_count_three_bits_a_weight(artefact):
    """Weights at 3 bits, biases at 16, shifts at 4, rounded up to a byte once."""
    weights = 8 * 9 + 6 * 7 + 6 * 3 + 3 * 6
    rows = 8 + 6 + 6 + 3
    assert artefact.weights == weights
    assert artefact.parameter_bytes == (3 * weights + 20 * rows + 7) // 8


def test_a_missing_artefact_says_how_to_make_it(tmp_path):
    """The message names the file and the command."""
    with pytest.raises(ArtefactError, match=r"nothing\.artefact: no such artefact.*hil quantize"):
        load_artefact(tmp_path / "nothing.artefact")


def test_every_truncation_is_an_artefact_error(artefact):
    """No prefix of a good file is accepted or ends in another error."""
    data = artefact.to_bytes()
    for n in [*range(0, 64), *range(64, len(data), 37), len(data) - 1]:
        with pytest.raises(ArtefactError):
            artefact_from_bytes(data[:n])


def test_a_flipped_bit_in_an_array_is_noticed(artefact):
    """The hash in the manifest covers every array byte."""
    data = bytearray(artefact.to_bytes())
    for position in range(len(data) - 300, len(data), 7):
        data[position] ^= 0x10
        with pytest.raises(ArtefactError):
            artefact_from_bytes(bytes(data))
        data[position] ^= 0x10


def test_random_damage_never_ends_in_another_error(artefact):
    """Two thousand damaged files are refused, or are equal in meaning (damage in unused padding)."""
    rng = np.random.default_rng(3)
    good = artefact.to_bytes()
    for _ in range(2000):
        data = bytearray(good)
        for position in rng.integers(0, len(data), rng.integers(1, 5)):
            data[position] = rng.integers(0, 256)
        try:
            artefact_from_bytes(bytes(data))
        except ArtefactError:
            continue


def test_a_newer_format_is_refused(artefact):
    """The message gives both versions and what to do."""
    with pytest.raises(ArtefactError, match=r"format version 5, this program reads up to 4: install a newer hil"):
        artefact_from_bytes(with_manifest(artefact.to_bytes(), version=5))


def test_running_means_make_a_file_of_version_2(artefact):
    """Files without them stay as they were, byte for byte; with them an older program says what it lacks."""
    running = dataclasses.replace(artefact, frontend=dataclasses.replace(artefact.frontend, mean_shift=6))
    manifests = [
        json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["manifest"])
        for data in (artefact.to_bytes(), running.to_bytes())
    ]

    assert artefact_from_bytes(running.to_bytes()).frontend.mean_shift == 6
    assert [m["version"] for m in manifests] == [1, 2]
    assert "mean_shift" not in manifests[0]["frontend"]
    for wrong in (-1, 13, 1.0):
        with pytest.raises(ArtefactError, match=r"mean_shift is .*must be within 0 and 12"):
            dataclasses.replace(artefact, frontend=dataclasses.replace(artefact.frontend, mean_shift=wrong))
    with pytest.raises(ArtefactError, match="for log-mel only"):
        dataclasses.replace(artefact, frontend=dataclasses.replace(artefact.frontend, mean_shift=1, kind="magnitude"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "is not an artefact"),
        ({"softsign": "division"}, "softsign form 'division' is not known"),
        ({"bias_bits": 8}, "bias_bits is 8"),
        ({"labels": ["one"]}, "1 labels for 3 outputs"),
        ({"name": "a/b"}, "model name"),
        ({"readout": {"kind": "sum", "shift": 16}}, "readout shift is 16"),
        ({"recurrent": [{"cell": "embedded_gru"}]}, "takes 3 inputs, the part before it gives 4"),
        ({"recurrent": [{"cell": "embedded_gru"}] * 2}, "does not describe its arrays"),
        ({"recurrent": [{"cell": "lstm"}] * 2}, "recurrent.0 is a 'lstm', known are embedded_gru, event_embedded_gru"),
        ({"recurrent": [{}, {}]}, "corrupt"),
        ({"provenance": None}, "corrupt"),
    ],
)
def test_a_manifest_that_breaks_a_rule_is_refused(artefact, change, message):
    """Each rule has its own sentence."""
    with pytest.raises(ArtefactError, match=message):
        artefact_from_bytes(with_manifest(artefact.to_bytes(), **change))


def test_limits_of_the_arithmetic_are_checked(artefact):
    """Weights outside the seven levels, too many inputs, biases and shifts out of range."""
    layer = artefact.dense[0].rows

    def refuse(rows, message):
        dense = (dataclasses.replace(artefact.dense[0], rows=rows), artefact.dense[1])
        with pytest.raises(ArtefactError, match=message):
            dataclasses.replace(artefact, dense=dense)

    refuse(dataclasses.replace(layer, weight_q2=np.full_like(layer.weight_q2, 3)), "outside")
    refuse(dataclasses.replace(layer, bias_q17=np.full_like(layer.bias_q17, 1 << 29)), r"2\*\*29")
    refuse(dataclasses.replace(layer, bias_q17=np.full_like(layer.bias_q17, 33)), "does not fit 16 bits")
    refuse(dataclasses.replace(layer, shift=np.full_like(layer.shift, 16)), "outside 0 to 15")
    wide = MAX_FAN_IN + 1
    rows = Rows(np.zeros((6, wide), np.int8), layer.bias_q17, layer.shift)
    refuse(rows, f"{wide} inputs could overflow the 32-bit sum")


def test_a_failed_write_leaves_the_old_file(tmp_path, artefact):
    """A directory in the way of the temporary file: the old artefact stays and nothing else appears."""
    path = tmp_path / "model.artefact"
    artefact.save(path)
    before = path.read_bytes()
    tmp_path.chmod(0o500)
    try:
        path.parent.joinpath("probe").touch()
    except PermissionError:
        with pytest.raises(OSError, match="denied"):
            make_artefact(seed=1).save(path)
    tmp_path.chmod(0o700)
    assert path.read_bytes() == before
