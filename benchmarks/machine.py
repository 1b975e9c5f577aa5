"""What every table is printed with: the machine and the versions; and a table printer."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from statistics import median


def describe() -> str:
    """One line on the machine and the versions that matter."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "sagemaker", "boto3"))
    machine = f"{os.cpu_count()} CPUs ({platform.machine()}, {platform.system()})"
    return f"{machine}, Python {platform.python_version()}, {packages}"


def spread(values: Sequence[float], unit: str = "s", digits: int = 2) -> str:
    """Median with minimum and maximum."""
    return f"{median(values):.{digits}f} {unit} ({min(values):.{digits}f} to {max(values):.{digits}f}, n={len(values)})"


def print_table(title: str, rows: Sequence[tuple[str, str, str]]) -> None:
    """A Markdown table: what, measured, wanted."""
    print(f"\n{title}\n{describe()}\n\n| what | measured | wanted |\n|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
