"""Makes smdebug 1.0.34, its last release, importable on today's Pythons: `prepare()` before the first import of it."""

import sys
from types import ModuleType


def prepare() -> None:
    """Stand in for pyinstrument where its C part does not load (Python 3.13).

    smdebug imports it for a profiler that nobody turns on here.
    """
    try:
        import pyinstrument  # noqa: F401
    except ImportError:
        for name, member in (("pyinstrument", "Profiler"), ("pyinstrument.renderers", "JSONRenderer")):
            stand_in = ModuleType(name)
            setattr(stand_in, member, None)
            sys.modules[name] = stand_in
