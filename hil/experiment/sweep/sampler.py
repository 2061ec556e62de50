"""Which values come next: Optuna's samplers, made to repeat themselves by seed and never to try the same twice."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hil.experiment.sweep.space import Choices, Range, Raw, Space, Values

SAMPLERS: Mapping[str, Callable[[int], BaseSampler] | None] = {
    "tpe": lambda seed: TPESampler(seed=seed),
    "nsga2": lambda seed: NSGAIISampler(seed=seed),
    "random": lambda seed: RandomSampler(seed=seed),
    "grid": None,
}
"""By the name of ``--sampler``; the grid is every combination in order."""
DRAWS = 20
"""Before a combination that nobody has tried is picked at random."""
VERDICT, FAILED = "verdict", "failed"
"""Mark of a trial, and the mark of those that failed because of their values, not because their worker ended."""


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The space as Optuna has it."""
    return {key: _distribution(domain) for key, domain in space.domains.items()}


def _distribution(domain: Choices | Range) -> BaseDistribution:
    if isinstance(domain, Choices):
        return CategoricalDistribution(domain.texts)
    if isinstance(domain.low, int) and isinstance(domain.high, int):
        return IntDistribution(domain.low, domain.high, log=domain.log, step=int(domain.step or 1))
    return FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)


def values_key(values: Mapping[str, Any]) -> str:
    """Equal for equal values."""
    return json.dumps(dict(values), sort_keys=True)


def tried(trials: Sequence[FrozenTrial]) -> set[str]:
    """Keys of the combinations that are done, under way or queued."""
    return {
        values_key(trial.params)
        for trial in trials
        if trial.params and (trial.state != TrialState.FAIL or trial.user_attrs.get(VERDICT) == FAILED)
    }


class DistinctSampler(BaseSampler):
    """
    Another sampler's values, as long as they are new.

    Each trial's values depend on the seed, the trial's number and what is known then, on nothing else: a worker that
    begins anew goes on as if it had not stopped, and workers with one seed do not follow each other.

    Args:
        name: Of `SAMPLERS`.
        seed: Of all trials.
        space: Of all trials.
    """

    def __init__(self, name: str, seed: int, space: Space):
        self._make, self._seed, self._space = SAMPLERS[name], seed, space
        self._distributions = distributions(space)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        taken = tried([other for other in study.get_trials(deepcopy=False) if other.number != trial.number])
        if self._make is not None:
            inner = self._inner(trial)
            for _ in range(DRAWS):
                drawn = self._draw(inner, study, trial)
                if values_key(drawn) not in taken:
                    return drawn
            if self._space.combinations is None:
                return drawn
        free = [values for values in self._space.all() if values_key(values) not in taken]
        return dict(self._pick(free, trial)) if free else dict(next(self._space.all()))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise AssertionError(f"{param_name} is part of the space")

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        if self._make is not None:
            self._inner(trial).before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        if self._make is not None:
            self._inner(trial).after_trial(study, trial, state, values)

    def _draw(self, inner: BaseSampler, study: Study, trial: FrozenTrial) -> dict[str, Any]:
        drawn = inner.sample_relative(study, trial, inner.infer_relative_search_space(study, trial))
        for key, distribution in self._distributions.items():
            if key not in drawn:
                drawn[key] = inner.sample_independent(study, trial, key, distribution)
        return {key: drawn[key] for key in self._distributions}

    def _pick(self, free: Sequence[Values], trial: FrozenTrial) -> Mapping[str, Raw]:
        if self._make is None:
            return free[0]
        return free[int(np.random.default_rng((self._seed, trial.number)).integers(len(free)))]

    def _inner(self, trial: FrozenTrial) -> BaseSampler:
        assert self._make is not None
        seed = int(np.random.SeedSequence((self._seed, trial.number)).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return self._make(seed)
