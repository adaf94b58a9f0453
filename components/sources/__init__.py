"""Data and bundles by URI or model reference: fetching to local disk, and versions that change with the content."""

from textgate.components.sources.cache import fetch_verified
from textgate.components.sources.downloads import default_downloads
from textgate.components.sources.feedback import with_bucket
from textgate.components.sources.hub import HubDataset, fetch_hub_bundle, parse_hub_uri
from textgate.components.sources.references import (
    download_version,
    fetch_bundle,
    is_local,
    is_mutable,
    is_path,
    resolve_ref,
)
from textgate.components.sources.s3_objects import list_s3_files
from textgate.components.sources.schemes import content_version, fetch
from textgate.components.sources.source_urls import SOURCE_URLS, SourceUrls
from textgate.components.sources.source_version import is_version_of, joined, pinned, source_version

__all__ = [
    "SOURCE_URLS",
    "HubDataset",
    "SourceUrls",
    "content_version",
    "default_downloads",
    "download_version",
    "fetch",
    "fetch_bundle",
    "fetch_hub_bundle",
    "fetch_verified",
    "is_local",
    "is_mutable",
    "is_path",
    "is_version_of",
    "joined",
    "list_s3_files",
    "parse_hub_uri",
    "pinned",
    "resolve_ref",
    "source_version",
    "with_bucket",
]
