"""Runs regular expressions that may take for ever, in a process of its own: a line of JSON in, a line of JSON out.

Each search has so much CPU time; the kernel ends the process when it is over. Imports nothing of this project.
"""

import json
import re
import signal
import sys

SECONDS = 0.1


def main() -> None:
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C in the terminal is for the server, which ends this one
    for request in sys.stdin:
        expression, text, whole = json.loads(request)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        pattern = re.compile(expression)
        match = pattern.fullmatch(text) if whole else pattern.search(text)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps([match[0], *match.groups()] if match else None), flush=True)


if __name__ == "__main__":
    main()
