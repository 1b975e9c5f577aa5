"""What somebody else wrote reaches no terminal with its control characters, whichever command shows it."""

import io
import json
import os
import pty
import subprocess
import sys

import pytest
from rich.markup import escape

from pipeline import console
from pipeline.execution import Step
from sagelocal.core.terminal import json_line, printable

HOSTILE = "\x1b]52;c;cm0=\x07\x1b[2J\r\x00\x08\x7f\x9b31m\u202egpj.exe\u2066\u061c\ud800"
DIRECTIONS = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
UNSAFE = {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))} - {"\n", "\t"}


def is_clean(text: str) -> bool:
    return not set(text) & (UNSAFE | DIRECTIONS)


def test_every_control_character_is_shown_as_what_it_is():
    every = "".join(map(chr, range(0x110000)))
    assert is_clean(printable(every))
    printable(every).encode()
    assert printable(HOSTILE).startswith("\\x1b]52;c;cm0=\\x07\\x1b[2J\\x0d\\x00\\x08\\x7f\\x9b31m\\u202egpj.exe")


@pytest.mark.parametrize("text", ["plain", "two\nlines\tand a tab", "Müller, 犬 🐶 é", "\\x1b"])
def test_other_text_is_left_as_it_is(text):
    assert printable(text) == text


def test_a_line_of_json_holds_no_control_character_and_says_the_same():
    line = json_line({HOSTILE: HOSTILE})
    assert is_clean(line) and "\n" not in line
    assert json.loads(line) == {HOSTILE: HOSTILE}


@pytest.fixture
def shown(monkeypatch) -> io.StringIO:
    """What a terminal would get from pawline's console, but for Rich's own codes, which are switched off."""
    made = console._Terminal(file=io.StringIO(), force_terminal=False, width=400, highlight=False)
    monkeypatch.setattr(console, "console", made)
    return made.file


def test_pawline_shows_reasons_names_and_log_lines_without_control_characters(shown, monkeypatch):
    step = Step(name=f"S{HOSTILE}", type="Training", status="Failed", seconds=1.0, reason=HOSTILE, arn="", cached=False)
    monkeypatch.setattr("pipeline.execution.log_lines", lambda *_, **__: [HOSTILE, "ends with \\", "[/]", "[red]"])
    console.failure(None, "arn:a/b", [step])
    console.console.print(console.table([step], {}))
    text = shown.getvalue()
    assert is_clean(text) and text.count("gpj.exe") >= 4
    assert "ends with \\\n" in text and "[/]" in text and "[red]" in text


def test_markup_that_a_log_line_holds_is_text(shown):
    for line in ("[bold]x[/bold]", "[/]", "a\\", "\\[b]", "[link=file:///etc/passwd]x[/link]"):
        console.say(f"[dim]{escape(line)}[/]")
    assert shown.getvalue().splitlines() == [
        "[bold]x[/bold]",
        "[/]",
        "a\\",
        "\\[b]",
        "[link=file:///etc/passwd]x[/link]",
    ]


def on_a_terminal(*command: str) -> str:
    """What a command writes where its output is a terminal."""
    parent, child = pty.openpty()
    process = subprocess.Popen(command, stdout=child, stderr=child, stdin=subprocess.DEVNULL)
    os.close(child)
    written = b""
    try:
        while block := os.read(parent, 65536):
            written += block
    except OSError:  # how Linux says that nobody has the other end any more
        pass
    process.wait()
    os.close(parent)
    return written.decode().replace("\r\n", "\n")


def test_sagelocal_shows_findings_and_logs_without_control_characters(tmp_path):
    (tmp_path / "d.json").write_text(json.dumps({"Version": HOSTILE, "Steps": [{"Name": HOSTILE, "Type": HOSTILE}]}))
    sagelocal = (sys.executable, "-m", "sagelocal")
    assert is_clean(found := on_a_terminal(*sagelocal, "lint", str(tmp_path / "d.json")))
    assert "error" in found
    (tmp_path / "server.log").write_text(f"begin {HOSTILE[:-1]} end\n")
    logged = on_a_terminal(*sagelocal, "logs", "--state-dir", str(tmp_path))
    assert is_clean(logged) and logged.startswith("begin \\x1b]52") and logged.endswith(" end\n")


def test_the_servers_own_log_has_no_control_characters():
    program = "from sagelocal.core import log; import logging, sys; log.set_up(); logging.error(sys.argv[1])"
    command = [sys.executable, "-c", program, HOSTILE[:8]]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert is_clean(said) and "\\x1b]52" in said
