"""`pawline run` draws it by itself when no photos are given."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.shared import JsonOption, tell
from pipeline.sample_data import draw_sample_data


def main(
    folder: Annotated[Path, typer.Argument(help="Where to write sample-dogs.zip.")] = Path("."),
    as_json: JsonOption = False,
) -> None:
    path = draw_sample_data(folder)
    tell({"path": str(path)}, as_json, f"{path} ({path.stat().st_size:,} bytes)")
