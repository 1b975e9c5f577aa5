"""The lock files of the project, read."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOCKS = [
    *(ROOT / name for name in ("requirements.lock", "infra/checkov.lock", "benchmarks/engine.lock")),
    *sorted(ROOT.glob("tests/code/*/requirements.lock")),
]


def entries(lock: Path) -> list[tuple[str, str, list[str]]]:
    """(name, version, SHA-256 hashes) of each requirement. Fails on a line that is neither."""
    found: list[tuple[str, str, list[str]]] = []
    for line in lock.read_text().splitlines():
        if named := re.fullmatch(r"([a-z0-9._-]+)==([A-Za-z0-9.+!]+) \\", line):
            found.append((named[1], named[2], []))
        else:
            hashed = re.fullmatch(r"    --hash=sha256:([0-9a-f]{64})( \\)?", line)
            assert hashed, f"{lock}: {line}"
            found[-1][2].append(hashed[1])
    return found


def versions(lock: Path) -> dict[str, str]:
    return {name: version for name, version, _ in entries(lock)}
