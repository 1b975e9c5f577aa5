"""The whole pipeline, in the order in which it runs.

`definition()` makes no AWS call, needs no credentials, and gives the same bytes in every process.
"""

import os
from typing import Any

import boto3
import botocore.session

if not botocore.session.get_session().get_config_variable("region"):
    # Without any region, importing the SDK raises NoRegionError.
    os.environ["AWS_DEFAULT_REGION"] = os.environ.get("AWS_REGION") or "us-east-1"

from sagemaker.core.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.mlops.workflow.pipeline import Pipeline

from pipeline import bundle
from pipeline.parameters import OF_THE_DEBUGGER, PARAMETERS, Parameter
from pipeline.settings import OFF, Settings
from steps import champion, debug, deploy, embed, evaluate, gate, prepare, register, train, tune
from steps.base import BuildContext, output_uri


def build(settings: Settings, code: bundle.Bundle | None = None) -> Pipeline:
    """The pipeline as an SDK object, with a session that reaches nothing."""
    build = BuildContext(
        settings=settings,
        parameters={parameter.name: _variable(parameter, settings) for parameter in used(settings)},
        code_uri=(code or bundle.read()).prefix(settings.root) + "src/",
    )

    prepare_step = prepare.step(build)
    prepared = output_uri(prepare_step, "prepared")

    embed_step = embed.step(build, prepared=prepared)
    features = output_uri(embed_step, "features")

    tune_step = tune.step(build, features=features)
    best, trial = tune.best(tune_step), tune.best_trial(tune_step)
    train_step = train.step(build, features=features, prepared=prepared, best=best, trial=trial)

    debug_step = None if settings.debugger == OFF else debug.step(build, train=train_step)
    champion_step = champion.step(build, train=train_step)
    evaluate_step = evaluate.step(build, train=train_step, champion=champion.archive(champion_step), prepared=prepared)

    register_step = register.step(build, train=train_step, evaluate_step=evaluate_step)
    deploy_step = deploy.step(build, register=register_step)

    gate_step = gate.step(build, debug_step=debug_step, evaluate_step=evaluate_step, then=[register_step, deploy_step])

    return Pipeline(
        name=settings.pipeline_name,
        parameters=list(build.parameters.values()),
        steps=[
            prepare_step,
            embed_step,
            tune_step,
            train_step,
            *([debug_step] if debug_step else []),
            champion_step,
            evaluate_step,
            gate_step,
        ],
        pipeline_experiment_config=None,
        sagemaker_session=offline_session(settings.region),
    )


def used(settings: Settings) -> list[Parameter]:
    """The parameters that the steps use."""
    return [p for p in PARAMETERS if settings.debugger != OFF or p.name not in OF_THE_DEBUGGER]


def definition(settings: Settings, code: bundle.Bundle | None = None) -> str:
    """The pipeline's JSON document, for `code` or for code/ as it is."""
    return build(settings, code).definition()


def offline_session(region: str) -> PipelineSession:
    """A session that never signs a request: the credentials are words, so nothing looks for real ones."""
    return pipeline_session(boto3.Session(aws_access_key_id="none", aws_secret_access_key="none", region_name=region))


def pipeline_session(boto_session: boto3.Session) -> PipelineSession:
    """The SDK's session without its telemetry."""
    return PipelineSession(
        boto_session=boto_session,
        sagemaker_config={"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}},
    )


def _variable(parameter: Parameter, settings: Settings) -> Any:
    """The SDK's object for a pipeline parameter."""
    defaults = {"InputDataUri": settings.input_data_uri, "PretrainedWeightsUri": settings.weights_uri}
    default = defaults.get(parameter.name, parameter.default)
    if parameter.choices:
        return ParameterString(name=parameter.name, default_value=default, enum_values=list(parameter.choices))
    kinds = {str: ParameterString, int: ParameterInteger, float: ParameterFloat}
    return kinds[parameter.type](name=parameter.name, default_value=default)
