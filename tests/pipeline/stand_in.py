"""A small endpoint that somebody deployed: a script in place of a trained classifier."""

from pipeline.cloud import Cloud
from tests.sagelocal.endpoint_account import IMAGE, archive
from tests.waiting import ended


def deploy(
    cloud: Cloud, name: str, script: str, *, instance_type: str = "ml.m5.large", count: int = 1, wait: bool = True
) -> str:
    """`script` serves on SAGEMAKER_BIND_TO_PORT. Returns the endpoint's name, in service unless told not to `wait`."""
    cloud.client("s3").create_bucket(Bucket="models")
    cloud.client("s3").put_object(Bucket="models", Key=f"{name}.tar.gz", Body=archive("1", script))
    sagemaker = cloud.client("sagemaker")
    sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn="arn:aws:iam::123456789012:role/model",
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"s3://models/{name}.tar.gz"},
    )
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InitialInstanceCount": count}
    sagemaker.create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=[{**variant, "InstanceType": instance_type}]
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    if wait:
        ended(lambda: sagemaker.describe_endpoint(EndpointName=name), "EndpointStatus")
    return name
