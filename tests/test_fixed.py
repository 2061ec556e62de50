import numpy as np
import pytest

from hil.errors import UsageError
from hil.fixed import BIAS_LIMIT_Q17, INT32_MAX, MAX_FAN_IN, saturate_int16, shift_round, to_q15


def test_to_q15_refuses_instead_of_clipping():
    """The message counts the values and shows the first."""
    with pytest.raises(UsageError, match=r"1 of 3 values do not fit Q15; first is .*1\.0"):
        to_q15([0.0, 0.5, 1.0])
    with pytest.raises(UsageError, match="nan"):
        to_q15([np.nan])
    assert to_q15([-1.0, 0.5, 32767 / 32768]).tolist() == [-32768, 16384, 32767]


@pytest.mark.parametrize(
    ("acc", "shift", "expected"),
    [(5, 0, 5), (1, 1, 1), (-1, 1, 0), (-3, 1, -1), (5, 2, 1), (6, 2, 2), (-6, 2, -1), (-7, 2, -2), (16384, 15, 1)],
)
def test_shift_rounds_to_nearest_with_ties_upwards(acc, shift, expected):
    """Half an LSB goes towards plus infinity, for both signs."""
    assert shift_round(np.array([acc]), shift).tolist() == [expected]


def test_the_largest_fan_in_cannot_leave_int32():
    """The worst sum of MAX_FAN_IN products, bias and rounding fits; one more input does not."""
    worst = MAX_FAN_IN * (1 << 17) + BIAS_LIMIT_Q17 - 1 + (1 << 14)
    assert worst <= INT32_MAX
    assert worst + (1 << 17) > INT32_MAX


def test_saturation_is_counted():
    """Values at the limits are not saturated, one beyond is."""
    clipped, count = saturate_int16(np.array([-32769, -32768, 0, 32767, 32768]))
    assert clipped.tolist() == [-32768, -32768, 0, 32767, 32767]
    assert count == 2
