"""Variations of training clips, made from their features: cheap enough to make them anew in every epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hil.artefact import AnyInput, FrontEnd
from hil.datasets.noise import KINDS, noise
from hil.errors import UsageError
from hil.features import FeatureSet, extract
from hil.fixed import INT16_MAX, INT16_MIN, Q15_ONE
from hil.train_recipe import AugmentRecipe

OCTAVE_Q10 = 1 << 10
"""A factor of 2 in power, in raw log-mel features (`hil.features.spectrum`)."""
CHANNEL_KNOTS = 4
"""A random frequency response is linear between this many points that are equally spaced over the bands."""
SYNTHETIC_CLIPS = 100
SYNTHETIC_DB = -20.0
"""Level of synthetic noise, of full scale."""


@dataclass(frozen=True)
class Augmentation:
    """
    `AugmentRecipe` made ready for one set of features.

    Attributes:
        recipe: Amounts.
        octave: A factor of 2 in power, in features divided by 2**15.
        background: [B, T, F] features of noise; None: none is added.
    """

    recipe: AugmentRecipe
    octave: float = 0.0
    background: Tensor | None = None

    def __call__(self, x: Tensor, generator: torch.Generator, lengths: Tensor | None = None) -> Tensor:
        """
        Vary clips.

        Args:
            x: [N, T, F], Q15 features divided by 2**15.
            generator: Of everything random.
            lengths: [N] steps of each clip; None: all T.

        Returns:
            [N, T, F], on the same grid and within its limits.
        """
        r = self.recipe
        before = x
        if r.time_shift or r.time_stretch:
            x = moved(x, r.time_shift, r.time_stretch, generator, lengths)
        if r.band_warp:
            x = warped(x, r.band_warp, generator)
        per_db = self.octave * math.log2(10) / 10
        if r.gain_db:
            x = x + r.gain_db * per_db * (2 * torch.rand(len(x), 1, 1, generator=generator) - 1)
        if r.channel_db:
            x = x + r.channel_db * per_db * _responses(len(x), x.shape[2], generator)
        if self.background is not None:
            low, high = (db * per_db for db in r.background_db)
            gain = low + (high - low) * torch.rand(len(x), 1, 1, generator=generator)
            chosen = torch.randint(len(self.background), (len(x),), generator=generator)
            x = power_sum(x, self.background[chosen] + gain, self.octave)
        if r.noise:
            x = x + r.noise * torch.randn(x.shape, generator=generator)
        if x is not before:
            x = (x * Q15_ONE).round_().clamp_(INT16_MIN, INT16_MAX) / Q15_ONE
        for axis, longest in ((1, r.mask_frames), (2, r.mask_bands)):
            if longest:
                x = masked(x, axis, longest, generator)
        return x


def augmentation_for(
    recipe: AugmentRecipe, train: FeatureSet, frontend: AnyInput | None, labels: Sequence[str], seed: int
) -> Augmentation:
    """
    Prepare augmentation.

    Args:
        recipe: Amounts.
        train: The training set.
        frontend: That made it; needed for the items in dB and for background noise.
        labels: Of the classes; needed for background noise that is a label's clips.
        seed: Of synthetic noise.

    Raises:
        UsageError: The features are not log-mel, or no training clip has the label of the background noise.
    """
    items = recipe.needs_log_mel
    if not items:
        return Augmentation(recipe)
    if not isinstance(frontend, FrontEnd) or frontend.kind != "log-mel":
        kind = "without their front end" if frontend is None else f"of kind {frontend.kind!r}"
        raise UsageError(f"train.augment.{items[0]} is for log-mel features, these are {kind}: set it to its default")
    octave = OCTAVE_Q10 * 2.0**frontend.gain_shift / Q15_ONE
    if recipe.background == "none":
        return Augmentation(recipe, octave)
    if recipe.background == "synthetic":
        return Augmentation(recipe, octave, _synthetic(frontend, seed))
    if recipe.background not in labels:
        raise UsageError(
            f"train.augment.background = {recipe.background!r}: must be 'none', 'synthetic', or a label of the data "
            f"set whose clips are noise ({', '.join(labels) or 'none are known here'})"
        )
    clips = train.x[train.y == list(labels).index(recipe.background)]
    if not len(clips):
        raise UsageError(f"train.augment.background = {recipe.background!r}: no training clip has this label")
    return Augmentation(recipe, octave, torch.tensor(clips, dtype=torch.float32) / Q15_ONE)


def moved(x: Tensor, shift: int, stretch: float, generator: torch.Generator, lengths: Tensor | None = None) -> Tensor:
    """
    Clips with each frame taken from another place: ``stretch`` about the first frame, then whole frames of shift.

    The edges that are repeated are those of each clip's own length.
    """
    count, steps, _ = x.shape
    source = torch.arange(steps)[None]
    if stretch:
        rate = 1 + stretch * (2 * torch.rand(count, 1, generator=generator) - 1)
        source = (source * rate).round().long()
    if shift:
        source = source - torch.randint(-shift, shift + 1, (count, 1), generator=generator)
    return x[
        torch.arange(count)[:, None],
        source.clamp(0, steps - 1) if lengths is None else source.clamp(min=0).minimum(lengths[:, None] - 1),
    ]


def warped(x: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    """Clips with the axis of bands stretched about a random point: linear between bands, the outermost repeated."""
    count, steps, bands = x.shape
    factor = 1 + amount * (2 * torch.rand(count, 1, generator=generator) - 1)
    pivot = (bands - 1) * torch.rand(count, 1, generator=generator)
    position = (pivot + (torch.arange(bands)[None] - pivot) * factor).clamp(0, bands - 1)
    below = position.floor().long().clamp(max=max(0, bands - 2))
    part = (position - below)[:, None]
    low, high = (
        x.gather(2, index[:, None].expand(count, steps, bands)) for index in (below, (below + 1).clamp(max=bands - 1))
    )
    return torch.lerp(low, high, part)


def power_sum(x: Tensor, y: Tensor, octave: float) -> Tensor:
    """Logarithm of the sum of two powers, from their logarithms."""
    larger = torch.maximum(x, y)
    return larger + octave * torch.log2(1 + torch.exp2((torch.minimum(x, y) - larger) / octave))


def masked(x: Tensor, axis: int, longest: int, generator: torch.Generator) -> Tensor:
    """Clips with 0 to ``longest`` successive frames (axis 1) or bands (axis 2) set to 0."""
    count, size = len(x), x.shape[axis]
    width = torch.randint(0, min(longest, size) + 1, (count, 1), generator=generator)
    first = (torch.rand(count, 1, generator=generator) * (size - width + 1)).long()
    place = torch.arange(size)[None]
    hidden = (place >= first) & (place < first + width)
    return x.masked_fill(hidden[:, :, None] if axis == 1 else hidden[:, None, :], 0.0)


def _responses(count: int, bands: int, generator: torch.Generator) -> Tensor:
    """[N, 1, F] random smooth curves, of standard deviation 1 at the knots."""
    knots = torch.randn(count, 1, CHANNEL_KNOTS, generator=generator)
    return torch.nn.functional.interpolate(knots, bands, mode="linear", align_corners=True)


def _synthetic(frontend: FrontEnd, seed: int) -> Tensor:
    """[B, T, F] features of noise of all kinds in turn."""
    rng = np.random.default_rng(seed)
    count = (frontend.frames - 1) * frontend.hop + frontend.window
    scale = Q15_ONE * 10 ** (SYNTHETIC_DB / 20)
    clips = []
    for i in range(SYNTHETIC_CLIPS):
        wave = noise(KINDS[i % len(KINDS)], count, frontend.rate_hz, rng)
        samples = np.clip(np.rint(scale * wave), INT16_MIN, INT16_MAX).astype(np.int16)
        clips.append(extract(samples, frontend)[0])
    return torch.tensor(np.stack(clips), dtype=torch.float32) / Q15_ONE
