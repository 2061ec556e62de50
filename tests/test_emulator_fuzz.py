"""Whatever is loaded into the chip or written to its registers, the host process lives on."""

import hashlib
import os
import random
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import pytest
from emulator_support.build import build

from hil.chips import chip
from hil.emulator import Emulator
from hil.emulator.build_core import SOURCES
from hil.errors import UsageError

CHIP = chip("atsamd21j18a")
DRIVER = Path(__file__).parent / "emulator_support" / "fuzz.c"
ROUNDS = int(os.environ.get("HIL_FUZZ", "1500"))
FLAGS = ["-std=gnu99", "-O0", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-strict-aliasing"]


@pytest.fixture(scope="module")
def fuzzer():
    """The core and a driver, built with the address and the undefined-behaviour sanitizer."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("gcc or clang, whose sanitizers this needs, is not on PATH")
    sources = [*sorted(SOURCES.glob("*.c")), DRIVER]
    contents = b"".join(path.read_bytes() for path in [*sources, *sorted(SOURCES.glob("*.[hi]*"))])
    out = Path(tempfile.gettempdir()) / "hil-emulator-tests" / f"fuzz-{hashlib.sha256(contents).hexdigest()[:16]}"
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent) as folder:
            made = Path(folder) / "fuzz"
            command = [compiler, *FLAGS, f"-I{SOURCES}", '-DSOURCE_HASH=""', "-o", str(made), *map(str, sources)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if "cannot find -lasan" in done.stderr or "libclang_rt" in done.stderr:
                pytest.skip("the compiler lacks the sanitizers' libraries; install libasan and libubsan")
            assert done.returncode == 0, done.stderr
            made.replace(out)
    return out


@pytest.mark.parametrize("seed", [1, 2])
def test_random_flash_registers_and_pins(fuzzer, seed):
    """Random code, register accesses, pins and bytes neither crash nor hang nor do anything undefined."""
    done = subprocess.run([fuzzer, str(seed), str(ROUNDS)], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{fuzzer} {seed} {ROUNDS}\n{done.stderr[-3000:]}"


def attempt(data):
    emulator = attempt.emulator
    try:
        emulator.load_elf(data)
    except UsageError:
        return
    emulator.run(2000)


def test_random_bytes_as_elf():
    """Random bytes behind an ELF magic are refused or run."""
    rng = random.Random(5)
    attempt.emulator = Emulator(CHIP)
    for _ in range(300):
        header = b"\x7fELF\x01\x01\x01" + bytes(9) + struct.pack("<HHI", 2, 40, 1)
        attempt(header + rng.randbytes(rng.randrange(400)))
        attempt(rng.randbytes(rng.randrange(200)))


def test_damaged_elf():
    """A program with flipped bits, cut short or with its parts exchanged is refused or runs."""
    rng = random.Random(6)
    whole = build("echo.c")
    attempt.emulator = Emulator(CHIP)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 20)):
            data[rng.randrange(200 if rng.random() < 0.7 else len(data))] = rng.randrange(256)
        if rng.random() < 0.2:
            del data[rng.randrange(len(data)) :]
        attempt(bytes(data))
