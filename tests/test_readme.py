"""What README.md and the docs tell people to type and to open exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = {page: page.read_text() for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)", TEXT[page])
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_that_is_named_exists(page):
    known = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z][a-z0-9-]*)", TEXT[page], re.MULTILINE))
    assert named <= known


def test_every_command_that_is_named_exists():
    known = subprocess.run(
        [sys.executable, "-m", "pipeline", "--help"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    named = set(re.findall(r"python -m pipeline ([a-z][a-z0-9-]*)", "\n".join(TEXT.values())))
    assert not [command for command in named if command not in known]


def test_every_script_that_a_figure_names_exists():
    named = set(re.findall(r"`(benchmarks/[a-z_]+\.py)`", TEXT[ROOT / "README.md"]))
    assert named
    assert not [script for script in named if not (ROOT / script).is_file()]


def test_no_page_names_a_place_of_this_machine():
    assert not [page.name for page, text in TEXT.items() if str(ROOT) in text]
