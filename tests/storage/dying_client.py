"""S3 client of a process that is killed."""

from typing import Any


class DiesBeforeWrite:
    """S3 client that raises KeyboardInterrupt before its n-th write, as if the process had been killed.

    Claims do not count: only ``textgate gc`` reads them.
    """

    def __init__(self, client: Any, writes: int) -> None:
        self._client, self._writes = client, writes

    def __getattr__(self, name: str) -> Any:
        return self._put_object if name == "put_object" else getattr(self._client, name)

    def _put_object(self, **arguments: Any) -> Any:
        if not arguments["Key"].startswith("claims/"):
            if self._writes == 0:
                raise KeyboardInterrupt
            self._writes -= 1
        return self._client.put_object(**arguments)
