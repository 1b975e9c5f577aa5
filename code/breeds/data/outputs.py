"""Output directories that are complete or untouched, never half-written."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial-"


@contextmanager
def staged(output: Path, replaces: Sequence[str] = ()) -> Iterator[Path]:
    """A directory to write into; when the block succeeds its files move to `output`, else nothing does.

    It lies inside `output`, since a rename is only atomic within one file system. `replaces`: glob patterns of
    older files of `output` that the new ones replace. JSON files move last: a reader that finds the
    manifest finds the rest. What a killed run left behind is removed first.
    """
    output.mkdir(parents=True, exist_ok=True)
    for leftover in output.glob(f"{PARTIAL}*"):
        shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=output) as partial:
        staging = Path(partial)
        yield staging
        for pattern in replaces:
            for stale in output.glob(pattern):
                stale.unlink()
        for path in sorted(staging.rglob("*"), key=lambda path: path.suffix == ".json"):
            target = output / path.relative_to(staging)
            if path.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, target)
