"""Buckets and their settings. Settings are kept as they were sent; what this S3 cannot honour it refuses to keep."""

from werkzeug.wrappers import Request, Response

from sagelocal.core.context import Context
from sagelocal.core.errors import AwsError
from sagelocal.services.s3 import lifecycle, policies, tree, xml
from sagelocal.services.s3.documents import BUCKET_SETTING, Setting

# What GetBucket<Setting> answers while nothing is set: an error code, or a document.
UNSET = {
    "tagging": "NoSuchTagSet",
    "policy": "NoSuchBucketPolicy",
    "lifecycle": "NoSuchLifecycleConfiguration",
    "cors": "NoSuchCORSConfiguration",
    "website": "NoSuchWebsiteConfiguration",
    "publicAccessBlock": "NoSuchPublicAccessBlockConfiguration",
    "ownershipControls": "OwnershipControlsNotFoundError",
    "versioning": xml.document("VersioningConfiguration", {}),
    "notification": xml.document("NotificationConfiguration", {}),
    "logging": xml.document("BucketLoggingStatus", {}),
    "encryption": xml.document(
        "ServerSideEncryptionConfiguration",
        {"Rule": {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}},
    ),
}


def list_all(context: Context, request: Request) -> Response:
    named = ((name, xml.time_text(_created(context, name))) for name in tree.buckets(context))
    buckets = [{"Name": name, "CreationDate": created} for name, created in named]
    owner = {"ID": context.account, "DisplayName": "embedded"}
    return xml.answer("ListAllMyBucketsResult", {"Owner": owner, "Buckets": {"Bucket": buckets}})


def create(context: Context, bucket: str, request: Request) -> Response:
    path = tree.bucket_path(context, bucket)
    with tree.changing(context):
        if path.is_dir() and context.region != "us-east-1":
            message = "Your previous request to create the named bucket succeeded and you already own it."
            raise AwsError("BucketAlreadyOwnedByYou", message, 409)
        tree.create_bucket(context, bucket)
        if context.store.get(BUCKET_SETTING, f"{bucket}?created") is None:
            context.store.put(BUCKET_SETTING, f"{bucket}?created", Setting(seconds=path.stat().st_ctime))
    return Response(headers={"Location": f"/{bucket}"})


def head(context: Context, bucket: str, request: Request) -> Response:
    tree.existing_bucket(context, bucket)
    return Response(headers={"x-amz-bucket-region": context.region}, content_type="application/xml")


def delete(context: Context, bucket: str, request: Request) -> Response:
    with tree.changing(context):
        tree.remove_bucket(context, bucket)
        with context.store.transaction():
            for setting in (*UNSET, "created"):
                context.store.delete(BUCKET_SETTING, f"{bucket}?{setting}")
    return Response(status=204)


def location(context: Context, bucket: str, request: Request) -> Response:
    tree.existing_bucket(context, bucket)
    region = "" if context.region == "us-east-1" else context.region
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<LocationConstraint xmlns="{xml.NAMESPACE}">{region}'
    return Response(f"{text}</LocationConstraint>", content_type="application/xml")


def acl(context: Context, bucket: str, request: Request) -> Response:
    """One owner with full control; other access control lists are accepted and mean nothing here."""
    owner = {"ID": context.account, "DisplayName": "embedded"}
    grant = {"Grantee": owner, "Permission": "FULL_CONTROL"}
    return xml.answer("AccessControlPolicy", {"Owner": owner, "AccessControlList": {"Grant": grant}})


def get_setting(context: Context, bucket: str, setting: str, request: Request) -> Response:
    tree.existing_bucket(context, bucket)
    kept = context.store.get(BUCKET_SETTING, f"{bucket}?{setting}")
    text = kept["text"] if kept else UNSET[setting]
    if not kept and not text.startswith("<"):
        raise AwsError(text, f"The {setting} configuration does not exist for bucket {bucket}", 404)
    return Response(text, content_type="application/json" if setting == "policy" else "application/xml")


def put_setting(context: Context, bucket: str, setting: str, request: Request) -> Response:
    tree.existing_bucket(context, bucket)
    text = request.get_data(as_text=True)
    if setting == "policy":
        policies.check(bucket, text)
    else:
        document = xml.parse(text.encode())
        if setting == "versioning" and document.findtext("Status") == "Enabled":
            raise AwsError("NotImplemented", "The embedded S3 keeps one version of each object.", 501)
        if setting == "lifecycle":
            lifecycle.rules(document)
    context.store.put(BUCKET_SETTING, f"{bucket}?{setting}", Setting(text=text))
    return Response(status=204 if setting in ("policy", "tagging") else 200)


def delete_setting(context: Context, bucket: str, setting: str, request: Request) -> Response:
    tree.existing_bucket(context, bucket)
    context.store.delete(BUCKET_SETTING, f"{bucket}?{setting}")
    return Response(status=204)


def _created(context: Context, bucket: str) -> float:
    noted = context.store.get(BUCKET_SETTING, f"{bucket}?created")
    return noted["seconds"] if noted else tree.bucket_path(context, bucket).stat().st_ctime
