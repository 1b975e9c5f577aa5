"""Finds what is said to run and does not: a document in a state that passes, with nobody who brings it to its end.

An earlier server left it, or the thread that had it died. Each service says what it has of that sort, who is alive, and
how such a document ends.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sagelocal.core.context import Context
from sagelocal.core.registry import on_start
from sagelocal.core.store import Kind

EVERY_SECONDS = 2.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Watch:
    """A kind of document whose `states` pass. `name_of` a document is its name in the store; `end` brings one that is
    not alive to its end, or to life again: it is given the name, and whether an earlier server left it."""

    kind: Kind[Any]
    states: tuple[str, ...]
    name_of: Callable[[Any], str]
    is_alive: Callable[[Context, str], bool]
    end: Callable[[Context, str, bool], object]

    def lost(self, context: Context) -> set[str]:
        """The names of those that nobody has. What has just been created may be among them: its thread is starting."""
        names = [self.name_of(body) for body in context.store.list(self.kind, status=self.states)]
        return {name for name in names if not self.is_alive(context, name)}

    def end_all(self, context: Context, names: set[str], left_behind: bool) -> None:
        for name in sorted(names):
            logger.warning("%s %s is said to run, but nothing runs it", self.kind, name)
            self.end(context, name, left_behind)


WATCHES: list[Watch] = []


def watch(watched: Watch) -> Watch:
    """Have a kind of document looked after from the start of the server on."""
    WATCHES.append(watched)
    return watched


def take_up(context: Context, watched: Watch) -> None:
    """End what an earlier server left, at the start of this one."""
    watched.end_all(context, watched.lost(context), left_behind=True)


@on_start
def begin(context: Context) -> None:
    context.spawn("supervisor", _look_after_all, context)


def _look_after_all(context: Context) -> None:
    before: dict[Watch, set[str]] = {}
    while not context.stopping.wait(EVERY_SECONDS):
        for watched in WATCHES:
            try:
                lost = watched.lost(context)
                watched.end_all(context, lost & before.get(watched, set()), left_behind=False)
            except Exception:  # the disk, most likely: at the next look it may be better
                logger.exception("the supervisor cannot look after %s", watched.kind)
            else:
                before[watched] = lost
