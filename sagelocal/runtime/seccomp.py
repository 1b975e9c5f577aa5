"""System calls that a job does not get: those by which it would reach what no namespace and no right covers.

The kernel's keyrings are a user's, not a namespace's: as root a job would find the keys of all that root runs.
AF_VSOCK leads to the host of a virtual machine. Programs for another processor, as of 32 bits, have numbers of their
own for all calls, so they get none.
"""

import ctypes
import errno
import platform
import struct
from dataclasses import dataclass

from sagelocal.runtime import kernel

SET_MODE_FILTER, SPEC_ALLOW = 1, 4  # the latter: memory stays as fast as it is
LOAD, JUMP_IF_EQUAL, JUMP_IF_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
NUMBER, PROCESSOR, FIRST_ARGUMENT = 0, 4, 16  # where the kernel's description of a call has them
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
X32 = 0x40000000  # what the numbers of x86-64's second set of calls begin with
AF_VSOCK = 40


@dataclass(frozen=True)
class Processor:
    """The numbers of a processor: its own for the kernel, and of the calls."""

    number: int
    seccomp: int
    socket: int
    keys: tuple[int, int, int]  # add_key, request_key, keyctl


PROCESSORS = {
    "x86_64": Processor(0xC000003E, 317, 41, (248, 249, 250)),
    "aarch64": Processor(0xC00000B7, 277, 198, (217, 218, 219)),
}


def refuse_calls() -> None:
    """Refuse them to this process and to what it starts. NO_NEW_PRIVS must be set. Raises OSError."""
    processor = PROCESSORS.get(platform.machine())
    if processor is None:
        return
    steps = _program(processor)
    code = ctypes.create_string_buffer(b"".join(steps))
    program = struct.pack("@HP", len(steps), ctypes.addressof(code))
    kernel.call("syscall", processor.seccomp, SET_MODE_FILTER, SPEC_ALLOW, program, about="seccomp")


def _program(processor: Processor) -> list[bytes]:
    unknown = _step(RETURN, REFUSE | errno.ENOSYS)
    keys = [[_step(JUMP_IF_EQUAL, number, otherwise=1), unknown] for number in processor.keys]
    return [
        *(_step(LOAD, PROCESSOR), _step(JUMP_IF_EQUAL, processor.number, then=1), unknown),
        *(_step(LOAD, NUMBER), _step(JUMP_IF_AT_LEAST, X32, otherwise=1), unknown),
        *(step for steps in keys for step in steps),
        *(_step(JUMP_IF_EQUAL, processor.socket, otherwise=3), _step(LOAD, FIRST_ARGUMENT)),
        *(_step(JUMP_IF_EQUAL, AF_VSOCK, otherwise=1), _step(RETURN, REFUSE | errno.EAFNOSUPPORT)),
        _step(RETURN, ALLOW),
    ]


def _step(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    """One step of the kernel's filter language; `then`, `otherwise`: how many are skipped after a comparison."""
    return struct.pack("=HBBI", code, then, otherwise, value)
