"""The template, rendered once for all that ask about it."""

import pytest

from tests.infra.rendered import render


@pytest.fixture(scope="session")
def resources(tmp_path_factory) -> dict[str, dict]:
    return render(tmp_path_factory.mktemp("account"))
