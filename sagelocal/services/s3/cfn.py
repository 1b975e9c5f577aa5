"""AWS::S3::Bucket and AWS::S3::BucketPolicy: the embedded S3's own buckets and settings."""

import json

from werkzeug.wrappers import Request

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.core.json import Json
from sagelocal.services.cloudformation.resource import Handler, PhysicalResource, register
from sagelocal.services.s3 import buckets, lifecycle, policies, tree, xml
from sagelocal.services.s3.documents import BUCKET_SETTING, Setting

EXPIRATION = {
    "ExpirationInDays": "Days",
    "ExpirationDate": "Date",
    "ExpiredObjectDeleteMarker": "ExpiredObjectDeleteMarker",
}
NO_REQUEST = Request({})  # the bucket functions answer HTTP requests but read nothing of these


class Bucket(Handler):
    type = "AWS::S3::Bucket"
    fixed = frozenset({"BucketName"})

    def create(self, context: Context, properties: Json, name: str) -> PhysicalResource:
        bucket = properties.get("BucketName", name.lower())
        if tree.bucket_path(context, bucket).is_dir():
            raise AwsError("AlreadyExists", f"{bucket} already exists", 409)
        buckets.create(context, bucket, NO_REQUEST)
        _keep_settings(context, bucket, properties)
        arn = f"arn:aws:s3:::{bucket}"
        return PhysicalResource(bucket, {"Arn": arn, "DomainName": f"{bucket}.s3.amazonaws.com"})

    def update(self, context: Context, made: PhysicalResource, properties: Json, before: Json) -> PhysicalResource:
        _keep_settings(context, made.physical_id, properties)
        return made

    def delete(self, context: Context, made: PhysicalResource, properties: Json) -> None:
        if tree.bucket_path(context, made.physical_id).is_dir():
            buckets.delete(context, made.physical_id, NO_REQUEST)


class BucketPolicy(Handler):
    type = "AWS::S3::BucketPolicy"
    fixed = frozenset({"Bucket"})

    def create(self, context: Context, properties: Json, name: str) -> PhysicalResource:
        bucket = properties["Bucket"]
        tree.existing_bucket(context, bucket)
        text = json.dumps(properties["PolicyDocument"])
        policies.check(bucket, text)
        context.store.put(BUCKET_SETTING, f"{bucket}?policy", Setting(text=text))
        return PhysicalResource(bucket)

    def update(self, context: Context, made: PhysicalResource, properties: Json, before: Json) -> PhysicalResource:
        return self.create(context, properties, "")

    def delete(self, context: Context, made: PhysicalResource, properties: Json) -> None:
        context.store.delete(BUCKET_SETTING, f"{made.physical_id}?policy")


def _keep_settings(context: Context, bucket: str, properties: Json) -> None:
    """The settings as GetBucket<Setting> answers them. This S3 has no versions: versioning stays in the stack."""
    documents = {
        "publicAccessBlock": ("PublicAccessBlockConfiguration", properties.get("PublicAccessBlockConfiguration")),
        "ownershipControls": ("OwnershipControls", _ownership(properties.get("OwnershipControls"))),
        "encryption": ("ServerSideEncryptionConfiguration", _encryption(properties.get("BucketEncryption"))),
        "notification": ("NotificationConfiguration", _notification(properties.get("NotificationConfiguration"))),
        "lifecycle": ("LifecycleConfiguration", _lifecycle(properties.get("LifecycleConfiguration"))),
    }
    for setting, (root, content) in documents.items():
        if content:
            if setting == "lifecycle":
                lifecycle.rules(xml.parse(xml.document(root, content).encode()))
            context.store.put(BUCKET_SETTING, f"{bucket}?{setting}", Setting(text=xml.document(root, content)))
        else:
            context.store.delete(BUCKET_SETTING, f"{bucket}?{setting}")


def _ownership(controls: Json | None) -> Json | None:
    return {"Rule": controls["Rules"]} if controls else None


def _notification(notification: Json | None) -> Json | None:
    """Events go to EventBridge or nowhere: this S3 has no other destinations."""
    bridge = (notification or {}).get("EventBridgeConfiguration")
    if bridge is None or str(bridge.get("EventBridgeEnabled", True)).lower() != "true":
        return None
    return {"EventBridgeConfiguration": {}}


def _encryption(encryption: Json | None) -> Json | None:
    if not encryption:
        return None
    rules = [
        {
            "ApplyServerSideEncryptionByDefault": rule.get("ServerSideEncryptionByDefault"),
            "BucketKeyEnabled": rule.get("BucketKeyEnabled"),
        }
        for rule in encryption["ServerSideEncryptionConfiguration"]
    ]
    return {"Rule": rules}


def _lifecycle(lifecycle: Json | None) -> Json | None:
    if not lifecycle:
        return None
    return {"Rule": [_lifecycle_rule(rule) for rule in lifecycle["Rules"]]}


def _lifecycle_rule(rule: Json) -> Json:
    """A rule as PutBucketLifecycleConfiguration has it; where CloudFormation has no other name, members stay."""
    tags = [{"Key": tag["Key"], "Value": tag["Value"]} for tag in rule.get("TagFilters", [])]
    sizes: Json = {name: rule[name] for name in ("ObjectSizeGreaterThan", "ObjectSizeLessThan") if name in rule}
    conditions: Json = {"Prefix": rule.get("Prefix", ""), "Tag": tags, **sizes}
    said: Json = {"ID": rule.get("Id"), "Status": rule["Status"]}
    said["Filter"] = {"And": conditions} if tags or sizes else {"Prefix": rule.get("Prefix", "")}
    expiration = {name: rule[member] for member, name in EXPIRATION.items() if member in rule}
    said["Expiration"] = expiration or None
    if "NoncurrentVersionExpirationInDays" in rule:
        said["NoncurrentVersionExpiration"] = {"NoncurrentDays": rule["NoncurrentVersionExpirationInDays"]}
    for member, value in rule.items():
        if member in lifecycle.ACTIONS or "Transition" in member:
            said[member.removesuffix("s")] = value
    return said


register(Bucket(), BucketPolicy())
