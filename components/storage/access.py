"""Roles: what each part of a deployment may do with which keys of the bucket.

One table, ``ROLES``, from which everything else is derived: the policy documents (``policy``, ``seaweedfs_config``),
the Secrets of the pods (``pipelines/pods.py``), and the errors about refused requests (``roles_that_may``).

Steps that are not named hold no key: artifacts are read and written by the launcher of Kubeflow Pipelines.

The policies are IAM policies (AWS IAM user guide, "Policies and permissions in Amazon S3"), which MinIO and SeaweedFS
read as well. Every listing has a prefix (condition key ``s3:prefix``), so no role sees the names of the other keys.
"""

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple

Role = Literal["data", "train", "gate", "promote", "endpoint", "retrain", "gc", "launcher"]
Operation = Literal["list", "read", "write", "delete"]


class Rights(NamedTuple):
    """Rights of a role: keys of the bucket, or prefixes with a final slash; ``*`` stands for any text."""

    purpose: str
    """Holder of the role's key."""
    reads: tuple[str, ...] = ()
    """What is read and listed."""
    lists: tuple[str, ...] = ()
    """What is listed only."""
    writes: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()
    reads_sources: bool = False
    """Whether the data of the sources is read and listed, too."""
    aborts_uploads: bool = False
    """Whether incomplete uploads of the bucket are listed and aborted."""

    def patterns(self, operation: Operation) -> list[str]:
        """Return the keys of an operation as patterns; without those of the sources."""
        keys = {
            "list": (*self.reads, *self.lists),
            "read": self.reads,
            "write": self.writes,
            "delete": self.deletes,
        }
        return [f"{key}*" if key.endswith("/") else key for key in keys[operation]]


_TRAINING = ("checkpoints/", "nodes/")
_LOGS = ("feedback/", "predictions/")

ROLES: dict[Role, Rights] = {
    "data": Rights(
        "configure, ingest, and other steps that read s3:// or feedback://",
        reads=_LOGS,
        writes=("runs/*/configuration.json",),
        reads_sources=True,
    ),
    "train": Rights(
        "train, the pods of its TrainJob, and the systems of a comparison",
        reads=("models/", *_TRAINING),
        writes=_TRAINING,
        deletes=_TRAINING,
        reads_sources=True,
    ),
    "gate": Rights("both gates and record", reads=("models/", "judgements/", "runs/"), writes=("judgements/", "runs/")),
    "promote": Rights(
        "promote",
        reads=("models/", "removing/"),
        writes=("models/", "claims/", "runs/*/promotion.json"),
        deletes=("removing/",),
    ),
    "endpoint": Rights("the server, vLLM's and KServe's download", reads=("models/",), writes=_LOGS),
    "retrain": Rights(
        "the CronJob textgate-retrain",
        reads=("models/", "runs/", "retrain/", *_LOGS),
        writes=("retrain/",),
        reads_sources=True,
    ),
    "gc": Rights(
        "the CronJob textgate-gc",
        reads=("models/", "removing/"),
        lists=("runs/", "claims/", *_TRAINING),
        writes=("models/*/removals/", "removing/"),
        deletes=("models/*/versions/", "models/*/costs/", "runs/", "claims/", "removing/", *_TRAINING),
        aborts_uploads=True,
    ),
    "launcher": Rights("the launcher of Kubeflow Pipelines", reads=("pipelines/",), writes=("pipelines/",)),
}
"""Rights by role."""


class SourceFolder(NamedTuple):
    """Folder with the data of sources."""

    bucket: str
    prefix: str
    """Prefix of its keys; empty for the complete bucket."""


def policy(role: Role, bucket: str, sources: Sequence[SourceFolder] = ()) -> dict[str, Any]:
    """Return the IAM policy of a role for AWS, MinIO and SeaweedFS.

    Args:
        role: Role.
        bucket: Bucket of the store.
        sources: Folders with the data of sources.
    """
    rights = ROLES[role]
    folders = sources if rights.reads_sources else ()
    objects = {operation: [f"{bucket}/{key}" for key in rights.patterns(operation)] for operation in _ACTIONS}
    objects["read"] += [f"{folder.bucket}/{folder.prefix}*" for folder in folders]
    listed: dict[str, list[str]] = {bucket: rights.patterns("list")}
    for folder in folders:
        listed.setdefault(folder.bucket, []).append(f"{folder.prefix}*")
    statements = [
        {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [_arn(name)], "Condition": _with_prefix(prefixes)}
        for name, prefixes in listed.items()
        if prefixes
    ]
    statements += [
        {"Effect": "Allow", "Action": _ACTIONS[operation], "Resource": [_arn(key) for key in keys]}
        for operation, keys in objects.items()
        if keys
    ]
    if rights.aborts_uploads:
        aborted = ["s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"]
        statements += [
            {"Effect": "Allow", "Action": ["s3:ListBucketMultipartUploads"], "Resource": [_arn(bucket)]},
            {"Effect": "Allow", "Action": aborted, "Resource": [_arn(f"{bucket}/*")]},
        ]
    return {"Version": "2012-10-17", "Statement": statements}


def seaweedfs_config(
    keys: dict[Role, tuple[str, str]], bucket: str, sources: Sequence[SourceFolder] = ()
) -> dict[str, Any]:
    """Return the configuration of SeaweedFS (``weed s3 -config``) with an identity and a policy for each role.

    Args:
        keys: Access key and secret key by role.
        bucket: Bucket of the store.
        sources: Folders with the data of sources.
    """
    return {
        "identities": [
            {
                "name": f"textgate-{role}",
                "credentials": [{"accessKey": access, "secretKey": secret}],
                "policyNames": [f"textgate-{role}"],
            }
            for role, (access, secret) in keys.items()
        ],
        "policies": [
            {"name": f"textgate-{role}", "content": json.dumps(policy(role, bucket, sources))} for role in keys
        ],
    }


def roles_that_may(operation: Operation, key: str) -> list[Role]:
    """Return the roles that may do something with a key; those that read sources are not known here."""
    return [
        role
        for role, rights in ROLES.items()
        if any(fnmatchcase(key, pattern) for pattern in rights.patterns(operation))
    ]


_ACTIONS: dict[Operation, list[str]] = {
    "read": ["s3:GetObject"],
    "write": ["s3:PutObject", "s3:AbortMultipartUpload"],
    "delete": ["s3:DeleteObject"],
}


def _arn(resource: str) -> str:
    return f"arn:aws:s3:::{resource}"


def _with_prefix(patterns: list[str]) -> dict[str, Any]:
    return {"StringLike": {"s3:prefix": patterns}}
