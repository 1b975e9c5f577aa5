"""Makes smdebug 1.0.34, its last release, importable and able to write on today's Pythons and in today's AWS images.

`prepare()` comes before the first import of it, and of anything that uses protobuf.
"""

import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

# They are for smdebug's profiler and for tensors in S3 without a file, neither of which is used here. With what they
# import in turn (boto3, distutils) smdebug's own take longer than the rest of it; pyinstrument must be compiled, so it
# is not even installed.
UNUSED = {
    "pyinstrument": ["Profiler"],
    "pyinstrument.renderers": ["JSONRenderer"],
    "smdebug.core.access_layer.s3": ["TSAccessS3"],
    "smdebug.core.access_layer.s3handler": ["DeleteRequest", "ListRequest", "ReadObjectRequest", "S3Handler", "is_s3"],
    "smdebug.profiler.utils": ["start_smdataparallel_profiler", "stop_smdataparallel_profiler"],
}


def prepare() -> None:
    """Remove what stands in the way. Raises ImportError where smdebug is not installed, or was broken already."""
    spec = importlib.util.find_spec("smdebug")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("smdebug is not installed")
    _choose_protobuf()
    _stand_in_for_the_profiler(list(spec.submodule_search_locations))
    with _without_requests():
        _give_tostring_back()


def _choose_protobuf() -> None:
    """smdebug's generated code is refused by protobuf 4 and later, except in its implementation in Python."""
    if "google.protobuf" not in sys.modules and int(importlib.metadata.version("protobuf").split(".")[0]) >= 4:
        os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")


def _stand_in_for_the_profiler(smdebug: list[str]) -> None:
    """smdebug imports pandas, which takes longer than all else, for a profiler that nobody turns on here."""
    if "smdebug.profiler" not in sys.modules:
        package = _stand_in("smdebug.profiler")
        package.__path__ = [os.path.join(smdebug[0], "profiler")]
        _stand_in("smdebug.trials.profiler_trial", "ProfilerTrial")
    for name, members in UNUSED.items():
        if name not in sys.modules:
            _stand_in(name, *members)


@contextmanager
def _without_requests() -> Iterator[None]:
    """requests, which smdebug imports but does not declare, is for asking an instance its name; it may be missing."""
    if "requests" in sys.modules:
        yield
        return
    _stand_in("requests", "Request")
    try:
        from smdebug.core import utils  # noqa: F401

        yield
    finally:
        sys.modules.pop("requests")


def _stand_in(name: str, *members: str) -> ModuleType:
    """A module whose members can be imported but not used."""
    sys.modules[name] = module = ModuleType(name)
    for member in members:
        setattr(module, member, None)
    return module


def _give_tostring_back() -> None:
    """numpy 2.3 took `ndarray.tostring` away, which smdebug calls in one place."""
    import numpy as np
    from smdebug.core import writer
    from smdebug.core.tfevent import util

    if hasattr(np.ndarray, "tostring") or hasattr(util, "WithToString"):
        return

    class WithToString(np.ndarray):
        tostring = np.ndarray.tobytes

    original = util.make_tensor_proto

    def make_tensor_proto(nparray_data, tag):
        return original(np.asarray(nparray_data).view(WithToString), tag)

    util.WithToString = WithToString
    util.make_tensor_proto = writer.make_tensor_proto = make_tensor_proto
