"""Tags of SageMaker's resources."""

import pytest

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError

ARN = "arn:aws:sagemaker:us-east-1:123456789012:model-package-group/Dogs"


@pytest.fixture
def group(context: Context) -> Context:
    tags = [{"Key": "team", "Value": "dogs"}]
    context.call("sagemaker", "CreateModelPackageGroup", ModelPackageGroupName="Dogs", Tags=tags)
    return context


def tags(context: Context, arn: str = ARN) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in context.call("sagemaker", "ListTags", ResourceArn=arn)["Tags"]}


def test_tags_given_at_creation_are_listed_also_by_an_arn_in_lower_case(group):
    assert tags(group) == tags(group, ARN.lower()) == {"team": "dogs"}


def test_a_tag_that_is_there_gets_the_new_value_and_others_stay(group):
    new = [{"Key": "team", "Value": "cats"}, {"Key": "deploy:config", "Value": "a=28b"}]
    group.call("sagemaker", "AddTags", ResourceArn=ARN, Tags=new)
    assert tags(group) == {"team": "cats", "deploy:config": "a=28b"}
    group.call("sagemaker", "DeleteTags", ResourceArn=ARN, TagKeys=["team", "none"])
    assert tags(group) == {"deploy:config": "a=28b"}


@pytest.mark.parametrize(
    "arn, new, words",
    [
        (ARN.replace("Dogs", "cats"), [{"Key": "a", "Value": "b"}], "Could not find"),
        (ARN, [{"Key": "aws:a", "Value": "b"}], "reserved"),
        (ARN, [{"Key": f"k{n}", "Value": ""} for n in range(50)], "at most 50"),
    ],
)
def test_what_cannot_be_tagged_is_refused(group, arn, new, words):
    with pytest.raises(AwsError, match=words):
        group.call("sagemaker", "AddTags", ResourceArn=arn, Tags=new)
    assert tags(group) == {"team": "dogs"}
