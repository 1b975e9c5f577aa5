"""The search behind a tuning job: Optuna's ask and tell under SageMaker's strategies.

It keeps the contract of SageMaker's tuner, not its sequence of trials.
"""

import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagelocal.core.numbers import is_whole
from sagelocal.services.sagemaker.jobs import ranges
from sagelocal.services.sagemaker.jobs.ranges import LOGARITHMIC, Categorical, Continuous, Range

MEDIAN_STARTUP_TRIALS = 4  # trials that early stopping needs to have seen before it judges one
HYPERBAND_REDUCTION = 3
# Static hyperparameters that tell how many epochs a trial may take. Source: API reference, HyperbandStrategyConfig
EPOCHS = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")


@dataclass
class Trial:
    """One point of the search: its hyperparameters as texts, and whether it was given up early."""

    hyperparameters: dict[str, str]
    asked: Any
    reports: int = 0
    given_up: bool = False


class Search:
    """Thread-safe. `config`: HyperParameterTuningJobConfig; `jobs`: how many trials there will be, as far as known;
    `epochs`: Hyperband's MaxResource."""

    def __init__(self, name: str, config: Mapping[str, Any], given: list[Range], jobs: int, epochs: int | None = None):
        import optuna  # half a second, which only tuning jobs have to wait for

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self._lock = threading.Lock()
        self._learned: list[dict[str, str]] = []
        self._ranges = {item.name: item for item in given}
        self._distributions = {item.name: _distribution(optuna, item) for item in given}
        self._strategy = config["Strategy"]
        self._judges = self._strategy == "Hyperband" or config.get("TrainingJobEarlyStoppingType", "Off") == "Auto"
        maximize = config["HyperParameterTuningJobObjective"]["Type"] == "Maximize"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study = optuna.create_study(
                study_name=name,
                direction="maximize" if maximize else "minimize",
                sampler=_sampler(optuna, self._strategy, config.get("RandomSeed"), jobs),
                pruner=_pruner(optuna, config, epochs),
            )
        if self._strategy == "Grid":
            for point in ranges.grid(given):
                self._study.enqueue_trial(point)

    def ask(self) -> Trial:
        """The next point; one that was learned is not proposed again by a search that begins anew."""
        while True:
            with self._lock:
                asked = self._study.ask(self._distributions)
                point = {name: self._ranges[name].text(value) for name, value in asked.params.items()}
                if point not in self._learned:
                    return Trial(point, asked)
                self._learned.remove(point)
                self._study.tell(asked, state=self._optuna.trial.TrialState.FAIL)

    def learn(self, hyperparameters: dict[str, str], value: float | None) -> None:
        """Take over a trial that has ended before this search began; None: it has no objective."""
        states, make = self._optuna.trial.TrialState, self._optuna.trial.create_trial
        params = {
            name: _within(self._distributions[name], self._ranges[name].value(text))
            for name, text in hyperparameters.items()
        }
        state = states.FAIL if value is None else states.COMPLETE
        with self._lock:
            self._study.add_trial(make(state=state, value=value, params=params, distributions=self._distributions))
            self._learned.append(hyperparameters)

    def report(self, trial: Trial, value: float) -> bool:
        """Note the objective's next value of a running trial; True when the trial should be given up."""
        if not self._judges or trial.given_up:
            return False
        with self._lock:
            trial.reports += 1
            trial.asked.report(value, trial.reports)
            trial.given_up = trial.asked.should_prune()
        return trial.given_up

    def tell(self, trial: Trial, value: float | None) -> None:
        """A trial's end: its objective, or None when it has none."""
        state = self._optuna.trial.TrialState
        with self._lock:
            if value is None:
                self._study.tell(trial.asked, state=state.FAIL)
            elif trial.given_up:
                self._study.tell(trial.asked, state=state.PRUNED)
            else:
                self._study.tell(trial.asked, value)


def _distribution(optuna: Any, item: Range) -> Any:
    if isinstance(item, Categorical):
        return optuna.distributions.CategoricalDistribution(item.values)
    if isinstance(item, Continuous):
        if item.scaling == ranges.REVERSE_LOGARITHMIC:
            return optuna.distributions.FloatDistribution(1 - item.high, 1 - item.low, log=True)
        return optuna.distributions.FloatDistribution(item.low, item.high, log=item.scaling == LOGARITHMIC)
    return optuna.distributions.IntDistribution(item.low, item.high, log=item.scaling == LOGARITHMIC)


def _within(distribution: Any, value: Any) -> Any:
    """A number that rounding has put outside of its distribution, at the bound."""
    return min(max(value, distribution.low), distribution.high) if hasattr(distribution, "low") else value


def _sampler(optuna: Any, strategy: str, seed: int | None, jobs: int) -> Any:
    if strategy in ("Random", "Grid"):
        return optuna.samplers.RandomSampler(seed=seed)
    # Optuna starts with ten random points: with SageMaker's usual ten to twenty jobs hardly any would be left to choose
    startup = min(10, max(3, jobs // 3))
    return optuna.samplers.TPESampler(seed=seed, constant_liar=True, n_startup_trials=startup)


def max_resource(config: Mapping[str, Any], static: Mapping[str, Any]) -> int | None:
    """Epochs that Hyperband lets a trial take at most: what the request says, else the static hyperparameter that does.

    None where neither tells.
    """
    given = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
    if "MaxResource" in given:
        return int(given["MaxResource"])
    named = next((static[name] for name in EPOCHS if name in static), "").strip('"')
    return int(named) or None if is_whole(named) else None


def _pruner(optuna: Any, config: Mapping[str, Any], epochs: int | None) -> Any:
    if config["Strategy"] == "Hyperband":
        given = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
        return optuna.pruners.HyperbandPruner(
            min_resource=given.get("MinResource", 1), max_resource=epochs, reduction_factor=HYPERBAND_REDUCTION
        )
    if config.get("TrainingJobEarlyStoppingType", "Off") == "Auto":
        return optuna.pruners.MedianPruner(n_startup_trials=MEDIAN_STARTUP_TRIALS)
    return optuna.pruners.NopPruner()
