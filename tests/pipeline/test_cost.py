"""`pawline cost`: before, and after, a run."""

import json
from datetime import date
from pathlib import Path

import boto3
import pytest
from breeds.evaluation import robustness
from breeds.model import optimizing
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from pipeline import cost, durations, prices, settings
from pipeline.cloud import Cloud
from pipeline.durations import Work
from pipeline.errors import UserError
from pipeline.parameters import BY_NAME
from tests.waiting import ended


@pytest.fixture(scope="module")
def found() -> dict:
    return cost.for_pipeline(settings.from_environment({}), {})


def test_the_default_execution_costs_less_than_the_starting_document(found):
    assert found["expected"] < found["document"] == 4.03
    assert found["expected"] <= found["upper"]
    assert [step["step"] for step in found["steps"]] == ["Prepare", "Embed", "Tune", "Train", "Debug", "Evaluate"]
    assert found["assumptions"] and found["prices"]["date"]
    cost.show_estimate(found)


def test_the_upper_cost_is_every_jobs_time_limit_at_its_price_with_its_volume(found):
    table = prices.load()
    tune = next(step for step in found["steps"] if step["step"] == "Tune")
    hours = 10 * 3600 / 3600
    assert tune["upper"] == pytest.approx(hours * (table.of("ml.m5.2xlarge") + 0.14 * 30 / 730), abs=1e-4)


def test_hosts_and_trials_multiply_and_the_endpoint_costs_by_the_month():
    values = {"MaxTuningJobs": 20, "TrainingInstanceCount": 3, "EndpointMinInstances": 2, "EndpointMaxInstances": 4}
    more = cost.for_pipeline(settings.from_environment({}), values)
    steps = {step["step"]: step for step in more["steps"]}
    assert steps["Tune"]["jobs"] == 20 and steps["Train"]["instances"] == 3
    assert more["endpoint_month"]["expected"] == pytest.approx(2 * 0.23 * 730)
    assert more["endpoint_month"]["upper"] == pytest.approx(4 * 0.23 * 730)


def test_a_serverless_endpoint_costs_nothing_by_the_month(found):
    serverless = cost.for_pipeline(settings.from_environment({}), {"EndpointInstanceType": "serverless"})
    assert serverless["endpoint_month"] == {"instance_type": "serverless", "expected": 0, "upper": 0}
    assert serverless["expected"] == found["expected"]
    cost.show_estimate(serverless)


def test_fine_tuning_and_more_images_are_expected_to_cost_more(found):
    tuned = cost.for_pipeline(settings.from_environment({}), {"TrainableStages": 2})
    larger = cost.for_pipeline(settings.from_environment({}), {}, images=83_510)
    assert tuned["expected"] > found["expected"] and larger["expected"] > 2 * found["expected"]


def seconds(step: str, *, instances: int = 1, images: int = 10_000, **values) -> float:
    """Expected seconds of a step's work, without what each job has for starting."""
    given = {name: parameter.default for name, parameter in BY_NAME.items()} | values
    expected = durations.expected_seconds(step, Work(images, given), "ml.m5.2xlarge", instances)
    return expected - durations.START_SECONDS


def test_views_cost_embed_and_no_epoch_of_a_trial_or_of_training():
    assert seconds("Embed", AugmentedViews=8) > 1.5 * seconds("Embed", AugmentedViews=4)
    for step in ("Tune", "Train"):
        assert seconds(step, AugmentedViews=8) == seconds(step, AugmentedViews=1)


def test_epochs_are_those_of_the_head_also_where_stages_are_trained():
    assert seconds("Tune", Epochs=16) == pytest.approx(2 * seconds("Tune", Epochs=8))
    more = [seconds("Train", Epochs=epochs, TrainableStages=2) for epochs in (8, 16)]
    assert more[1] - more[0] == pytest.approx(seconds("Tune", Epochs=8))


def test_fine_tuning_costs_more_the_more_stages_it_trains_and_is_shared_by_the_hosts_but_the_faster_forms_are_not():
    by_stages = [seconds("Train", TrainableStages=stages) for stages in range(6)]
    assert by_stages == sorted(by_stages) and len(set(by_stages)) == 6
    forms = seconds("Train") - seconds("Train", FasterServing="off")
    alone, two = (seconds("Train", TrainableStages=3, instances=hosts) for hosts in (1, 2))
    assert two - forms == pytest.approx((alone - forms) / 2)


def test_the_numbers_that_the_estimate_takes_from_the_scripts_are_theirs():
    assert optimizing.CALIBRATION_IMAGES + 2 * optimizing.VALIDATION_IMAGES == durations.OPTIMISING_PHOTOS
    strengths = sum(len(values) for values in robustness.CHANGES.values())
    assert strengths * robustness.SAMPLE_IMAGES == durations.ROBUSTNESS_PHOTOS
    assert set(durations.TRAINED) == set(durations.IMAGES_PER_VCPU_SECOND) == set(BY_NAME["Backbone"].choices)


def test_a_type_without_a_price_is_refused_by_name():
    with pytest.raises(UserError, match="ml.m99.huge"):
        cost.for_pipeline(settings.from_environment({}), {"TrainingInstanceType": "ml.m99.huge"})
    with pytest.raises(UserError, match="0 images"):
        cost.for_pipeline(settings.from_environment({}), {}, images=0)


def test_prices_that_no_second_source_confirmed_are_named():
    found = cost.for_pipeline(settings.from_environment({}), {"EndpointInstanceType": "ml.m7i.xlarge"})
    assert found["prices"]["unverified"] == ["ml.m7i.xlarge"]


def test_the_price_table_is_dated_and_larger_sizes_cost_more():
    table = prices.load()
    date.fromisoformat(table.date)
    assert table.unverified <= set(table.hourly)
    families: dict[str, list[tuple[int, float]]] = {}
    from pipeline.durations import vcpus

    for kind, price in table.hourly.items():
        families.setdefault(kind.rpartition(".")[0], []).append((vcpus(kind), price))
    for family, sizes in families.items():
        costs = [price for size, price in sorted(sizes)]
        assert costs == sorted(costs), family


EXIT_0 = {"ContainerEntrypoint": ["python3", "-c", "import time; time.sleep(1.2)"]}


def definition() -> str:
    image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/python:3"
    role = "arn:aws:iam::123456789012:role/any"
    processing = {
        "AppSpecification": {"ImageUri": image, **EXIT_0},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 1}
        },
        "RoleArn": role,
    }
    training = {
        "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File", **EXIT_0},
        "OutputDataConfig": {"S3OutputPath": "s3://costs/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.2xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "RoleArn": role,
    }
    steps = [
        {"Name": "Prepare", "Type": "Processing", "Arguments": processing},
        {"Name": "Train", "Type": "Training", "Arguments": training},
    ]
    return json.dumps({"Version": "2020-12-01", "Parameters": [], "Steps": steps})


def test_the_actual_cost_is_billed_seconds_summed_over_hosts_at_their_price(server, client, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    cloud = Cloud(settings.from_environment({}), boto3.Session(region_name="us-east-1"))
    client("s3").create_bucket(Bucket="costs")
    sagemaker = client("sagemaker")
    role = "arn:aws:iam::123456789012:role/any"
    sagemaker.create_pipeline(PipelineName="pawline", PipelineDefinition=definition(), RoleArn=role)
    arn = sagemaker.start_pipeline_execution(PipelineName="pawline")["PipelineExecutionArn"]
    ended(lambda: sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn), "PipelineExecutionStatus")
    found = cost.actual(cloud, arn)
    assert found["status"] == "Succeeded"
    steps = {step["step"]: step for step in found["steps"]}
    assert steps["Prepare"]["billed_seconds"] == pytest.approx(2 * steps["Prepare"]["seconds"], abs=0.2)
    assert steps["Prepare"]["seconds"] > 1
    expected = steps["Prepare"]["billed_seconds"] / 3600 * 0.23 + steps["Train"]["billed_seconds"] / 3600 * 0.461
    assert found["dollars"] == pytest.approx(expected, rel=0.1, abs=0.0001)  # it is rounded to that
    cost.show_actual(found)


def product(kind: str, component: str, price: str, usage: str = "") -> str:
    """An entry of a PriceList, as the Pricing API documents it."""
    attributes = {"instanceName": kind, "component": component, "usagetype": usage or f"USE1-{component}:{kind}"}
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": price}}
    terms = {"OnDemand": {"T": {"priceDimensions": {"D": dimension}}}}
    return json.dumps({"product": {"productFamily": "ML Instance", "attributes": attributes}, "terms": terms})


def test_the_table_is_renewed_from_the_pricing_api_page_by_page(tmp_path: Path, monkeypatch):
    answers = {
        None: {
            "PriceList": [product("ml.m5.large", "Training", "0.1150"), product("ml.m5.large", "Hosting", "0.12")],
            "NextToken": "more",
        },
        "more": {
            "PriceList": [
                product("ml.m5.large", "Training", "9", "USE1-SpotTraining:ml.m5.large"),
                product("ml.t3.medium", "Notebook", "0.05"),
                product("ml.m5.xlarge", "Processing", "0.23"),
            ]
        },
    }

    @Request.application
    def api(request: Request) -> Response:
        asked = json.loads(request.get_data())
        return Response(json.dumps(answers[asked.get("NextToken")]), content_type="application/x-amz-json-1.1")

    import threading

    http = make_server("127.0.0.1", 0, api, threaded=True)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{http.port}")
    path = tmp_path / "prices.json"
    path.write_text(prices.FILE.read_text())
    try:
        renewed = prices.refresh(Cloud(settings.from_environment({}), boto3.Session(region_name="us-east-1")), path)
    finally:
        http.shutdown()
    assert renewed.hourly == {"ml.m5.large": 0.12, "ml.m5.xlarge": 0.23}
    assert renewed.date == date.today().isoformat() and not renewed.unverified


def test_a_pricing_api_that_does_not_answer_leaves_the_table_as_it_was(tmp_path: Path, monkeypatch, server):
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    path = tmp_path / "prices.json"
    path.write_text(prices.FILE.read_text())
    with pytest.raises(UserError, match="Pricing API"):
        prices.refresh(Cloud(settings.from_environment({}), boto3.Session(region_name="us-east-1")), path)
    assert path.read_text() == prices.FILE.read_text()
