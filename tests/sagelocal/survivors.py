"""A server with jobs that start what does not want to end: `python survivors.py FOLDER [MODE]`.

For each line "cold" or "warm" on its input it starts a job, and prints {"init": its process id, "keeper": …} as soon as
the job has started everything.
"""

import json
import os
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STUBBORN = r"""
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)

def daemon(own_session):
    if os.fork() == 0:
        if own_session: os.setsid()
        if os.fork() == 0: time.sleep(3600)
        os._exit(0)

def chain():
    for _ in range(200):  # each child in a session of its own, as an elastic agent starts its workers
        if os.fork(): os._exit(0)
        os.setsid()
        time.sleep(0.01)
    time.sleep(3600)

daemon(True)
daemon(False)
if os.fork() == 0: chain()
if os.fork() == 0: os.execv(sys.executable, [sys.executable, "-c", "import os, time; os.setsid(); time.sleep(3600)"])
print("begun", flush=True)
time.sleep(3600)
"""


def main(folder: Path) -> None:
    sys.path.insert(0, str(ROOT))
    from sagelocal.core.context import Context
    from sagelocal.core.store import Store
    from sagelocal.runtime import launch, orphans, process, warm
    from sagelocal.runtime.launch import ProcessSpec

    context = Context(folder, "http://127.0.0.1:1", Store(folder / "state.db"))
    orphans.end_orphans(context)
    for number, line in enumerate(sys.stdin):
        tree = folder / f"job-{os.getpid()}-{number}" / "ml"
        tree.mkdir(parents=True)
        (tree / "stubborn.py").write_text(STUBBORN)
        begun = threading.Event()
        spec = ProcessSpec(
            argv=["python3", "stubborn.py" if launch.isolation.mode() == "none" else "/opt/ml/stubborn.py"],
            env=process.base_environment(context, tree.parent),
            opt_ml=tree,
            cwd="/opt/ml",
            on_line=lambda _, begun=begun: begun.set(),
            warm=line.strip() == "warm",
        )
        assert not spec.warm or warm.worker(context).usable(300)
        started = process.start(context, spec)
        assert begun.wait(300)
        keeper = context.store.list(orphans.PROCESS)[-1]
        print(json.dumps({"init": started.pid, "keeper": keeper["pid"], "mark": keeper["mark"]}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
