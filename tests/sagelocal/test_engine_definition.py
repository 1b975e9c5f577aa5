"""What the engine reads from a definition: the order of steps, typed parameters, caching and retries."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagelocal.core.errors import AwsError, ValidationException
from sagelocal.definition import graph, parameters, read, retries
from sagelocal.definition.caching import duration_seconds
from sagelocal.definition.parameters import Parameter
from sagelocal.definition.retries import RetryPolicy
from sagelocal.services.sagemaker.execution import retry


def step(name, kind="Processing", **members):
    return {"Name": name, "Type": kind, "Arguments": {}, **members}


def parse(*steps):
    return read(json.dumps({"Version": "2020-12-01", "Steps": list(steps)}))


def get(expression):
    return {"Environment": {"X": {"Get": expression}}}


CONDITION = {"Type": "Equals", "LeftValue": 1, "RightValue": 1}


def test_nested_steps_wait_for_their_condition_and_are_found_by_name():
    gate = {
        "Conditions": [CONDITION],
        "IfSteps": [step("Yes")],
        "ElseSteps": [step("No", Arguments=get("Steps.A.ProcessingJobArn"))],
    }
    parsed = parse(step("A"), step("Gate", "Condition", Arguments=gate))
    assert graph.waits_for(parsed) == {
        "A": frozenset(),
        "Gate": frozenset(),
        "Yes": frozenset({"Gate"}),
        "No": frozenset({"Gate", "A"}),
    }
    assert parsed.by_name["No"].branch == ("Gate", "False")


def test_a_step_waits_for_its_property_files_step_and_for_a_function_arn_that_is_a_reference():
    report = [{"PropertyFileName": "R", "OutputName": "o", "FilePath": "r.json"}]
    value = {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.A.PropertyFiles.R"}, "Path": "x"}}
    parsed = parse(
        step("A", PropertyFiles=report),
        step("B", Arguments={"Environment": {"X": value}}),
        step("C", "Lambda", FunctionArn={"Get": "Steps.B.ProcessingJobArn"}),
    )
    assert graph.waits_for(parsed) == {"A": frozenset(), "B": frozenset({"A"}), "C": frozenset({"B"})}


def test_a_cycle_is_shown_in_running_order():
    steps = step("A", DependsOn=["C"]), step("B", DependsOn=["A"]), step("C", Arguments=get("Steps.B.ExitMessage"))
    with pytest.raises(graph.Cycle) as cycle:
        graph.sorter(graph.waits_for(parse(*steps)))
    path = cycle.value.path
    assert path[0] == path[-1] and "".join(path[:-1]) in "ABCAB"


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
    return Parameter.read({"Name": "P", "Type": kind, **members})


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


def test_defaults_fill_in():
    assert parameters.bind({"P": parameter("Integer", DefaultValue=0)}, []) == {"P": 0}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("P30D", 2592000), ("PT4H", 14400), ("P1DT12H", 129600), ("P1M", 2592000), ("PT1M30S", 90), ("P2W", 1209600)),
        *(("30d", 2592000), ("T12H", 43200), ("p30d", 2592000), ("5y", 157680000), ("T16m", 960), ("30dT5h", 2610000)),
    ],
)
def test_cache_durations_are_read_as_aws_writes_them(text, seconds):
    assert duration_seconds(text) == seconds


@pytest.mark.parametrize("text", ["P", "PT", "30", "P1H", "30 days", "", 30])
def test_other_durations_are_refused(text):
    with pytest.raises(ValueError, match="no duration"):
        duration_seconds(text)


def policy(**members):
    return RetryPolicy.read({"ExceptionType": ["Step.THROTTLING"], **members})


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
    assert list(retries.problems({"ExceptionType": ["Step.THROTTLING"], **members}))


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
