"""`sagelocal images`: which container images the server can stand in for, and how."""

import argparse

from sagelocal.cli.common import UserError, tell
from sagelocal.core import lifecycle
from sagelocal.core.errors import ValidationException
from sagelocal.core.json import Json
from sagelocal.runtime import images


def run(arguments: argparse.Namespace) -> int:
    server = lifecycle.find(arguments.state_dir)
    files = images.files(arguments.state_dir, server.images if server else None)
    try:
        entries = [_entry(image) for image in images.known(files)]
        preload = images.preload(files)
    except ValidationException as problem:
        raise UserError("The images files cannot be used.", problem.message) from None
    lines = ["The first entry whose pattern matches an image and that runs what is asked is used."]
    file = ""
    for entry in entries:
        if entry["file"] != file:
            file = entry["file"]
            lines.append(f"{file}:")
        lines.append(f"  {entry['pattern']}")
        lines += [f"    {use}: {how}" for use, how in entry["runs"].items()]
    lines.append(f"Preloaded: {', '.join(preload) or 'nothing'}")
    tell(arguments, {"images": entries, "preload": preload}, "\n".join(lines))
    return 0


def _entry(image: images.Image) -> Json:
    commands = {"training": image.train, "serving": image.serve, "rules": image.evaluate}
    runs = {use: " ".join(commands.get(use, ())) or _by_itself(image, use) for use in image.runs}
    return {"pattern": image.pattern, "runs": runs, "file": str(image.file)}


def _by_itself(image: images.Image, use: str) -> str:
    if use == "training" and image.toolkit:
        return "script mode: the entry point in the source archive, with this environment's Python"
    return "the command of the request, with this environment's Python"
