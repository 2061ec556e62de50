"""Augmentation: each item does what its line in the recipe says, and nothing leaves the grid of features."""

import math

import numpy as np
import pytest
import torch

from hil.artefact import FrontEnd
from hil.datasets.noise import noise
from hil.errors import UsageError
from hil.features import FeatureSet, extract
from hil.recipe import AugmentRecipe
from hil.train.augment import Augmentation, augmentation_for, masked, moved, power_sum, warped

OFF = {"time_shift": 0, "noise": 0.0}
OCTAVE = 2048 / 32768
FRAMES, BANDS = 12, 8
FRONTEND = FrontEnd("log-mel", 8000, 256, 128, 60.0, 3800.0, FRAMES, 1, np.full(BANDS, -300, np.int16))


def rng(seed=1):
    return torch.Generator().manual_seed(seed)


def augment(x, seed=1, **items):
    return Augmentation(AugmentRecipe(**(OFF | items)), OCTAVE)(x, rng(seed))


def on_the_grid(x):
    steps = x * 32768
    return torch.equal(steps, steps.round()) and float(steps.min()) >= -32768 and float(steps.max()) <= 32767


def make_set(seed=0, count=6):
    x = np.random.default_rng(seed).integers(-9000, 9000, (count, FRAMES, BANDS)).astype(np.int16)
    return FeatureSet(x, np.arange(count, dtype=np.int64) % 3, tuple(map(str, range(count))), 0)


def test_without_augmentation_clips_stay_as_they_are():
    """No item in use is the identity."""
    x = torch.rand(3, 7, 2)
    assert augment(x) is x


def test_time_shifts_repeat_the_edges():
    """Each clip is moved by one number of frames, every number up to the limit occurs, none beyond."""
    x = torch.arange(10.0).expand(200, 10)[:, :, None]
    shifts = set()
    for row in moved(x, 3, 0.0, rng())[:, :, 0].tolist():
        shift = 5 - int(row[5])
        shifts.add(shift)
        assert row == [min(max(t - shift, 0), 9) for t in range(10)]
    assert shifts == set(range(-3, 4))


def test_time_is_stretched_from_the_first_frame():
    """Frame t comes from frame ``t * rate``; rates fill their range."""
    x = torch.arange(101.0).expand(300, 101)[:, :, None]
    rows = moved(x, 0, 0.2, rng())[:, :, 0]
    rates = rows[:, 80] / 80
    assert (rows[:, 0] == 0).all()
    assert rates.min() == pytest.approx(0.8, abs=0.02)
    assert rates.max() == pytest.approx(1.2, abs=0.02)
    slow = rows[int(rates.argmin())]
    expected = torch.arange(101) * (slow[100] / 100)
    assert (slow - expected).abs().max() <= 1.0


def test_bands_are_stretched_about_a_point():
    """On clips that rise by one a band, what remains is linear, and its slopes fill their range."""
    x = torch.arange(32.0).expand(400, 2, 32)
    y = warped(x, 0.1, rng())
    slope = y[:, :, 16] - y[:, :, 15]
    assert slope.min() == pytest.approx(0.9, abs=0.01)
    assert slope.max() == pytest.approx(1.1, abs=0.01)
    assert torch.equal(y[:, 0], y[:, 1])
    assert y.min() >= 0
    assert y.max() <= 31


def test_a_gain_moves_all_values_of_a_clip_alike():
    """10 dB are log2(10) octaves; gains fill their range both ways."""
    moves = augment(torch.zeros(500, 3, 4), gain_db=10.0)
    assert on_the_grid(moves)
    assert torch.equal(moves, moves[:, :1, :1].expand_as(moves))
    limit = OCTAVE * math.log2(10)
    assert float(moves.max()) == pytest.approx(limit, rel=0.02)
    assert float(moves.min()) == pytest.approx(-limit, rel=0.02)


def test_a_channel_is_one_smooth_response_for_all_frames():
    """Its deviation at the outermost bands is the recipe's, and it is linear between four knots."""
    response = augment(torch.zeros(4000, 2, 10), channel_db=3.0)
    assert torch.equal(response[:, 0], response[:, 1])
    per_db = OCTAVE * math.log2(10) / 10
    assert float(response[:, 0, 0].std()) == pytest.approx(3 * per_db, rel=0.05)
    bend = response[:, 0, :-2] - 2 * response[:, 0, 1:-1] + response[:, 0, 2:]
    bent = (bend.abs() > 1.5 / 32768 * 2).any(dim=0)
    assert bent.tolist() == [band in (3, 6) for band in range(1, 9)]


def test_noise_has_its_deviation_and_stays_on_the_q15_grid():
    """Rounded and saturated, as features are."""
    noisy = augment(torch.zeros(20, 50, 30), 2, noise=0.1)
    assert on_the_grid(noisy)
    assert float(noisy.std()) == pytest.approx(0.1, rel=0.02)
    loud = augment(torch.full((20, 50, 30), 32767 / 32768), 3, noise=0.1)
    assert float(loud.max() * 32768) == 32767


@pytest.mark.parametrize("axis", [1, 2])
def test_a_mask_hides_successive_frames_or_bands(axis):
    """From none to the longest, at every place, and nothing else."""
    hidden = masked(torch.ones(600, 9, 7), axis, 3, rng()) == 0
    lines = hidden.all(dim=3 - axis)
    assert torch.equal(lines, hidden.any(dim=3 - axis))
    assert set(lines.sum(dim=1).tolist()) == {0, 1, 2, 3}
    assert lines.any(dim=0).all()
    for line in lines.tolist():
        assert "".join("01"[hide] for hide in line).strip("0").count("0") == 0


def test_a_mask_longer_than_the_clip_hides_all_of_it_at_most():
    """Not an error: recipes are shared by clips of several lengths."""
    assert set((masked(torch.ones(50, 4, 2), 1, 100, rng()) == 0).sum(dim=(1, 2)).tolist()) == {0, 2, 4, 6, 8}


def test_powers_are_added_not_logarithms():
    """Equal powers give one octave more; much smaller ones change nothing."""
    x = torch.tensor([0.0, 0.5, -0.25])
    assert power_sum(x, x, OCTAVE).tolist() == pytest.approx((x + OCTAVE).tolist())
    assert power_sum(x, x - 40 * OCTAVE, OCTAVE).tolist() == pytest.approx(x.tolist())


def test_background_noise_is_a_labels_clips():
    """With gains of a given range; clips of other labels are never added."""
    train = make_set()
    made = augmentation_for(
        AugmentRecipe(**OFF, background="silence", background_db=(0, 0)), train, FRONTEND, ("a", "b", "silence"), 1
    )
    assert made.background is not None
    assert (made.background * 32768).tolist() == train.x[train.y == 2].tolist()
    quiet = torch.full((20, FRAMES, BANDS), -1.0)
    heard = made(quiet, rng())
    assert {tuple(clip.flatten().tolist()) for clip in heard} == {
        tuple(power_sum(quiet[0], clip, made.octave).mul(32768).round().div(32768).flatten().tolist())
        for clip in made.background
    }


def test_synthetic_noise_is_what_the_front_end_hears():
    """Its first clip is white noise 20 dB below full scale through the same integers as every clip."""
    recipe = AugmentRecipe(**OFF, background="synthetic")
    made, again, other = (augmentation_for(recipe, make_set(), FRONTEND, (), seed) for seed in (1, 1, 2))
    assert made.background is not None
    wave = noise("white", (FRAMES - 1) * 128 + 256, 8000, np.random.default_rng(1))
    heard, _ = extract(np.rint(3276.8 * wave).astype(np.int16), FRONTEND)
    assert (made.background[0] * 32768).tolist() == heard.tolist()
    assert torch.equal(made.background, again.background)
    assert not torch.equal(made.background, other.background)
    assert made.octave == OCTAVE


def test_equal_generators_give_equal_clips():
    """All items at once, twice; another seed gives others."""
    recipe = AugmentRecipe(2, 0.1, 0.1, 6.0, 3.0, "synthetic", (-20.0, 0.0), 0.02, 3, 2)
    made = augmentation_for(recipe, make_set(), FRONTEND, (), 1)
    x = torch.tensor(make_set().x) / 32768
    first, second, other = (made(x, rng(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert on_the_grid(first)


@pytest.mark.parametrize(
    ("items", "frontend", "message"),
    [
        ({"gain_db": 3.0}, None, r"train\.augment\.gain_db .* without their front end"),
        (
            {"channel_db": 3.0},
            FrontEnd("magnitude", 8000, 256, 128, 60.0, 3800.0, FRAMES, 0, np.zeros(BANDS, np.int16)),
            r"channel_db .* of kind 'magnitude'",
        ),
        ({"background": "hiss"}, FRONTEND, r"background = 'hiss': must be .* \(a, b, c, none-of-these\)"),
        ({"background": "none-of-these"}, FRONTEND, "no training clip has this label"),
    ],
)
def test_what_these_features_do_not_allow_is_refused(items, frontend, message):
    """Before training, with the item's name."""
    with pytest.raises(UsageError, match=message):
        augmentation_for(AugmentRecipe(**(OFF | items)), make_set(), frontend, ("a", "b", "c", "none-of-these"), 1)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ({"noise": -0.1}, r"train\.augment\.noise = -0\.1: must be within 0 and 1"),
        ({"band_warp": 0.6}, r"band_warp = 0\.6: must be within 0 and 0\.5"),
        ({"background_db": (0.0, -3.0)}, "the smallest and the largest gain"),
        ({"background_db": (0.0,)}, "the smallest and the largest gain"),
    ],
)
def test_amounts_out_of_range_are_refused(items, message):
    """With the key's full name and the limits."""
    with pytest.raises(UsageError, match=message):
        AugmentRecipe(**items)
