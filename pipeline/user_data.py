"""The script that one EC2 instance runs: user_data.sh with the values of one run in front of it."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from contract.s3 import BUCKET
from pipeline.errors import UserError

TEMPLATE = Path(__file__).with_name("user_data.sh")
SHEBANG = "#!/bin/bash\n"
MAX_BYTES = 16_384  # what EC2 takes as user data before base64

CHANNELS = ("features", "prepared", "weights")  # arguments of code/train.py
DIRECTORIES = ("checkpoints", "model-dir")  # arguments too, which name places of a training container

_S3_URI = re.compile(rf"s3://{BUCKET}/[A-Za-z0-9_./=+@:-]*")
_HYPERPARAMETER = re.compile(r"[a-z][a-z0-9-]{0,63}")
_VALUE = re.compile(r"[A-Za-z0-9_.,=+-]{1,128}")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training. The script runs as root: what does not look exactly as expected is refused, and all is quoted.

    `channels` are S3 prefixes by channel name, `deadline_seconds` counts from the script's start. Raises UserError.
    """

    region: str
    run_uri: str
    bundle_uri: str
    bundle_sha256: str
    channels: Mapping[str, str]
    hyperparameters: Mapping[str, str]
    deadline_seconds: int

    def __post_init__(self) -> None:
        for uri in (self.run_uri, self.bundle_uri, *self.channels.values()):
            if not _S3_URI.fullmatch(uri):
                raise UserError(f"{uri!r} is no S3 address that can be used here.", "Give s3://bucket/prefix.")
        if unknown := set(self.channels) - set(CHANNELS):
            raise UserError(f"Training has no channel {unknown.pop()!r}.", f"It has: {', '.join(CHANNELS)}.")
        for name, value in self.hyperparameters.items():
            if not _HYPERPARAMETER.fullmatch(name):
                raise UserError(f"{name!r} is no name of a hyperparameter.", "Write it as in learning-rate=0.001.")
            if name in (*CHANNELS, *DIRECTORIES):
                raise UserError(f"{name} is no hyperparameter but a directory.", "Leave it out.")
            if not _VALUE.fullmatch(value):
                raise UserError(f"{name} cannot be {value!r}.", "A value is letters, digits and _ . , = + - only.")

    def script(self) -> str:
        """The user data, in plain text. Raises UserError where it is too long for EC2."""
        header = [
            f"{name}={shlex.quote(value)}"
            for name, value in {
                "REGION": self.region,
                "RUN_URI": self.run_uri,
                "BUNDLE_URI": self.bundle_uri,
                "BUNDLE_SHA256": self.bundle_sha256,
                "DEADLINE_SECONDS": str(self.deadline_seconds),
            }.items()
        ]
        channels = " ".join(f"[{name}]={shlex.quote(uri)}" for name, uri in self.channels.items())
        words = " ".join(shlex.quote(f"--{name}={value}") for name, value in self.hyperparameters.items())
        header += [f"declare -A CHANNELS=({channels})", f"HYPERPARAMETERS=({words})"]
        script = SHEBANG + "\n".join(header) + "\n" + TEMPLATE.read_text().removeprefix(SHEBANG)
        if len(script.encode()) > MAX_BYTES:
            raise UserError(f"The user data is {len(script.encode())} bytes.", f"EC2 takes {MAX_BYTES}.")
        return script
