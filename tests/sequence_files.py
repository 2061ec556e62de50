"""Small files in the formats of the UEA archive and of MNIST, made here: stand-ins for the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SPEAKERS, DIMENSIONS = 9, 12
"""Classes and values a step of Japanese vowels."""
SIDE, DIGITS = 28, 10


def make_uea(root: Path, problem: str = "JapaneseVowels", train: int = 6, test: int = 3) -> Path:
    """``root/uea/PROBLEM``: so many series of each class, 7 to 29 steps long; a class is a mean of its own."""
    rng = np.random.default_rng(5)
    means = rng.normal(0, 1, (SPEAKERS, DIMENSIONS))
    folder = root / "uea" / problem
    folder.mkdir(parents=True)
    for part, count in (("TRAIN", train), ("TEST", test)):
        lines = ["# a stand-in", f"@problemName {problem}", "@timeStamps false", "@univariate false"]
        lines += [f"@dimensions {DIMENSIONS}", "@equalLength false"]
        lines += [f"@classLabel true {' '.join(str(i + 1) for i in range(SPEAKERS))}", "@data"]
        for label in np.repeat(np.arange(SPEAKERS), count):
            values = means[label] + rng.normal(0, 0.3, (int(rng.integers(7, 30)), DIMENSIONS))
            lines.append(":".join(",".join(f"{v:.6f}" for v in part) for part in values.T) + f":{label + 1}")
        (folder / f"{problem}_{part}.ts").write_text("\n".join(lines) + "\n")
    return folder


def make_mnist(root: Path, train: int = 12, test: int = 4) -> Path:
    """``root/mnist/mnist.npz``: so many pictures of each digit, a bright bar whose place and length say which."""
    rng = np.random.default_rng(6)
    arrays = {}
    for part, count in (("train", train), ("test", test)):
        y = np.tile(np.arange(DIGITS, dtype=np.uint8), count)
        x = rng.integers(0, 20, (len(y), SIDE, SIDE))
        for picture, digit in zip(x, y, strict=True):
            row, step = 3 + 5 * (digit % 5) + int(rng.integers(0, 2)), digit // 5
            for column in range(4, 8 + 2 * digit):
                top = row + step * (column - 4) // 4
                picture[top : top + 4, column] += 220
        arrays |= {f"x_{part}": x.astype(np.uint8), f"y_{part}": y}
    folder = root / "mnist"
    folder.mkdir(parents=True)
    np.savez(folder / "mnist.npz", **arrays)
    return folder
