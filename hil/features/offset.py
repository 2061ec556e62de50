"""What a microphone's samples go through on the device before they are sound: gain, and no constant part."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

LOG2 = 10
"""Bits behind the point of the mean, and its time constant: 2^10 samples."""
MAX_GAIN_LOG2 = 4


class OffsetTwin:
    """
    Takes the constant part out of samples that come in pieces.

    Twin:
        ``firmware/frontend/offset.h``, equal bit for bit.
    """

    def __init__(self) -> None:
        self._mean_q10: int | None = None

    def feed(self, values: Iterable[int]) -> npt.NDArray[np.int16]:
        """
        The samples that these values become.

        Args:
            values: [N], at most 2^19 in size: what the converter gave, centred, with its gain.
        """
        half, mean, out = 1 << (LOG2 - 1), self._mean_q10, []
        for v in values:
            v_q10 = v << LOG2
            mean = v_q10 if mean is None else mean
            out.append(max(-32768, min(32767, v - ((mean + half) >> LOG2))))
            mean += (v_q10 - mean + half) >> LOG2
        self._mean_q10 = mean
        return np.array(out, np.int16)


def centred_adc(results: npt.NDArray[np.uint16], oversampling: int, gain_log2: int = 0) -> npt.NDArray[np.int64]:
    """
    Results of the chip's converter as signed values of 16 bits, times the gain.

    Args:
        results: [N] sums of ``oversampling`` conversions of 12 bits, shifted into 16 bits.
        oversampling: A power of two.
        gain_log2: Bits to shift up.
    """
    missing = 4 - min(4, oversampling.bit_length() - 1)
    return ((results.astype(np.int64) << missing) - 32768) << gain_log2


def centred_i2s(words: npt.NDArray[np.int32], gain_log2: int = 0) -> npt.NDArray[np.int64]:
    """
    Words of an I2S microphone as values of 16 bits, times the gain, which brings lower bits of the word up.

    Args:
        words: [N] left-adjusted in 32 bits.
        gain_log2: Bits to shift up.
    """
    return words.astype(np.int64) >> (16 - gain_log2)
