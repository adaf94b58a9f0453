"""Naming rule for models, shared by recipes and the registry."""

import re

MODEL_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""1 to 63 lower-case letters, digits and inner hyphens, so that a name is valid in S3 keys and in Kubernetes."""
