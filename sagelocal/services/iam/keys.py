"""Condition keys: which of them requests have here, and which no request of this account can have.

Sources: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html and, for those of
services, the service authorization reference.
"""

from sagelocal.services.iam.conditions import Condition

# Those that enforcement.py, permissions.py and ../s3/permissions.py give; one that ends in "/" stands for any tag.
GIVEN = {
    *("aws:principalarn", "aws:principalaccount", "aws:principaltype", "aws:userid", "aws:resourceaccount"),
    *("aws:viaawsservice", "aws:requestedregion", "aws:securetransport", "aws:sourceip", "aws:epochtime"),
    *("aws:currenttime", "aws:sourcearn", "aws:sourceaccount", "aws:principaltag/", "aws:requesttag/", "aws:tagkeys"),
    *("aws:sourceidentity", "aws:referer", "aws:useragent", "aws:principalisawsservice"),
    *("sts:externalid", "sts:rolesessionname", "sts:sourceidentity"),
    *("iam:passedtoservice", "iam:associatedresourcearn", "iam:awsservicename", "iam:policyarn"),
    *(
        "iam:permissionsboundary",
        "iam:resourcetag/",
        "aws:resourcetag/",
        "sagemaker:resourcetag/",
        "lambda:resourcetag/",
    ),
    *("s3:prefix", "s3:delimiter", "s3:max-keys", "s3:x-amz-acl", "s3:x-amz-server-side-encryption"),
    *("s3:x-amz-server-side-encryption-aws-kms-key-id", "s3:x-amz-copy-source", "s3:x-amz-metadata-directive"),
    *("s3:x-amz-storage-class", "s3:x-amz-content-sha256", "s3:resourceaccount"),
    *("s3:requestobjecttag/", "s3:requestobjecttagkeys"),
    *("lambda:functionurlauthtype", "lambda:invokedviafunctionurl", "cloudwatch:namespace"),
    *("application-autoscaling:service-namespace", "application-autoscaling:scalable-dimension"),
}
# An account without organization, VPC endpoints, MFA devices, users and federation has none of these on AWS either.
ABSENT = {
    *("aws:principalorgid", "aws:principalorgpaths", "aws:resourceorgid", "aws:resourceorgpaths", "aws:sourceorgid"),
    *("aws:sourceorgpaths", "aws:sourcevpc", "aws:sourcevpce", "aws:sourcevpcarn", "aws:vpcsourceip"),
    *("aws:vpceaccount", "aws:vpceorgid", "aws:vpceorgpaths", "aws:multifactorauthage"),
    *("aws:multifactorauthpresent", "aws:federatedprovider", "aws:username", "aws:calledvia", "aws:calledviafirst"),
    *("aws:calledvialast", "aws:assumedroot", "aws:ec2instancesourcevpc", "aws:ec2instancesourceprivateipv4"),
    *(
        "aws:principalservicename",
        "aws:principalservicenameslist",
        "sts:transitivetagkeys",
        "aws:chatbotsourcearn",
        "aws:signintsessionarn",
        "ec2:sourceinstancearn",
    ),
    *("lambda:eventsourcetoken", "lambda:sourcefunctionarn", "ec2:roledelivery", "s3:versionid"),
    *("s3:dataaccesspointarn", "s3:dataaccesspointaccount", "s3:accesspointnetworkorigin"),
}
SERVICES = {  # those that are run here
    *("aws", "s3", "sagemaker", "lambda", "iam", "sts", "logs", "events", "scheduler", "cloudwatch"),
    *("application-autoscaling", "cloudformation"),
}


def is_evaluated(key: str) -> bool:
    """Whether the decision on a key (in lower case) is AWS's."""
    family = key.partition("/")[0] + "/" if "/" in key else key
    return key in GIVEN or family in GIVEN or key in ABSENT


def refusal(condition: Condition, allows: bool) -> str:
    """Why a condition cannot be kept; "" where it can.

    One on a key of a service that is only recorded here may make an Allow not hold, and nothing else.
    """
    key = condition.key
    if ":" not in key:
        return f"Actions/Conditions must be prefaced by a vendor, e.g., iam or s3, not {condition.written_key!r}."
    if is_evaluated(key):
        return ""
    if key.partition(":")[0] in SERVICES:
        return f"The condition key {condition.written_key} is not evaluated here."
    if allows and not condition.holds_without:
        return ""
    said = f"The condition key {condition.written_key} is not evaluated here"
    return f"{said}, so the statement would apply to other requests than on AWS."
