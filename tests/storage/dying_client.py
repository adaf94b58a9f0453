"""S3 client of a process that is killed."""

from typing import Any


class DiesBeforeWrite:
    """S3 client that raises KeyboardInterrupt before its n-th write, as if the process had been killed."""

    def __init__(self, client: Any, writes: int) -> None:
        self._client, self._writes = client, writes

    def __getattr__(self, name: str) -> Any:
        if name == "put_object":
            if self._writes == 0:
                raise KeyboardInterrupt
            self._writes -= 1
        return getattr(self._client, name)
