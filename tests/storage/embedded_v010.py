"""Start of an embedded store as textgate 0.1.0 did it: absolute paths, no id, no certificate."""

import json
import secrets
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from textgate.components.storage.embedded_server import SERVICES, _binary
from textgate.components.storage.ports import find_free_ports


def launch_v010(folder: Path) -> tuple[int, dict[str, str]]:
    """Start a server in a new folder; return its process id and its S3 keys as soon as it answers."""
    (folder / "data").mkdir(parents=True)
    folder.chmod(0o700)
    keys = {"accessKey": secrets.token_hex(10), "secretKey": secrets.token_hex(20)}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identity = {"name": "textgate", "credentials": [keys], "actions": actions}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    sections = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
    signing = (f'[{section}]\nkey = "{secrets.token_hex(32)}"\nexpires_after_seconds = 60\n' for section in sections)
    (folder / "security.toml").write_text("\n".join(signing))
    ports = find_free_ports(SERVICES)
    arguments = [
        *("-logtostderr=true", "mini", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *(f"-s3.config={folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false"),
        *("-admin.ui=false", "-master.telemetry=false", "-s3.autoCreateBucket=false", "-disableHttp=true"),
        *("-s3.allowDeleteBucketNotEmpty=false", "-volume.max=1000"),
        *(f"-{name}.port={port}" for name, port in ports.items()),
    ]
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(
            [_binary(), *arguments], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    (folder / "state.json").write_text(json.dumps({"pid": process.pid, "ports": ports}))
    while not _answers(ports["s3"]):
        time.sleep(0.05)
    return process.pid, keys


def _answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=1)
    except urllib.error.URLError:
        return False
    return True
