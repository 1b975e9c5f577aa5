"""What README.md and the docs tell people to open exists. What they tell them to type: test_printed_commands.py."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "sagelocal/README.md", "sagelocal/CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
TEXT = {page: page.read_text() for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)", TEXT[page])
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not missing


def test_every_script_that_a_figure_names_exists():
    named = set(re.findall(r"`(benchmarks/[a-z_]+\.py)`", TEXT[ROOT / "README.md"]))
    assert named
    assert not [script for script in named if not (ROOT / script).is_file()]


def test_no_page_names_a_place_of_this_machine():
    assert not [page.name for page, text in TEXT.items() if str(ROOT) in text]
