"""`sagelocal env`: the variables that point every AWS client of a shell to the server."""

import argparse
import shlex

from sagelocal.cli.common import running, tell
from sagelocal.core import lifecycle


def run(arguments: argparse.Namespace) -> int:
    named = running(arguments.state_dir).environment()
    exported = " ".join(f"{name}={shlex.quote(value)}" for name, value in named.items())
    tell(arguments, named, f"export {exported}\nunset {' '.join(lifecycle.UNSET)}")
    return 0
