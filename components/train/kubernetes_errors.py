"""One sentence for each request that the Kubernetes API refuses or does not answer.

``RIGHTS`` are the permissions that a training on several machines needs; ``api_errors`` wraps a request that needs one.
Status codes and bodies: kubernetes.io/docs/reference/kubernetes-api/common-definitions/status.
"""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from textgate.components.contracts import InputError
from textgate.components.train.trainjob_manifest import API

REQUEST_SECONDS = 60
"""Timeout of a request."""
_ROLE = "textgate-train of k8s/base/accounts.yaml"
_DENIED = re.compile(r'User "([^"]*)" cannot ')
"""Beginning of what RBAC says of a request; other 403s come from admission (kubernetes/apiserver, responsewriters)."""


@dataclass(frozen=True)
class Right:
    """Permission of RBAC: a verb on a resource of an API group."""

    verb: str
    group: str
    """API group; empty for the core group."""
    resource: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}.{self.group}" if self.group else f"{self.verb} {self.resource}"

    @property
    def rule(self) -> str:
        """Rule of a Role that grants it."""
        return f'{{apiGroups: ["{self.group}"], resources: ["{self.resource}"], verbs: ["{self.verb}"]}}'


CREATE_JOB, GET_JOB, DELETE_JOB = (Right(verb, API["group"], API["plural"]) for verb in ("create", "get", "delete"))
GET_POD, LIST_PODS, GET_LOG = Right("get", "", "pods"), Right("list", "", "pods"), Right("get", "", "pods/log")
RIGHTS = (CREATE_JOB, GET_JOB, DELETE_JOB, GET_POD, LIST_PODS, GET_LOG)


class KubernetesError(InputError):
    """Request that the Kubernetes API refused or did not answer."""

    def __init__(self, message: str, status: int | None, *, sent: bool = True) -> None:
        """Create the error.

        Args:
            message: Sentence for the user.
            status: HTTP status of the answer; None without an answer.
            sent: Whether the request may have reached the server.
        """
        super().__init__(message)
        self.status = status
        self._sent = sent

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status is None or self.status == 429 or self.status >= 500

    @property
    def may_have_taken_effect(self) -> bool:
        """Whether the server may have done what it was asked: the answer is missing, or is an error of the server."""
        return self.status >= 500 if self.status else self._sent


@contextmanager
def api_errors(right: Right, name: str, namespace: str, account: str) -> Iterator[None]:
    """Raise KubernetesError in place of the errors of the Kubernetes client.

    Args:
        right: Permission that the request in the body needs.
        name: Name of the object; empty for a list.
        namespace: Namespace of the object.
        account: Name of the account that makes the request, as ``account_of`` returns it.
    """
    from kubernetes.client import ApiException
    from urllib3.exceptions import (
        ConnectTimeoutError,
        HTTPError,
        MaxRetryError,
        NewConnectionError,
        ProxyError,
        SSLError,
    )

    target = f"{right}{f' {name}' if name else ''} in the namespace {namespace}"
    try:
        yield
    except ApiException as error:
        if not error.status:  # the client's word for a failed TLS handshake
            reason = " ".join(str(error.reason).split())
            sentence = f"{account} cannot {target}: the cluster's API cannot be reached ({reason})"
            raise KubernetesError(sentence, None, sent=False) from error
        status = _status(error.body)
        message = str(status.get("message") or " ".join(str(error.reason).split()))
        if denied := _DENIED.search(message) if error.status == 403 else None:
            raise KubernetesError(
                f"{_account_of_user(denied[1])} may not {target}: bind a Role with the rule {right.rule} to it, "
                f"such as {_ROLE} ({message})",
                403,
            ) from error
        sentence = f"{account} cannot {target}: {_reason(error.status, right, status, message)}"
        raise KubernetesError(sentence, error.status) from error
    except HTTPError as error:
        cause = error.reason if isinstance(error, MaxRetryError) and error.reason else error
        sent = not isinstance(cause, NewConnectionError | ConnectTimeoutError | ProxyError | SSLError)
        reason = " ".join(str(cause).split())
        sentence = f"{account} cannot {target}: the cluster's API cannot be reached or does not answer ({reason})"
        raise KubernetesError(sentence, None, sent=sent) from error


def _reason(code: int, right: Right, status: dict[str, Any], message: str) -> str:
    """Return why Kubernetes refused a request, and what would be right.

    Args:
        code: HTTP status.
        right: Permission that the request needed.
        status: Body, an object of kind Status; empty if it is something else.
        message: Message of the body, or the HTTP reason.
    """
    # An error about an object names its kind; a route that does not exist, as without the CRD, has no such details.
    kind = status.get("details", {}).get("kind")
    if code == 401:
        return f"Kubernetes does not accept its token ({message})"
    if code == 403:
        return f"the cluster does not admit it ({message})"
    if code == 404 and kind is None and right.group == API["group"]:
        return (
            f"the cluster has no Kubeflow Trainer 2.2 or newer, which brings {right.resource}.{right.group} ({message})"
        )
    if code == 404:
        return f"there is no such object ({message})"
    if code == 409:
        return f"it conflicts with another object ({message})"
    return f"Kubernetes answered {code} ({message})"


def _status(body: Any) -> dict[str, Any]:
    """Return the Status object in the body of an answer; empty if it is none, as from a proxy."""
    try:
        status = json.loads(body)
    except (TypeError, ValueError):
        return {}
    return status if isinstance(status, dict) and status.get("kind") == "Status" else {}


def account_of(token: str) -> str:
    """Return the name of the account that a bearer token belongs to.

    Args:
        token: Value of the header ``Authorization``; a service account's token is a JWT (RFC 7519) with the user as
            ``sub``. Its signature is not verified: the name only goes into sentences.
    """
    try:
        payload = token.split()[-1].split(".")[1]
        user = json.loads(base64.urlsafe_b64decode(f"{payload}==="))["sub"]
    except (IndexError, KeyError, TypeError, ValueError):
        return "the user of KUBECONFIG"
    return _account_of_user(str(user))


def _account_of_user(user: str) -> str:
    """Return "the service account NAMESPACE/NAME" or "the user NAME"."""
    account = user.removeprefix("system:serviceaccount:")
    return f"the user {user}" if account == user else f"the service account {account.replace(':', '/', 1)}"
