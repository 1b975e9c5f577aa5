"""Become uid 65534, then another program: `python as_nobody.py COMMAND…`, as root.

Where the interpreter lies in root's home, which nobody else may enter, it is shown there in a mount namespace.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534


def main(command: list[str]) -> None:
    sys.path.insert(0, str(ROOT))
    from sagelocal.runtime import kernel

    if sys.base_prefix.startswith("/root/"):
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
        python = kernel.copy_mounts(sys.base_prefix)
        kernel.mount("tmpfs", "/root", "tmpfs", 0, "mode=755")
        os.makedirs(sys.base_prefix)
        kernel.attach(python, sys.base_prefix)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
