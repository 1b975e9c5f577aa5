"""What SageMaker keeps: the kinds of documents, and the members of each that code reads or writes.

A document is what its Describe call answers, with times as seconds since 1970. A member that begins with an underscore
is our own and never answered. Shapes without times are taken as botocore's stubs have them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

from sagelocal.core.json import Json
from sagelocal.core.store import Kind

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        AlgorithmSpecificationOutputTypeDef,
        AppSpecificationOutputTypeDef,
        ChannelOutputTypeDef,
        CheckpointConfigTypeDef,
        ContainerDefinitionOutputTypeDef,
        DataCaptureConfigOutputTypeDef,
        DebugHookConfigOutputTypeDef,
        DebugRuleConfigurationOutputTypeDef,
        DeploymentConfigOutputTypeDef,
        HyperParameterTrainingJobDefinitionOutputTypeDef,
        HyperParameterTuningJobConfigOutputTypeDef,
        InferenceSpecificationOutputTypeDef,
        ModelArtifactsTypeDef,
        OutputDataConfigTypeDef,
        ParallelismConfigurationTypeDef,
        ProcessingInputTypeDef,
        ProcessingOutputConfigOutputTypeDef,
        ProcessingResourcesTypeDef,
        ProductionVariantServerlessConfigTypeDef,
        ProductionVariantTypeDef,
        ResourceConfigOutputTypeDef,
        StoppingConditionTypeDef,
        TagTypeDef,
    )


class StatusTransition(TypedDict):
    """SecondaryStatusTransition."""

    Status: str
    StartTime: float
    StatusMessage: str
    EndTime: NotRequired[float]


class RuleStatus(TypedDict):
    """DebugRuleEvaluationStatus."""

    RuleConfigurationName: str
    RuleEvaluationJobArn: str
    RuleEvaluationStatus: str
    LastModifiedTime: float
    StatusDetails: NotRequired[str]


class Metric(TypedDict):
    """MetricData: a metric's last value."""

    MetricName: str
    Value: float
    Timestamp: float


class TrainingJob(TypedDict):
    TrainingJobName: str
    TrainingJobArn: str
    TrainingJobStatus: str
    SecondaryStatus: str
    SecondaryStatusTransitions: list[StatusTransition]
    CreationTime: float
    LastModifiedTime: float
    TrainingStartTime: NotRequired[float]
    TrainingEndTime: NotRequired[float]
    TrainingTimeInSeconds: NotRequired[int]
    BillableTimeInSeconds: NotRequired[int]
    FailureReason: NotRequired[str]
    RoleArn: str
    AlgorithmSpecification: AlgorithmSpecificationOutputTypeDef
    HyperParameters: NotRequired[dict[str, str]]
    Environment: NotRequired[dict[str, str]]
    InputDataConfig: NotRequired[list[ChannelOutputTypeDef]]
    OutputDataConfig: OutputDataConfigTypeDef
    ResourceConfig: ResourceConfigOutputTypeDef
    StoppingCondition: StoppingConditionTypeDef
    CheckpointConfig: NotRequired[CheckpointConfigTypeDef]
    DebugHookConfig: NotRequired[DebugHookConfigOutputTypeDef]
    DebugRuleConfigurations: NotRequired[list[DebugRuleConfigurationOutputTypeDef]]
    DebugRuleEvaluationStatuses: NotRequired[list[RuleStatus]]
    ModelArtifacts: NotRequired[ModelArtifactsTypeDef]
    FinalMetricDataList: NotRequired[list[Metric]]
    TuningJobArn: NotRequired[str]
    _TunedHyperParameters: NotRequired[dict[str, str]]  # of a tuning job's trial: what the search chose
    _Tags: list[TagTypeDef]


class ProcessingJob(TypedDict):
    ProcessingJobName: str
    ProcessingJobArn: str
    ProcessingJobStatus: str
    CreationTime: float
    LastModifiedTime: float
    ProcessingStartTime: NotRequired[float]
    ProcessingEndTime: NotRequired[float]
    FailureReason: NotRequired[str]
    ExitMessage: NotRequired[str]
    RoleArn: str
    AppSpecification: AppSpecificationOutputTypeDef
    Environment: NotRequired[dict[str, str]]
    ProcessingInputs: NotRequired[list[ProcessingInputTypeDef]]
    ProcessingOutputConfig: NotRequired[ProcessingOutputConfigOutputTypeDef]
    ProcessingResources: ProcessingResourcesTypeDef
    StoppingCondition: NotRequired[StoppingConditionTypeDef]
    TrainingJobArn: NotRequired[str]  # of a Debugger rule: the training whose tensors it looks at
    _Tags: list[TagTypeDef]


class TrialSummary(TypedDict):
    """HyperParameterTrainingJobSummary."""

    TrainingJobName: str
    TrainingJobArn: str
    TrainingJobStatus: str
    CreationTime: float
    TrainingStartTime: NotRequired[float]
    TrainingEndTime: NotRequired[float]
    FailureReason: NotRequired[str]
    TunedHyperParameters: dict[str, str]
    ObjectiveStatus: str
    FinalHyperParameterTuningJobObjectiveMetric: NotRequired[Json]
    FinalObjectiveMetricValue: NotRequired[float | None]  # no member of the answer: what a list is sorted by


class TuningJob(TypedDict):
    HyperParameterTuningJobName: str
    HyperParameterTuningJobArn: str
    HyperParameterTuningJobStatus: str
    HyperParameterTuningJobConfig: HyperParameterTuningJobConfigOutputTypeDef
    TrainingJobDefinition: HyperParameterTrainingJobDefinitionOutputTypeDef
    CreationTime: float
    LastModifiedTime: float
    HyperParameterTuningEndTime: NotRequired[float]
    FailureReason: NotRequired[str]
    TrainingJobStatusCounters: dict[str, int]
    ObjectiveStatusCounters: dict[str, int]
    BestTrainingJob: NotRequired[TrialSummary]
    ConsumedResources: NotRequired[dict[str, int]]
    _Tags: list[TagTypeDef]


class Pipeline(TypedDict):
    PipelineArn: str
    PipelineName: str
    PipelineDisplayName: str
    PipelineDefinition: str
    PipelineDescription: str | None
    RoleArn: str
    PipelineStatus: str
    CreationTime: float
    LastModifiedTime: float
    LastRunTime: NotRequired[float]
    ParallelismConfiguration: ParallelismConfigurationTypeDef | None
    Tags: list[TagTypeDef]
    _ClientRequestToken: str
    _VersionId: int


class StartToken(TypedDict):
    """The execution that a pipeline's ClientRequestToken has started."""

    PipelineExecutionArn: str


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
    ParallelismConfiguration: ParallelismConfigurationTypeDef | None
    PipelineVersionId: int
    RoleArn: str
    _Parameters: Json  # each with its value and its declared type
    _Variables: dict[str, str]  # the execution variables, see runner.variables
    _StartToken: str  # name of its StartToken
    _RetryToken: NotRequired[str]  # ClientRequestToken of the last retry


class ExecutionDefinition(TypedDict):
    """The pipeline's definition as it was when the execution started."""

    PipelineDefinition: str
    CreationTime: float


class StepRecord(TypedDict):
    StepName: str
    StepDisplayName: str | None
    StepDescription: str | None
    StepStatus: str
    StartTime: float
    EndTime: NotRequired[float]
    AttemptCount: int
    FailureReason: NotRequired[str]
    Metadata: NotRequired[Json]
    CacheHitResult: NotRequired[dict[str, str]]
    _Type: str
    _Properties: NotRequired[Json]  # of a step that has succeeded: what other steps may refer to
    _CacheMiss: NotRequired[str]  # why no earlier run was reused


class CacheEntry(TypedDict):
    """A successful run of a step that may be reused. No Describe call answers it."""

    Pipeline: str
    Step: str
    Keys: Json  # the arguments that must be the same
    Time: float
    Outputs: list[str]  # S3 URIs that must still be there
    ExecutionArn: str
    Properties: Json
    Metadata: Json
    Job: tuple[str, str] | None  # (kind, name) of the job that must still be there


class Model(TypedDict):
    ModelName: str
    ModelArn: str
    CreationTime: float
    EnableNetworkIsolation: bool
    ExecutionRoleArn: NotRequired[str]
    PrimaryContainer: NotRequired[ContainerDefinitionOutputTypeDef]
    Containers: NotRequired[list[ContainerDefinitionOutputTypeDef]]
    _Tags: list[TagTypeDef]


class EndpointConfig(TypedDict):
    EndpointConfigName: str
    EndpointConfigArn: str
    ProductionVariants: list[ProductionVariantTypeDef]
    DataCaptureConfig: NotRequired[DataCaptureConfigOutputTypeDef]
    CreationTime: float
    _Tags: list[TagTypeDef]


class ServingContainer(TypedDict):
    """What the instances of a variant run."""

    Image: str
    ModelData: str | None  # s3 URI
    Packed: bool  # whether ModelData is an archive
    Environment: dict[str, str]


class PlannedVariant(TypedDict):
    """A production variant with all that is needed to serve it, whatever becomes of its model and configuration."""

    Name: str
    Weight: float
    Count: int
    Serverless: ProductionVariantServerlessConfigTypeDef | None
    StartupSeconds: float
    Container: ServingContainer
    Role: NotRequired[str | None]
    Config: NotRequired[str]  # name of the endpoint configuration
    Capture: NotRequired[DataCaptureConfigOutputTypeDef | None]


class VariantStatus(TypedDict):
    """ProductionVariantStatus."""

    Status: str
    StatusMessage: str
    StartTime: float


class VariantSummary(TypedDict):
    """ProductionVariantSummary; instance counts or serverless configurations."""

    VariantName: str
    DeployedImages: list[Json]
    CurrentWeight: float
    DesiredWeight: float
    CurrentInstanceCount: NotRequired[int]
    DesiredInstanceCount: NotRequired[int]
    CurrentServerlessConfig: NotRequired[ProductionVariantServerlessConfigTypeDef]
    DesiredServerlessConfig: NotRequired[ProductionVariantServerlessConfigTypeDef]
    VariantStatus: NotRequired[list[VariantStatus]]


class PendingDeployment(TypedDict):
    """PendingDeploymentSummary."""

    EndpointConfigName: str
    StartTime: float
    ProductionVariants: list[VariantSummary]


class Endpoint(TypedDict):
    EndpointName: str
    EndpointArn: str
    EndpointConfigName: str
    EndpointStatus: str
    CreationTime: float
    LastModifiedTime: float
    FailureReason: NotRequired[str]
    ProductionVariants: NotRequired[list[VariantSummary]]
    PendingDeploymentSummary: NotRequired[PendingDeployment]
    DataCaptureConfig: NotRequired[Json | None]
    LastDeploymentConfig: NotRequired[DeploymentConfigOutputTypeDef | None]
    _Variants: list[PlannedVariant]  # what was deployed whole: a server that starts again serves this
    _Deployment: str  # token of the deployment that may go on; one that was overtaken changes nothing more
    _Tags: list[TagTypeDef]


class ModelPackageGroup(TypedDict):
    ModelPackageGroupName: str
    ModelPackageGroupArn: str
    ModelPackageGroupDescription: str | None
    ModelPackageGroupStatus: str
    CreationTime: float
    CreatedBy: dict[str, str]
    _LastVersion: int
    _Tags: list[TagTypeDef]


class ModelPackage(TypedDict):
    ModelPackageGroupName: str
    ModelPackageVersion: int
    ModelPackageArn: str
    ModelPackageStatus: str
    ModelPackageStatusDetails: Json
    ModelApprovalStatus: str
    ApprovalDescription: NotRequired[str]
    ModelPackageRegistrationType: str
    InferenceSpecification: NotRequired[InferenceSpecificationOutputTypeDef]
    AdditionalInferenceSpecifications: NotRequired[list[Json]]
    CustomerMetadataProperties: NotRequired[dict[str, str] | None]
    CreationTime: float
    LastModifiedTime: float
    CreatedBy: dict[str, str]
    LastModifiedBy: NotRequired[dict[str, str]]
    _ClientToken: str | None
    _Tags: list[TagTypeDef]


TRAINING_JOB = Kind[TrainingJob]("training-job")
PROCESSING_JOB = Kind[ProcessingJob]("processing-job")
TUNING_JOB = Kind[TuningJob]("tuning-job")
PIPELINE = Kind[Pipeline]("pipeline")
START_TOKEN = Kind[StartToken]("pipeline-start-token")
EXECUTION = Kind[Execution]("pipeline-execution")
DEFINITION = Kind[ExecutionDefinition]("pipeline-execution-definition")
STEP = Kind[StepRecord]("pipeline-execution-step")
CACHE_ENTRY = Kind[CacheEntry]("pipeline-step-cache")
MODEL = Kind[Model]("model")
ENDPOINT_CONFIG = Kind[EndpointConfig]("endpoint-config")
ENDPOINT = Kind[Endpoint]("endpoint")
GROUP = Kind[ModelPackageGroup]("model-package-group")
PACKAGE = Kind[ModelPackage]("model-package")
