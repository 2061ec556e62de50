"""
Arm's CMSIS-DSP, to be measured beside our own front ends: its C out of the PyPI source package ``cmsisdsp``.

Nothing of it is in this project's firmware (docs/decisions/0007-own-fft.md).  pip fetches the package once, checks its
hash, and it stays in the cache; the same files with the same defines are compiled for the chip and for this machine.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hil.datasets.places import cache_folder
from hil.errors import ToolError

VERSION = "1.10.3"
SHA256 = "307d32298faa7c58db912851027fce35f886fec7eb1a27c4b309ce1a97f47519"
ARCHIVE = f"cmsisdsp-{VERSION}.tar.gz"
FETCH_TIMEOUT_S = 300.0
_FOLDER = "cmsis_dsp"
"""Among the files that are compiled."""
_SOURCES = {
    "BasicMathFunctions": "abs_q15 dot_prod_q15 mult_q15 offset_q31 scale_q15 scale_q31 shift_q15 shift_q31",
    "CommonTables": "common_tables const_structs",
    "ComplexMathFunctions": "cmplx_mag_q15",
    "FastMathFunctions": "divide_q15 sqrt_q15 sqrt_q31 vlog_q31",
    "MatrixFunctions": "mat_vec_mult_q15",
    "StatisticsFunctions": "absmax_q15",
    "TransformFunctions": "bitreversal bitreversal2 cfft_q15 cfft_radix4_q15 mfcc_init_q15 mfcc_q15 rfft_init_q15 "
    "rfft_q15",
}
_WANTED = {f"Source/{folder}/arm_{name}.c" for folder, names in _SOURCES.items() for name in names.split()}
_WITHOUT_A_C_LIBRARY = {
    "string.h": "#include <stddef.h>\nvoid *memcpy(void *, const void *, size_t);\nvoid *memset(void *, int, size_t);\n"
    "void *memmove(void *, const void *, size_t);\n",
    "stdlib.h": "int abs(int);\n",
    "math.h": "float sqrtf(float);\ndouble sqrt(double);\nfloat powf(float, float);\nfloat fabsf(float);\n",
}
"""What the package's headers include and its integer functions never call."""


@dataclass(frozen=True)
class Library:
    """
    C of other authors that is compiled with a firmware.

    Attributes:
        files: By path as they are compiled.
        flags: For every file of the program: where the headers are, and defines.
        own_flags: For its own files besides: its warnings are its authors' concern.
    """

    files: Mapping[str, bytes]
    flags: tuple[str, ...]
    own_flags: tuple[str, ...] = ("-w",)


def cmsis_dsp() -> Library:
    """
    The files of CMSIS-DSP that ``arm_rfft_q15`` and ``arm_mfcc_q15`` need.

    Raises:
        ToolError: The package is not in the cache and cannot be fetched, or is another one.
    """
    files = {f"{_FOLDER}/libc/{name}": text.encode() for name, text in _WITHOUT_A_C_LIBRARY.items()}
    with tarfile.open(_archive()) as archive:
        for member in archive:
            path = member.name.partition("/")[2]
            header = path.startswith(("Include/", "PrivateInclude/")) and path.endswith(".h")
            file = archive.extractfile(member) if member.isfile() and (header or path in _WANTED) else None
            if file is not None:
                files[f"{_FOLDER}/{path}"] = file.read()
    places = ("libc", "Include", "PrivateInclude")
    # __GNUC_PYTHON__: without CMSIS-Core, which the package lacks, and so without the DSP instructions that the
    # Cortex-M0+ lacks as well.
    flags = (*(f"-isystem{_FOLDER}/{place}" for place in places), "-D__GNUC_PYTHON__")
    return Library(files, flags)


def _archive() -> Path:
    path = cache_folder() / "cmsis-dsp" / ARCHIVE
    if not path.is_file():
        _fetch(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        raise ToolError(f"{path} has SHA-256 {digest}, expected {SHA256}: delete it and run the command again")
    return path


def _fetch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as name:
        scratch = Path(name)
        (scratch / "requirement.txt").write_text(f"cmsisdsp=={VERSION} --hash=sha256:{SHA256}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
        command += ["--retries", "1", "--timeout", "15", "--no-deps", "--no-binary", "cmsisdsp", "--require-hashes"]
        command += ["-r", "requirement.txt", "-d", "."]
        try:
            done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise ToolError(_missing(f"pip did not deliver it within {FETCH_TIMEOUT_S:g} s"), command) from None
        if not (scratch / ARCHIVE).is_file():
            raise ToolError(_missing("pip could not download it"), command, done.stderr)
        (scratch / ARCHIVE).replace(path)


def _missing(why: str) -> str:
    return (
        f"CMSIS-DSP (the PyPI source package cmsisdsp {VERSION}) is not in the cache, and {why}. "
        f"Connect this machine to a package index once, or copy {ARCHIVE} to {cache_folder() / 'cmsis-dsp'}"
    )
