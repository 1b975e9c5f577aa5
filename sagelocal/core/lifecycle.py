"""One server per state directory: found when it runs, started when it does not, stopped on request.

The server holds a lock for as long as it lives (lock.py) and writes `server.json` once it listens, so two commands that
start at the same time end up with the same server. It is stopped by its lock, so also when it does not answer.
"""

import http.client
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from sagelocal import VERSION
from sagelocal.core import lock, recovery, secret, sigv4, takeover
from sagelocal.core.json import Json

# What a busy machine may need for what takes a second: only a server that hangs is given up.
START_SECONDS = 120.0
STOP_SECONDS = 60.0
KILL_SECONDS = 10.0
ANSWER_SECONDS = 30.0
STATE_DIR_VARIABLE, IMAGES_VARIABLE = "SAGELOCAL_STATE_DIR", "SAGELOCAL_IMAGES"
REGION = "us-east-1"
OWN_PAGES = "sagelocal"  # the service that requests to its own pages are signed for
UNSET = ("AWS_PROFILE", "AWS_SESSION_TOKEN")  # either would come before the credentials of Running.environment


class CannotStart(Exception):
    """The server did not come up; the message is what it said last."""


class PortBusy(CannotStart):
    """The port asked for is taken by another program."""


class CannotStop(Exception):
    """The server of a state directory goes on; the message says why, and how to end it."""


@dataclass(frozen=True)
class Running:
    """A server that answers: its address and its process."""

    url: str
    pid: int
    owner: secret.Keys = field(repr=False)
    version: str = VERSION
    images: tuple[str, ...] = ()  # the images files it was started with, its own not among them

    def environment(self) -> dict[str, str]:
        """The variables that point every AWS client to it, and none of them to the user's own account."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.owner.access_key,
            "AWS_SECRET_ACCESS_KEY": self.owner.secret_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client_settings(self) -> dict[str, str]:
        """What makes a boto3 client the account owner's, whatever else the environment says."""
        return {
            "endpoint_url": self.url,
            "region_name": REGION,
            "aws_access_key_id": self.owner.access_key,
            "aws_secret_access_key": self.owner.secret_key,
        }

    def ask(self, method: str, page: str) -> bytes:
        """What one of its own pages (/_sagelocal/…) answers to the account's owner. Raises OSError and
        http.client.HTTPException."""
        signed = sigv4.signed_headers(method, self.url + page, REGION, OWN_PAGES, self.owner)
        return _request(self.url, method, page, signed)


def default_state_dir() -> Path:
    """SAGELOCAL_STATE_DIR, or .sagelocal in the current folder."""
    return Path(os.environ.get(STATE_DIR_VARIABLE) or takeover.NAME).resolve()


def named_images(more: Sequence[Path] = ()) -> list[str]:
    """Full paths of the images files that SAGELOCAL_IMAGES names (separated as in PATH), then of `more`, each once."""
    named = [Path(word) for word in os.environ.get(IMAGES_VARIABLE, "").split(os.pathsep) if word]
    return list(dict.fromkeys(str(path.resolve()) for path in [*named, *more]))


def ensure(state_dir: Path, *, port: int = 0, images: Sequence[Path] = ()) -> Running:
    """The server of a state directory, started if need be (port 0: any free one). Raises CannotStart.

    `images`: files that say how images run (runtime/images.toml has the format), beside those of SAGELOCAL_IMAGES. A
    server that runs already must have been started with them.
    """
    files = named_images(images)
    running = find(state_dir)
    if running:
        return _with_images(running, state_dir, files)
    prepare(state_dir)
    log_path = state_dir / "server.log"
    with open(log_path, "ab", opener=secret.private) as log:
        start_of_log = log.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "sagelocal", "up", "--foreground", "--state-dir", state_dir, "--port", str(port)],
            env={**os.environ, IMAGES_VARIABLE: os.pathsep.join(files)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=Path(__file__).parents[2],
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        running = find(state_dir)
        if running:
            if running.pid != process.pid:
                _end(process)  # it may not have come to the lock yet, and would serve as soon as the other stops
            _pass_on(log_path, start_of_log)
            return _with_images(running, state_dir, files)
        code = process.poll()
        if code not in (None, 0):  # 0: another server holds the lock and is about to listen
            said = log_path.read_bytes()[start_of_log:].decode(errors="replace").strip()
            last = said.splitlines()[-1] if said else f"it exited with code {code}"
            raise (PortBusy if "is busy" in last else CannotStart)(last)
        time.sleep(0.02)
    _end(process)
    if hung := lock.holder(state_dir):
        raise CannotStart(
            f"A server has {state_dir} (pid {hung.pid}), but does not answer. "
            f"Stop it, then try again: {command('down', state_dir)}"
        )
    raise CannotStart(f"The server did not answer within {START_SECONDS:.0f} s. Its log: {log_path}")


def prepare(state_dir: Path) -> None:
    """Make a state directory if it is not there, out of what an earlier version left if there is that, and let nobody
    else in. Raises CannotStart."""
    try:
        taken = takeover.take_over(state_dir)
    except takeover.StillRunning as problem:
        raise CannotStart(str(problem)) from None
    if taken:
        print(taken, file=sys.stderr)
    state_dir.mkdir(mode=secret.PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    try:
        state_dir.chmod(secret.PRIVATE_DIRECTORY)
    except OSError as problem:
        message = f"{state_dir} cannot be closed to other users ({problem.strerror}). Choose one of your own."
        raise CannotStart(message) from None
    _owner(state_dir)


def find(state_dir: Path, *, patience: float = ANSWER_SECONDS) -> Running | None:
    """The server of a state directory if one answers within `patience` seconds."""
    noted = _note(state_dir)
    if noted is None or not lock.is_held(state_dir):
        return None
    holder = lock.holder(state_dir)
    of_another = holder is not None and holder.pid != noted["pid"]
    if of_another or not _answers(noted["url"], patience):
        return None
    return Running(owner=_owner(state_dir), **noted)


def stop(state_dir: Path, *, timeout: float = STOP_SECONDS) -> bool:
    """Stop the server of a state directory and wait until it is gone. False when none was running. Raises CannotStop.

    It is asked by a signal, also one that is suspended, and killed when it has not ended after `timeout` seconds.
    """
    server = _holder(state_dir)
    if server is None:
        return False
    try:
        server.send(signal.SIGTERM)
        server.send(signal.SIGCONT)
        if not _has_ended(state_dir, server, timeout):
            server.send(signal.SIGKILL)
            if not _has_ended(state_dir, server, KILL_SECONDS):
                raise CannotStop(f"The server of {state_dir} (pid {server.pid}) does not end, not even when killed.")
    except PermissionError:
        raise CannotStop(
            f"The server of {state_dir} (pid {server.pid}) is another user's. Stop it as that user."
        ) from None
    return True


def announce(state_dir: Path, url: str) -> None:
    """Tell other processes where the server listens."""
    temporary = state_dir / "server.json.new"
    note = {"url": url, "pid": os.getpid(), "version": VERSION, "images": named_images()}
    temporary.write_text(json.dumps(note) + "\n")
    temporary.replace(state_dir / "server.json")


def is_announced(state_dir: Path) -> bool:
    """Whether the note that others find is this process's."""
    noted = _note(state_dir)
    return noted is not None and noted["pid"] == os.getpid()


def withdraw(state_dir: Path) -> None:
    """Take back what was announced. What another server has announced since stays."""
    if is_announced(state_dir):
        (state_dir / "server.json").unlink()


def _note(state_dir: Path) -> Json | None:
    """What server.json says, as Running has it; None when it is not there, or is nothing that a server wrote."""
    try:
        noted = json.loads((state_dir / "server.json").read_text())
        named = {"url": str(noted["url"]), "pid": int(noted["pid"]), "version": str(noted["version"])}
        return {**named, "images": tuple(noted.get("images", ()))}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _holder(state_dir: Path) -> lock.Holder | None:
    """The process that has a state directory, None when none has. Raises CannotStop when it is not to be seen."""
    deadline = time.monotonic() + lock.PATIENCE
    while lock.is_held(state_dir):
        if found := lock.holder(state_dir):
            return found
        if time.monotonic() > deadline:
            raise CannotStop(
                f"A server has {state_dir}, but its process is not to be seen from here. "
                "Stop it where it was started: in its container, or on its machine."
            )
        time.sleep(lock.PAUSE)
    return None


def _has_ended(state_dir: Path, server: lock.Holder, timeout: float) -> bool:
    """Wait until the lock is free, or another's: the first thread of a process may end long before its files close."""
    deadline = time.monotonic() + timeout
    while lock.is_held(state_dir) and lock.holder(state_dir) in (server, None):
        if time.monotonic() > deadline:
            return False
        time.sleep(lock.PAUSE)
    return True


def _pass_on(log_path: Path, start: int) -> None:
    """Say what a server that has started said of its state."""
    for line in log_path.read_bytes()[start:].decode(errors="replace").splitlines():
        if line.startswith(recovery.TOLD):
            print(line, file=sys.stderr)


def _owner(state_dir: Path) -> secret.Keys:
    try:
        return secret.of(state_dir)
    except secret.Unusable as problem:
        raise CannotStart(str(problem)) from None


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _with_images(running: Running, state_dir: Path, files: list[str]) -> Running:
    missing = [path for path in files if path not in running.images]
    if missing:
        raise CannotStart(
            f"The server of {state_dir} (pid {running.pid}) was started without the images file {missing[0]}. "
            f"Stop it, then try again: {command('down', state_dir)}"
        )
    return running


def command(name: str, state_dir: Path) -> str:
    """A command of sagelocal for a state directory, as it can be pasted."""
    return f"sagelocal {name} --state-dir {shlex.quote(str(state_dir))}"


def _answers(url: str, patience: float) -> bool:
    try:
        answer = json.loads(_request(url, "GET", "/_sagelocal/health", patience=patience))
        return isinstance(answer, dict) and "version" in answer
    except (OSError, ValueError, http.client.HTTPException):
        return False


def _request(
    url: str, method: str, path: str, headers: Mapping[str, str] | None = None, *, patience: float = ANSWER_SECONDS
) -> bytes:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=patience)
    try:
        connection.request(method, path, headers=headers or {})
        return connection.getresponse().read()
    finally:
        connection.close()
