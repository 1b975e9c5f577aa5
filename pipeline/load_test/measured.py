"""What a load test measures in a while: latencies of good answers, and errors by code."""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Measured:
    """What happened in a phase, or in a tick: milliseconds of the answers that were good, and the errors by code."""

    users: int
    began: float = field(default_factory=time.perf_counter)
    cpu_began: float = field(default_factory=time.process_time)
    milliseconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def summary(self) -> dict[str, Any]:
        """The figures until now. `client_cpu`: how much of one core this process used."""
        seconds = time.perf_counter() - self.began
        ordered = sorted(self.milliseconds)
        return {
            "users": self.users,
            "seconds": round(seconds, 3),
            "requests": len(ordered),
            "requests_per_second": round(len(ordered) / seconds, 2),
            **{f"p{share}_ms": percentile(ordered, share) for share in (50, 90, 99)},
            "errors": dict(self.errors.most_common()),
            "client_cpu": round((time.process_time() - self.cpu_began) / seconds, 3),
        }


def percentile(ordered: list[float], share: int) -> float | None:
    """The nearest-rank percentile of ascending values; None of nothing."""
    if not ordered:
        return None
    return round(ordered[max(0, -(-len(ordered) * share // 100) - 1)], 3)
