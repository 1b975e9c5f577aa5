"""The other orchestrators of benchmarks/engine.py, in an environment of their own (benchmarks/engine.lock).

    .venv/bench/bin/python benchmarks/orchestrators.py

Reads lines `<arm> <steps>`, runs a chain of that many steps that do nothing, and answers each with its seconds per
step. So this process stays warm while the arms take turns.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

COMMAND = ["/bin/true"]
Chain = Callable[[], object]


def kfp(steps: int, *, check_packages: bool) -> Chain:
    """kfp.local with a process a step; as it comes, each step first asks pip whether kfp is installed."""
    from kfp import dsl, local

    root = tempfile.mkdtemp(prefix="kfp-")
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=root, raise_on_error=True)

    @dsl.component(install_kfp_package=check_packages)
    def nothing() -> None:
        pass

    @dsl.pipeline
    def chain() -> None:
        before = None
        for _ in range(steps):
            step = nothing()
            if before:
                step.after(before)
            before = step

    return chain


def dagster(steps: int) -> Chain:
    """dagster in one process, each step starting the bare command: no isolation between the steps' own code."""
    from dagster import In, Nothing, Out, in_process_executor, job, op

    def numbered(number: int):
        @op(name=f"step_{number}", ins={"before": In(Nothing)} if number else {}, out=Out(Nothing))
        def step() -> None:
            subprocess.run(COMMAND, check=True)

        return step

    @job(executor_def=in_process_executor)
    def chain() -> None:
        before = numbered(0)()
        for number in range(1, steps):
            before = numbered(number)(before)

    return chain.execute_in_process


ARMS: dict[str, Callable[[int], Chain]] = {
    "kfp": lambda steps: kfp(steps, check_packages=True),
    "kfp-bare": lambda steps: kfp(steps, check_packages=False),
    "dagster": dagster,
}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what they print is no answer
    chains: dict[str, Chain] = {}
    for line in sys.stdin:
        arm, steps = line.split()
        if line not in chains:
            chains[line] = ARMS[arm](int(steps))
        began = time.perf_counter()
        chains[line]()
        print((time.perf_counter() - began) / int(steps), file=answers, flush=True)


if __name__ == "__main__":
    main()
