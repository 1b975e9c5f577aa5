"""What holds for every operation that is answered here."""

import pytest

from sagelocal import services
from sagelocal.core import registry, service_models

services.load_all()


@pytest.mark.parametrize(("service", "name"), sorted(registry.OPERATIONS))
def test_an_operations_help_names_its_page_in_the_api_reference(service: str, name: str):
    assert name in service_models.service_model(service).operation_names
    address = (registry.OPERATIONS[service, name].__doc__ or "").splitlines()[-1]
    assert address.startswith("https://docs.aws.amazon.com/")
    assert address.endswith(f"{name}.html")
