"""Text as numbers of words: Penn Treebank, or three files of your own."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hil.datasets.places import data_folder
from hil.errors import UsageError
from hil.language.recipe import TextRecipe

END = "<eos>"
"""Stands at the end of each line."""
UNKNOWN = "<unk>"
"""What preparations put in place of rare words; for a word that is not in the vocabulary, where there is one."""
Tokens = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Corpus:
    """
    Three texts over one vocabulary.

    Attributes:
        words: The vocabulary: the training text's, most frequent first, then by the alphabet.
        train, validation, test: Numbers of words, [T].
    """

    words: tuple[str, ...]
    train: Tokens
    validation: Tokens
    test: Tokens

    def sha256(self) -> str:
        """Of vocabulary and texts."""
        digest = hashlib.sha256("\n".join(self.words).encode())
        for text in (self.train, self.validation, self.test):
            digest.update(text.astype("<i8").tobytes())
        return digest.hexdigest()


def load_corpus(recipe: TextRecipe) -> Corpus:
    """
    The texts of a recipe.

    Raises:
        UsageError: A file is missing, is no text, is empty, or has a word that neither the training text nor its
            ``<unk>`` accounts for.
    """
    if recipe.source == "ptb":
        folder, names = data_folder("ptb"), ("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt")
    else:
        folder, names = Path(recipe.folder), ("train.txt", "valid.txt", "test.txt")
    texts = [_read(folder / name) for name in names]
    counts = Counter(texts[0])
    words = tuple(sorted(counts, key=lambda word: (-counts[word], word)))
    number = {word: i for i, word in enumerate(words)}
    train, validation, test = (_numbers(text, number, folder / name) for text, name in zip(texts, names, strict=True))
    return Corpus(words, train, validation, test)


def _read(path: Path) -> list[str]:
    """Words of all lines that are not empty, each line with its end."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    words = [word for line in lines if line.strip() for word in (*line.split(), END)]
    if not words:
        raise UsageError(f"{path}: holds no words")
    return words


def _numbers(text: list[str], number: dict[str, int], path: Path) -> Tokens:
    unknown = number.get(UNKNOWN)
    found = [number.get(word, unknown) for word in text]
    if None in found:
        word = text[found.index(None)]
        raise UsageError(f"{path}: {word!r} is not in the training text, which has no {UNKNOWN} to stand for it")
    return np.array(found, np.int64)
