"""What CreatePipeline accepts: definitions, parameters, and the order of steps."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagelocal.core.errors import AwsError, ValidationException
from sagelocal.services.sagemaker.execution import cache, checks, definition, graph, parameters, retry
from sagelocal.services.sagemaker.execution.parameters import Parameter


def step(name, kind="Processing", **members):
    return {"Name": name, "Type": kind, "Arguments": {}, **members}


def parse(*steps, **members):
    return checks.checked(json.dumps({"Version": "2020-12-01", "Steps": list(steps), **members}))


def get(expression):
    return {"Environment": {"X": {"Get": expression}}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not json", "not valid JSON"),
        ("[]", "has no Steps"),
        ('{"Steps": []}', "has no Steps"),
        ('{"Steps": [3]}', "Step name None is not valid"),
        (" " * (1024 * 1024 + 1), "at most 1048576"),
    ],
)
def test_text_that_is_no_definition_is_refused(text, said):
    with pytest.raises(ValidationException, match=said):
        definition.parse(text)


CONDITION = {"Type": "Equals", "LeftValue": 1, "RightValue": 1}


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([step("A"), step("A")], "Step A is defined more than once"),
        ([step("a b")], "Step name 'a b' is not valid"),
        ([step("A", DependsOn=["B"])], "Step A depends on step B, which is not in the pipeline"),
        ([step("A", DependsOn=[{"Step": "B", "Trigger": "Failed"}])], "DependsOn with a Trigger"),
        ([step("A", Arguments=get("Steps.B.X"))], "refers to step B, which is not in the pipeline"),
        ([step("A", Arguments=get("Steps.A.X"))], "refers to the step itself"),
        ([step("A", Arguments=get("Parameters.P"))], "Parameters.P is not a parameter"),
        ([step("A", Arguments=get("Execution.Mood"))], "Execution.Mood is unknown"),
        ([step("A"), step("B", Arguments=get("Steps.A"))], "names a step but no property"),
        ([step("A"), step("B", Arguments=get("Steps.A.PropertyFiles.R"))], "has no such property file"),
        ([step("A"), step("B", Arguments=get("Steps.A.ProcessingInput"))], "did you mean ProcessingInputs?"),
        ([step("A"), step("B", Arguments=get("Steps.A.ExitMessage.Text"))], "Text would be a part of a string"),
        ([step("A", "Tuning"), step("B", Arguments=get("Steps.A.TrainingJobSummaries[0].Name"))], "has no Name"),
        ([step("A", "Condition"), step("B", Arguments=get("Steps.A.Result"))], "only the property Outcome"),
        ([step("A", "Lambda", FunctionArn="f"), step("B", Arguments=get("Steps.A.X"))], "of these names: none"),
        ([step("A", Arguments={"X": {"Std:Split": {}}})], "unknown function Std:Split"),
        ([step("A", Arguments={"X": {"Std:Join": {"On": ""}}})], "Std:Join needs a list of Values"),
        ([step("A", Arguments={"X": {"Std:JsonGet": {"Path": "a"}}})], "either a PropertyFile or an S3Uri"),
        ([step("A", "Condition", Arguments={"Conditions": [{"Type": "Maybe"}]})], "unknown condition 'Maybe'"),
        ([step("A", "Fail")], "needs an ErrorMessage"),
        ([step("A", "Lambda")], "needs a FunctionArn"),
        ([step("A", CacheConfig={"Enabled": True, "ExpireAfter": "30 days"})], "not an ISO 8601 duration"),
        ([step("A", RetryPolicies=[{"ExceptionType": ["Bad"]}])], "ExceptionType"),
        ([step("A", PropertyFiles=[{"OutputName": "x"}])], "needs PropertyFileName, OutputName and FilePath"),
    ],
)
def test_a_definition_that_could_not_run_is_refused_with_the_steps_name(steps, said):
    with pytest.raises(ValidationException) as refused:
        parse(*steps)
    assert said in str(refused.value)


def test_a_step_type_that_is_not_run_is_refused_by_name_with_those_that_are():
    with pytest.raises(ValidationException) as refused:
        parse(step("Batch", "Transform"))
    assert "Step Batch" in str(refused.value) and "'Transform'" in str(refused.value)
    assert all(kind in str(refused.value) for kind in definition.STEP_TYPES)


def test_nested_steps_wait_for_their_condition_and_are_found_by_name():
    gate = {
        "Conditions": [CONDITION],
        "IfSteps": [step("Yes")],
        "ElseSteps": [step("No", Arguments=get("Steps.A.ProcessingJobArn"))],
    }
    parsed = parse(step("A"), step("Gate", "Condition", Arguments=gate))
    assert graph.dependencies(parsed) == {
        "A": frozenset(),
        "Gate": frozenset(),
        "Yes": frozenset({"Gate"}),
        "No": frozenset({"Gate", "A"}),
    }
    assert parsed.steps["No"].branch == ("Gate", "False")


def test_a_step_waits_for_its_property_files_step_and_for_a_function_arn_that_is_a_reference():
    report = [{"PropertyFileName": "R", "OutputName": "o", "FilePath": "r.json"}]
    value = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.A.PropertyFiles.R"}, "Path": "x"}}
    parsed = parse(
        step("A", PropertyFiles=report),
        step("B", Arguments={"Environment": {"X": value}}),
        step("C", "Lambda", FunctionArn={"Get": "Steps.B.ProcessingJobArn"}),
    )
    assert graph.dependencies(parsed) == {"A": frozenset(), "B": frozenset({"A"}), "C": frozenset({"B"})}


def test_a_cycle_is_shown():
    steps = step("A", DependsOn=["C"]), step("B", DependsOn=["A"]), step("C", Arguments=get("Steps.B.ExitMessage"))
    with pytest.raises(ValidationException, match="cycle: .* -> .* -> .*"):
        parse(*steps)


WHOLE = {
    "Parameters": [{"Name": "P", "Type": "Integer", "DefaultValue": 1, "EnumValues": [1]}],
    "Steps": [
        {
            "Name": "A",
            "Type": "Processing",
            "Arguments": {"X": {"Std:Join": {"On": "", "Values": [{"Get": "Parameters.P"}]}}},
            "CacheConfig": {"Enabled": True, "ExpireAfter": "P1D"},
            "RetryPolicies": [{"ExceptionType": ["Step.THROTTLING"], "MaxAttempts": 1, "IntervalSeconds": 1}],
            "PropertyFiles": [{"PropertyFileName": "R", "OutputName": "o", "FilePath": "f"}],
        },
        {
            "Name": "C",
            "Type": "Condition",
            "DependsOn": ["A"],
            "Arguments": {
                "Conditions": [
                    {"Type": "Not", "Condition": {"Type": "In", "QueryValue": 1, "Values": [1]}},
                    {
                        "Type": "Equals",
                        "LeftValue": {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.A.PropertyFiles.R"}, "Path": "a"}},
                        "RightValue": {"Get": "Steps.A.ProcessingInputs['x'].S3Input.S3Uri"},
                    },
                    {"Type": "Or", "Conditions": [CONDITION]},
                ],
                "IfSteps": [
                    {
                        "Name": "L",
                        "Type": "Lambda",
                        "FunctionArn": "f",
                        "Arguments": {},
                        "OutputParameters": [{"OutputName": "o", "OutputType": "String"}],
                    }
                ],
                "ElseSteps": [{"Name": "F", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}],
            },
        },
    ],
}


def places(tree, path=()):
    """The path of every value in a JSON tree."""
    if path:
        yield path
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from places(value, (*path, key))


@pytest.mark.parametrize("wrong", [None, 3, "x", "a.b", [], {}, [3], {"x": 1}, [None], True], ids=repr)
def test_a_definition_with_any_one_value_replaced_is_read_or_refused_but_never_breaks(wrong):
    checks.checked(json.dumps(WHOLE))
    for path in places(WHOLE):
        document = json.loads(json.dumps(WHOLE))
        where = document
        for key in path[:-1]:
            where = where[key]
        where[path[-1]] = wrong
        try:
            checks.checked(json.dumps(document))
        except ValidationException as refused:
            assert str(refused)


def test_a_definition_nested_without_end_is_refused():
    deep = '{"Steps": [{"Name": "A", "Type": "Processing", "Arguments": {"X": ' + "[" * 5000 + "]" * 5000 + "}}]}"
    with pytest.raises(ValidationException, match="nested too deeply"):
        checks.checked(deep)


@given(st.lists(st.sets(st.integers(0, 11)), min_size=1, max_size=12))
def test_ready_steps_never_come_before_what_they_wait_for(drawn):
    """Any graph whose edges point to earlier steps is handed out completely and in order."""
    waits_for = {f"s{i}": frozenset(f"s{j}" for j in edges if j < i) for i, edges in enumerate(drawn)}
    order, done = graph.sorter(waits_for), set()
    while order.is_active():
        for name in order.get_ready():
            assert waits_for[name] <= done
            done.add(name)
            order.done(name)
    assert done == set(waits_for)


def parameter(kind, **members):
    return Parameter.parse({"Name": "P", "Type": kind, **members})


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("String", "x", "x"),
        ("String", "5", "5"),
        ("Integer", "5", 5),
        ("Integer", "-3", -3),
        ("Float", "0.5", 0.5),
        ("Float", "1", 1.0),
        ("Boolean", "true", True),
        ("Boolean", "False", False),
    ],
)
def test_start_values_are_cast_by_the_declared_type(kind, text, value):
    cast = parameters.bind({"P": parameter(kind)}, [{"Name": "P", "Value": text}])["P"]
    assert cast == value and type(cast) is type(value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [("Integer", "5.5"), ("Integer", "five"), ("Integer", ""), ("Float", "nan"), ("Float", "x"), ("Boolean", "1")],
)
def test_a_value_of_the_wrong_type_is_refused_with_the_parameters_name(kind, text):
    with pytest.raises(ValidationException, match=f"Parameter P: '{text}' is not a valid {kind}"):
        parameters.bind({"P": parameter(kind)}, [{"Name": "P", "Value": text}])


def test_a_value_outside_the_enum_an_unknown_name_a_double_and_a_missing_value_are_refused():
    known = {"P": parameter("String", EnumValues=["a", "b"])}
    for given_values, said in [
        ([{"Name": "P", "Value": "c"}], "'c' is not one of its EnumValues: a, b"),
        ([{"Name": "Q", "Value": "c"}], "Parameter Q is not in the pipeline definition. Its parameters: P"),
        ([{"Name": "P", "Value": "a"}, {"Name": "P", "Value": "b"}], "more than once"),
        ([], "No value for parameters without a default: P"),
    ]:
        with pytest.raises(ValidationException, match=said):
            parameters.bind(known, given_values)


def test_defaults_fill_in_and_are_checked_against_type_and_enum():
    assert parameters.bind({"P": parameter("Integer", DefaultValue=0)}, []) == {"P": 0}
    for members in ({"DefaultValue": "x"}, {"DefaultValue": 3, "EnumValues": [1, 2]}):
        with pytest.raises(ValidationException, match="Parameter P"):
            parameter("Integer", **members)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("P30D", 2592000), ("PT4H", 14400), ("P1DT12H", 129600), ("P1M", 2592000), ("PT1M30S", 90), ("P2W", 1209600)],
)
def test_cache_durations_are_iso_8601(text, seconds):
    assert cache.duration_seconds(text) == seconds


@pytest.mark.parametrize("text", ["P", "PT", "30D", "P1H", "", 30])
def test_other_durations_are_refused(text):
    with pytest.raises(ValueError, match="ISO 8601"):
        cache.duration_seconds(text)


def policy(**members):
    return retry.RetryPolicy.parse({"ExceptionType": ["Step.THROTTLING"], **members})


def test_retry_delays_grow_by_the_backoff_rate_until_the_attempts_are_used():
    three = policy(MaxAttempts=3, IntervalSeconds=2, BackoffRate=3.0)
    assert [three.delay(done, 0) for done in range(4)] == [2, 6, 18, None]


def test_a_policy_that_expires_gives_up_when_the_next_try_would_be_too_late():
    minute = policy(ExpireAfterMin=1, IntervalSeconds=10, BackoffRate=1.0)
    assert minute.delay(7, 49) == 10
    assert minute.delay(7, 51) is None


@pytest.mark.parametrize(
    "members",
    [{}, {"MaxAttempts": 3, "ExpireAfterMin": 3}, {"MaxAttempts": 21}, {"MaxAttempts": 0}, {"ExpireAfterMin": 14401}],
)
def test_retry_policies_outside_the_limits_are_refused(members):
    with pytest.raises(ValueError, match="retry policy"):
        policy(**members)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (AwsError("ThrottlingException", ""), "Step.THROTTLING"),
        (AwsError("ResourceLimitExceeded", ""), "SageMaker.RESOURCE_LIMIT"),
        (AwsError("InternalFailure", "", 500), "Step.SERVICE_FAULT"),
        (ValidationException(""), None),
    ],
)
def test_refused_calls_map_to_retry_exception_types(error, kind):
    assert retry.type_of_error(error) == kind


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("InternalServerError: We encountered an internal error", "SageMaker.JOB_INTERNAL_ERROR"),
        ("CapacityError: Unable to provision", "SageMaker.CAPACITY_ERROR"),
        ("AlgorithmError: exit code 1", None),
    ],
)
def test_failed_jobs_map_to_retry_exception_types(reason, kind):
    assert retry.type_of_failure(reason) == kind
