"""Which of a hook's collections are to be saved at a step: asked once a step, where smdebug asks in each callback."""

import math
from collections.abc import Callable, Collection
from typing import Any

from smdebug.core.collection import CollectionKeys
from smdebug.core.modes import ModeKeys

OF_TRAINING_ALONE = (CollectionKeys.GRADIENTS, CollectionKeys.OPTIMIZER_VARIABLES)


class SaveSchedule:
    """When each of a hook's smdebug collections is saved."""

    def __init__(self, collections: Collection[Any]) -> None:
        self._collections = collections
        self._of_mode: dict[ModeKeys, list[tuple[Any, Callable[[int], bool]]]] = {}

    def due(self, mode: ModeKeys, step: int) -> set[Any]:
        """The collections to save at this step of this mode."""
        if mode not in self._of_mode:
            self._of_mode[mode] = [(each, _is_due(each, mode)) for each in self._collections if _belongs(each, mode)]
        return {collection for collection, is_due in self._of_mode[mode] if is_due(step)}


def _is_due(collection: Any, mode: ModeKeys) -> Callable[[int], bool]:
    """As smdebug's SaveConfigMode.should_save_step."""
    config = collection.save_config.get_save_config(mode)
    steps, start, interval = frozenset(config.save_steps or ()), config.start_step or 0, config.save_interval
    end = math.inf if config.end_step is None else config.end_step
    return lambda step: step in steps or (start <= step < end and step % interval == 0)


def _belongs(collection: Any, mode: ModeKeys) -> bool:
    return mode not in (ModeKeys.EVAL, ModeKeys.PREDICT) or collection.name not in OF_TRAINING_ALONE
