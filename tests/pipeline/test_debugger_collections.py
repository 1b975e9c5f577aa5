"""What the Train step has the hook save, for the open rules and for SageMaker's own."""

import json

import pytest

from pipeline import definition, settings


def collections(mode: str) -> dict[str, dict[str, str]]:
    found = json.loads(definition.definition(settings.from_environment({"PAWLINE_DEBUGGER": mode})))
    (train,) = [step for step in found["Steps"] if step["Name"] == "Train"]
    configured = train["Arguments"]["DebugHookConfig"]["CollectionConfigurations"]
    return {each["CollectionName"]: each["CollectionParameters"] for each in configured}


def test_managed_rules_get_whole_tensors_of_the_ten_steps_that_poor_weight_initialization_looks_at():
    managed = collections("managed")
    assert managed["first_gradients"]["train.end_step"] == "10"
    assert managed["some_relu_inputs"]["train.save_steps"].startswith("0,1,2,3,4,5,6,7,8,9,50,100,")


def test_all_else_is_saved_alike():
    managed, own = collections("managed"), collections("open")
    for name in ("first_gradients", "some_relu_inputs"):
        del managed[name], own[name]
    assert managed == own


@pytest.mark.parametrize("mode", ["open", "managed"])
def test_parameters_are_strings_as_short_as_sagemaker_wants_them(mode):
    values = [value for each in collections(mode).values() for value in each.values()]
    assert all(isinstance(value, str) and len(value) <= 256 for value in values)
