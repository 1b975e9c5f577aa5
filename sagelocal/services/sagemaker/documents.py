"""What SageMaker keeps: the kinds of documents, and the members of each that code reads or changes.

A document is what its Describe call answers, with times as seconds since 1970. A member that begins with an underscore
is our own and never answered. Shapes without times are taken as botocore's stubs have them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

from sagelocal.core.json import Json
from sagelocal.core.store import BY_NAME, Kind

if TYPE_CHECKING:
    from types_boto3_sagemaker import type_defs as api


class Resource(TypedDict):
    """What they all have. `_Tags` has the shape of the request's Tags."""

    CreationTime: float
    _Tags: list[api.TagTypeDef]


class Progress(Resource):
    """Something that goes on in the background, and may fail."""

    RoleArn: str
    LastModifiedTime: float
    FailureReason: NotRequired[str]


class TrainingJob(Progress):
    TrainingJobName: str
    TrainingJobArn: str
    TrainingJobStatus: str
    SecondaryStatus: str
    SecondaryStatusTransitions: list[Json]
    TrainingStartTime: NotRequired[float]
    TrainingTimeInSeconds: NotRequired[int]
    BillableTimeInSeconds: NotRequired[int]
    AlgorithmSpecification: api.AlgorithmSpecificationOutputTypeDef
    HyperParameters: NotRequired[dict[str, str]]
    Environment: NotRequired[dict[str, str]]
    InputDataConfig: NotRequired[list[api.ChannelOutputTypeDef]]
    OutputDataConfig: api.OutputDataConfigTypeDef
    ResourceConfig: api.ResourceConfigOutputTypeDef
    StoppingCondition: api.StoppingConditionTypeDef
    CheckpointConfig: NotRequired[api.CheckpointConfigTypeDef]
    DebugHookConfig: NotRequired[api.DebugHookConfigOutputTypeDef]
    DebugRuleConfigurations: NotRequired[list[api.DebugRuleConfigurationOutputTypeDef]]
    DebugRuleEvaluationStatuses: NotRequired[list[Json]]
    ModelArtifacts: NotRequired[api.ModelArtifactsTypeDef]
    FinalMetricDataList: NotRequired[list[Json]]
    TuningJobArn: NotRequired[str]
    _TunedHyperParameters: NotRequired[dict[str, str]]  # of a tuning job's trial: what the search chose
    _CutOff: NotRequired[bool]  # it failed by no fault of its own, see jobs.job.NOT_ITS_FAULT


class ProcessingJob(Progress):
    ProcessingJobName: str
    ProcessingJobStatus: str
    ProcessingStartTime: NotRequired[float]
    ExitMessage: NotRequired[str]
    AppSpecification: api.AppSpecificationOutputTypeDef
    Environment: NotRequired[dict[str, str]]
    ProcessingInputs: NotRequired[list[api.ProcessingInputTypeDef]]
    ProcessingOutputConfig: NotRequired[api.ProcessingOutputConfigOutputTypeDef]
    ProcessingResources: api.ProcessingResourcesTypeDef
    StoppingCondition: NotRequired[api.StoppingConditionTypeDef]


class TuningJob(Resource):
    HyperParameterTuningJobName: str
    HyperParameterTuningJobStatus: str
    HyperParameterTuningJobConfig: api.HyperParameterTuningJobConfigOutputTypeDef
    TrainingJobDefinition: api.HyperParameterTrainingJobDefinitionOutputTypeDef
    ConsumedResources: NotRequired[dict[str, int]]


class Pipeline(TypedDict):
    PipelineArn: str
    PipelineName: str
    PipelineDefinition: str
    RoleArn: str
    CreationTime: float
    LastModifiedTime: float
    LastRunTime: NotRequired[float]
    ParallelismConfiguration: api.ParallelismConfigurationTypeDef | None
    _ClientRequestToken: str
    _VersionId: int


class Execution(TypedDict):
    PipelineArn: str
    PipelineExecutionArn: str
    PipelineExecutionDisplayName: str
    PipelineExecutionStatus: str
    PipelineExecutionDescription: str | None
    PipelineExperimentConfig: dict[str, str] | None
    CreationTime: float
    LastModifiedTime: float
    FailureReason: NotRequired[str]
    ParallelismConfiguration: api.ParallelismConfigurationTypeDef | None
    PipelineVersionId: int
    RoleArn: str
    _Parameters: Json  # each with its value and its declared type
    _Variables: dict[str, str]  # the execution variables, see runner.variables
    _StartToken: str  # name of its document of kind START_TOKEN
    _RetryToken: NotRequired[str]  # ClientRequestToken of the last retry
    _Attempts: NotRequired[dict[str, int]]  # step → its last attempt that has failed, or was stopped
    _Resumes: NotRequired[int]  # how often a server went on with it since a step of it succeeded


class StepRecord(TypedDict):
    StepName: str
    StepStatus: str
    StartTime: float
    _Properties: NotRequired[Json]  # of a step that has succeeded: what other steps may refer to


class Model(Resource):
    ModelArn: str
    ExecutionRoleArn: NotRequired[str]
    PrimaryContainer: NotRequired[api.ContainerDefinitionOutputTypeDef]
    Containers: NotRequired[list[api.ContainerDefinitionOutputTypeDef]]


class EndpointConfig(Resource):
    EndpointConfigArn: str
    ProductionVariants: list[api.ProductionVariantTypeDef]
    DataCaptureConfig: NotRequired[api.DataCaptureConfigOutputTypeDef]


class PlannedVariant(TypedDict):
    """A production variant with all that is needed to serve it, whatever becomes of its model and configuration."""

    Name: str
    Weight: float
    Count: int
    Serverless: api.ProductionVariantServerlessConfigTypeDef | None
    StartupSeconds: float
    Container: Json  # see models_api.serving_container
    Role: NotRequired[str | None]
    Config: NotRequired[str]  # name of the endpoint configuration
    Capture: NotRequired[api.DataCaptureConfigOutputTypeDef | None]
    InstanceType: NotRequired[str | None]


class Endpoint(Resource):
    EndpointName: str
    EndpointArn: str
    EndpointConfigName: str
    EndpointStatus: str
    LastModifiedTime: float
    FailureReason: NotRequired[str]
    ProductionVariants: NotRequired[list[Json]]
    PendingDeploymentSummary: NotRequired[Json]
    DataCaptureConfig: NotRequired[Json | None]
    LastDeploymentConfig: NotRequired[api.DeploymentConfigOutputTypeDef | None]
    _Variants: list[PlannedVariant]  # what was deployed whole: a server that starts again serves this
    _Deployment: str  # token of the deployment that may go on; one that was overtaken changes nothing more


class ModelPackageGroup(Resource):
    ModelPackageGroupName: str
    ModelPackageGroupArn: str
    _LastVersion: int


class ModelPackage(Resource):
    ModelPackageArn: str
    ModelPackageGroupName: str
    ModelPackageStatus: str
    ModelApprovalStatus: str
    InferenceSpecification: NotRequired[api.InferenceSpecificationOutputTypeDef]
    AdditionalInferenceSpecifications: NotRequired[list[Json]]
    CustomerMetadataProperties: NotRequired[dict[str, str] | None]
    LastModifiedTime: float
    LastModifiedBy: NotRequired[dict[str, str]]
    _ClientToken: str | None


TRAINING_JOB = Kind[TrainingJob]("training-job", status="TrainingJobStatus", parent="TuningJobArn")
PROCESSING_JOB = Kind[ProcessingJob]("processing-job", status="ProcessingJobStatus")
TUNING_JOB = Kind[TuningJob]("tuning-job", status="HyperParameterTuningJobStatus")
PIPELINE = Kind[Pipeline]("pipeline")
PACKAGE_TOKEN = Kind[Json]("model-package-token")  # ModelPackageArn, what a ClientToken of a group registered
START_TOKEN = Kind[Json]("pipeline-start-token")  # PipelineExecutionArn, which a pipeline's ClientRequestToken started
EXECUTION = Kind[Execution]("pipeline-execution", status="PipelineExecutionStatus", parent="PipelineArn")
DEFINITION = Kind[Json]("pipeline-execution-definition")  # PipelineDefinition as it was when the execution started
STEP = Kind[StepRecord]("pipeline-execution-step", created="StartTime", status="StepStatus", parent=BY_NAME)
# A successful run of a step that may be reused, see execution.cache. Its parent is <pipeline>/<step>.
CACHE_ENTRY = Kind[Json]("pipeline-step-cache", created="Time", parent=BY_NAME)
MODEL = Kind[Model]("model")
ENDPOINT_CONFIG = Kind[EndpointConfig]("endpoint-config")
ENDPOINT = Kind[Endpoint]("endpoint", status="EndpointStatus")
GROUP = Kind[ModelPackageGroup]("model-package-group")
PACKAGE = Kind[ModelPackage]("model-package", status="ModelApprovalStatus", parent=BY_NAME)
