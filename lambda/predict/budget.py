"""How the function's time is shared out: each part ends in time for an answer to be given, whatever it is."""

from __future__ import annotations

from dataclasses import dataclass

from guard import SECONDS as LONGEST_FETCH_SECONDS

CONNECT_SECONDS = 1.0
RESERVE_SECONDS = 1.0
LONGEST_ANSWER_SECONDS = 60.0
LEAST_SECONDS = 0.1


@dataclass(frozen=True)
class Budget:
    """`fetch`, `read`: seconds for the whole fetch, and for the endpoint's answer to one attempt."""

    fetch: float
    read: float

    @classmethod
    def of(cls, function_seconds: float) -> Budget:
        """`function_seconds`: the function's time limit. SageMaker itself cuts an answer off after 60 seconds.

        A fetch, a connection and one answer fit, with a second to spare; a short limit is halved between the two.
        """
        shared = max(function_seconds - RESERVE_SECONDS - CONNECT_SECONDS, 2 * LEAST_SECONDS)
        fetch = min(LONGEST_FETCH_SECONDS, shared / 2)
        return cls(fetch=fetch, read=min(shared - fetch, LONGEST_ANSWER_SECONDS))

    @property
    def attempt(self) -> float:
        """Seconds that one attempt at the endpoint can take."""
        return CONNECT_SECONDS + self.read
