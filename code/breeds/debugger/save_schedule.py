"""Which of a hook's collections are to be saved at a step: asked once a step, where smdebug asks in each callback."""

import math
from collections.abc import Collection
from typing import Any, NamedTuple

from smdebug.core.collection import CollectionKeys
from smdebug.core.modes import ModeKeys

OF_TRAINING_ALONE = (CollectionKeys.GRADIENTS, CollectionKeys.OPTIMIZER_VARIABLES)


class Times(NamedTuple):
    """When one collection is saved in one mode."""

    collection: Any
    steps: frozenset[int]
    start: int
    end: float
    interval: int

    def has(self, step: int) -> bool:
        """As smdebug's SaveConfigMode.should_save_step."""
        return step in self.steps or (self.start <= step < self.end and step % self.interval == 0)


class SaveSchedule:
    """When each of a hook's smdebug collections is saved."""

    def __init__(self, collections: Collection[Any]) -> None:
        self._collections = collections
        self._of_mode: dict[ModeKeys, list[Times]] = {}

    def due(self, mode: ModeKeys, step: int) -> set[Any]:
        """The collections to save at this step of this mode."""
        if mode not in self._of_mode:
            self._of_mode[mode] = [self._times(each, mode) for each in self._collections if _belongs(each, mode)]
        return {times.collection for times in self._of_mode[mode] if times.has(step)}

    @staticmethod
    def _times(collection: Any, mode: ModeKeys) -> Times:
        config = collection.save_config.get_save_config(mode)
        return Times(
            collection,
            frozenset(config.save_steps or ()),
            config.start_step or 0,
            math.inf if config.end_step is None else config.end_step,
            config.save_interval,
        )


def _belongs(collection: Any, mode: ModeKeys) -> bool:
    return mode not in (ModeKeys.EVAL, ModeKeys.PREDICT) or collection.name not in OF_TRAINING_ALONE
