"""What a job may use and do, set by the process that is about to become it: memory, capabilities, rights, calls."""

import contextlib
import os
import resource
import sys
from collections.abc import Mapping
from typing import Any

from sagelocal.runtime import kernel, seccomp

OOM_SCORE = "800"  # when the machine's memory is full, jobs are ended before the server


def join_groups(memory: Mapping[str, Any]) -> None:
    """Count this process, and what it forks, to the control group that limits the job's memory."""
    if memory.get("group"):
        with open(os.path.join(memory["group"], "cgroup.procs"), "w") as file:
            file.write("0")


def confine(request: Mapping[str, Any]) -> None:
    """Take from this process what a job does not get. Without a sandbox it also becomes the parent of its orphans."""
    if request["trusted"]:
        return
    if sys.platform == "linux":
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write(OOM_SCORE)
        if request["sandbox"] is None:
            join_groups(request["memory"])
            kernel.adopt_orphans()
        kernel.drop_capabilities()
        kernel.landlock(request["rights"])
        with contextlib.suppress(OSError):  # a kernel that was built without it
            seccomp.refuse_calls()
    if request["memory"].get("data_limit"):
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = request["memory"]["data_limit"]
        limit = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
