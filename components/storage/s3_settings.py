"""boto3's settings of the S3 store, and the client that is made of them."""

import os
from contextlib import suppress
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from textgate.components.contracts import InputError

ROLE_VARIABLES = {
    "AWS_ACCESS_KEY_ID": "TEXTGATE_S3_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY": "TEXTGATE_S3_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN": "TEXTGATE_S3_SESSION_TOKEN",
}
"""Variable with the key of a pipeline step's role (see ``access``), by the name of boto3's variable.

They have names of their own because Argo merges two variables of one name into one. The step's key is used before any
that boto3 finds, which is how a step without a role's Secret falls back to the Secret for everything.
"""


def endpoint() -> str | None:
    """Return the S3 endpoint of the environment or of the profile in boto3's configuration file, or None.

    Raises:
        InputError: AWS_PROFILE names a profile that does not exist, or the configuration file is malformed.
    """
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    environment = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if environment:
        return environment
    try:
        session = Session()
        profile = session.get_scoped_config()
        if session.get_config_variable("ignore_configured_endpoint_urls"):
            return None
        services = session.full_config.get("services", {}).get(profile.get("services"), {})
    except BotoCoreError as error:
        raise InputError(f"the AWS configuration cannot be used: {error}") from error
    return services.get("s3", {}).get("endpoint_url") or profile.get("endpoint_url") or None


def aws_variables() -> dict[str, str]:
    """Return the settings of boto3's configuration files as variables, for a process that cannot read the files.

    Raises:
        InputError: See ``endpoint``, or the credentials cannot be loaded.
    """
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    session, address = Session(), endpoint()
    try:
        credentials = session.get_credentials()
        keys = credentials.get_frozen_credentials() if credentials else None
        values = {
            "AWS_ENDPOINT_URL_S3": address,
            "AWS_REGION": os.environ.get("AWS_REGION") or session.get_config_variable("region"),
            "AWS_ACCESS_KEY_ID": keys and keys.access_key,
            "AWS_SECRET_ACCESS_KEY": keys and keys.secret_key,
            "AWS_SESSION_TOKEN": keys and keys.token,
        }
    except BotoCoreError as error:
        raise InputError(f"the AWS credentials cannot be loaded: {error}") from error
    return {name: value for name, value in values.items() if value}


def new_client(patience: float) -> Any:
    """Return an S3 client of boto3 for the key of the step's role, or else the credentials that boto3 finds.

    Addresses are path-style unless the profile sets ``addressing_style``; the region is us-east-1 unless one is set. A
    store on this machine is not reached through a proxy. The client sends each request once: ``retries`` repeats it.

    Args:
        patience: Seconds after which a request is given up; the client waits no longer for one answer.

    Raises:
        InputError: The settings are malformed.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    address = endpoint()
    config = Config(
        # None is the environment's.
        proxies={} if _is_loopback(address) else None,
        connect_timeout=min(5.0, patience),
        read_timeout=min(20.0, patience),
        retries={"mode": "standard", "total_max_attempts": 1},
        # Not every store supports these; ``Store`` sends the older Content-MD5, and reads its own sha256.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    # Not the default session, which keeps the first credentials it has read.
    try:
        settings = Session()
        s3 = settings.get_scoped_config().get("s3")
        style = s3.get("addressing_style") if isinstance(s3, dict) else None
        config = config.merge(Config(s3={"addressing_style": style or "path"}))
        session = boto3.session.Session(botocore_session=settings)
        region = os.environ.get("AWS_REGION") or session.region_name or "us-east-1"
        key = {name.lower(): os.environ.get(variable) or None for name, variable in ROLE_VARIABLES.items()}
        return session.client("s3", endpoint_url=address, region_name=region, config=config, **key)
    except (ValueError, BotoCoreError) as error:
        raise InputError(
            f"the AWS settings of the environment name no S3 store: {error} (an endpoint is http://host:port)"
        ) from error


def _is_loopback(url: str | None) -> bool:
    with suppress(ValueError):
        host = urlsplit(url or "").hostname
        return host == "localhost" or ip_address(host or "").is_loopback
    return False
