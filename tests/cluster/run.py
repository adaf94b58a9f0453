"""Run the tests of any cluster: ``make test-cluster``.

KUBECONFIG names the cluster, REGISTRY the folder of the images. Exit codes: 2 without a cluster, else pytest's.
"""

import os
import signal
import sys
from pathlib import Path

_NEEDS = (
    "make test-cluster needs KUBECONFIG, the path of a configuration of kubectl for a Kubernetes cluster of 1.30 or "
    "newer whose nodes can pull the images REGISTRY/pipeline and REGISTRY/serving (make images), with rights to create "
    "namespaces"
)


def main() -> int:
    """Check that there is a cluster, then run the tests; SIGTERM removes everything as Ctrl-C does."""
    path = os.environ.get("KUBECONFIG", "")
    if not path:
        print(f"{_NEEDS}: it is not set", file=sys.stderr)
        return 2
    import pytest
    from kubernetes import client, config
    from urllib3.exceptions import HTTPError

    try:
        api = config.new_client_from_config(path)
        client.VersionApi(api).get_code(_request_timeout=(5, 10))
    except (config.ConfigException, client.ApiException, HTTPError, OSError) as error:
        reason = " ".join(str(getattr(error, "reason", None) or error).split())
        print(f"{_NEEDS}: {path} does not lead to one ({reason})", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Without the fixtures of the other tests, which remove the user's settings and start a store.
    folder = str(Path(__file__).parent)
    options = ["-m", "cluster", "-p", "no:xdist", "-rs", "-v", "--timeout=0", f"--confcutdir={folder}"]
    return int(pytest.main([*options, *sys.argv[1:], folder]))


if __name__ == "__main__":
    sys.exit(main())
