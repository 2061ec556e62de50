"""How a network is trained: augmentation, the float stage, the quantized stage.  Tables [train] and [quantize]."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hil.errors import UsageError


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


_LIMITS: dict[str, float] = {
    "noise": 1.0,
    "time_shift": 1000,
    "time_stretch": 0.5,
    "gain_db": 60.0,
    "channel_db": 60.0,
    "band_warp": 0.5,
    "mask_frames": 1000,
    "mask_bands": 1000,
}


@dataclass(frozen=True)
class AugmentRecipe:
    """
    How training clips are varied, anew in every epoch.  0 switches an item off.

    All of it happens on features, in the order of the list.  The items in dB, and background noise, are for
    log-mel features, where a factor on sound is a sum.

    Attributes:
        time_shift: Clips are shifted by up to this many frames either way; edge frames are repeated.
        time_stretch: Clips are slowed down or sped up by up to this fraction.
        band_warp: Bands are stretched by up to this fraction, as by a longer or shorter vocal tract.
        gain_db: Clips are made louder or softer by up to this much.
        channel_db: Standard deviation of a random smooth frequency response, as of another microphone or room.
        background: Noise that is added.  ``"none"``; ``"synthetic"``; or a label of the data set whose training
            clips are nothing but noise, such as ``"silence"`` of speech_commands (its background files).
        background_db: Smallest and largest gain of that noise; synthetic noise has -20 dB of full scale at 0.
        noise: Standard deviation of Gaussian noise added to features, 1.0 = full scale.
        mask_frames, mask_bands: SpecAugment: up to so many successive frames, and bands, are set to 0 (the mean).

    Source:
        Park et al. 2019, "SpecAugment", section 2, for the masks; Jaitly and Hinton 2013, "Vocal Tract Length
        Perturbation (VTLP) improves speech recognition", for band_warp.
    """

    time_shift: int = 3
    time_stretch: float = 0.0
    band_warp: float = 0.0
    gain_db: float = 0.0
    channel_db: float = 0.0
    background: str = "none"
    background_db: tuple[float, ...] = (-30.0, 0.0)
    noise: float = 0.1
    mask_frames: int = 0
    mask_bands: int = 0

    def __post_init__(self) -> None:
        for name, limit in _LIMITS.items():
            value = getattr(self, name)
            _require(0 <= value <= limit, f"train.augment.{name} = {value}: must be within 0 and {limit:g}")
        low_high = self.background_db
        _require(
            len(low_high) == 2 and -120 <= low_high[0] <= low_high[1] <= 60,
            f"train.augment.background_db = {list(low_high)}: give the smallest and the largest gain, -120 to 60",
        )

    @property
    def needs_log_mel(self) -> tuple[str, ...]:
        """Names of the items in use that are for log-mel features only."""
        used = [name for name in ("gain_db", "channel_db") if getattr(self, name)]
        return (*used, "background") if self.background != "none" else tuple(used)


@dataclass(frozen=True)
class TrainRecipe:
    """
    Float training; the baseline GRU gets as many epochs as float and quantized training together.

    Attributes:
        epochs: Passes over the training set in float.
        batch: Clips per update.
        learning_rate: Of Adam, decayed to 0 along a cosine.
        gru_learning_rate: The same for the float GRU.
        z_bias: Initial bias of the update gate (negative: slow units).
        logit_scale: The loss is that of outputs times this; larger makes the network's own outputs smaller.
        label_smoothing: Share of the target that is spread evenly over all classes.
        dropout: Probability with which a unit is left out of the readout while training.
        average: Weight of the past in a running mean of parameters over updates, which is what is validated and
            kept; 0 keeps the parameters themselves.
        patience: Stop after so many epochs without a better validation; 0: never.
        keep: ``"best"``: the epoch with the best validation.  ``"last"``: the last one, where the learning rate has
            reached 0; for validation sets that nearly every epoch gets right, whose best epoch is luck.
        seed: Of initialization, order and augmentation.
        augment: How clips are varied.
    """

    epochs: int = 30
    batch: int = 64
    learning_rate: float = 0.02
    gru_learning_rate: float = 0.01
    z_bias: float = -2.0
    logit_scale: float = 1.0
    label_smoothing: float = 0.0
    dropout: float = 0.0
    average: float = 0.0
    patience: int = 0
    keep: Literal["best", "last"] = "best"
    seed: int = 1
    augment: AugmentRecipe = field(default_factory=AugmentRecipe)

    def __post_init__(self) -> None:
        _require(self.epochs >= 1, f"train.epochs = {self.epochs}: must be at least 1")
        _require(self.batch >= 1, f"train.batch = {self.batch}: must be at least 1")
        _require(self.learning_rate > 0 and self.gru_learning_rate > 0, "train: learning rates must be positive")
        _require(0.01 <= self.logit_scale <= 100, f"train.logit_scale = {self.logit_scale}: must be 0.01 to 100")
        for name in ("label_smoothing", "dropout", "average"):
            value = getattr(self, name)
            _require(0 <= value < 1, f"train.{name} = {value}: must be at least 0 and below 1")
        _require(self.patience >= 0, f"train.patience = {self.patience}: must not be negative")
        _require(self.keep == "best" or not self.patience, "train: patience and keep = 'last' exclude each other")


@dataclass(frozen=True)
class QuantizeRecipe:
    """
    Quantization-aware training.

    Attributes:
        epochs: Passes over the training set with quantized weights; 0 quantizes the float model as it is.
        learning_rate: Of Adam, decayed to 0 along a cosine.
        zero_threshold: ``"code"`` (|w| < 2**-2.5 is 0) or ``"paper"`` (|w| <= 1/4 is 0).
        row_scales: Fit a power of two per row.
        refit_epochs: Row scales are fitted to the weights before each of the first so many epochs, then frozen;
            only epochs with the frozen scales can be kept.
        bias_bits: 16, or 3 (a weight's seven levels, as in the paper).
    """

    epochs: int = 25
    learning_rate: float = 0.008
    zero_threshold: Literal["code", "paper"] = "code"
    row_scales: bool = True
    refit_epochs: int = 1
    bias_bits: Literal[3, 16] = 16

    def __post_init__(self) -> None:
        _require(self.epochs >= 0, f"quantize.epochs = {self.epochs}: must not be negative")
        _require(
            1 <= self.refit_epochs <= max(1, self.epochs),
            f"quantize.refit_epochs = {self.refit_epochs}: must be within 1 and quantize.epochs",
        )
