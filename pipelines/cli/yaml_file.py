"""Type of options that name a YAML file to write."""

from pathlib import Path
from typing import Any

import click


class YamlFile(click.Path):
    """Path of a file that ends in ``.yaml`` or ``.yml``."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path, or fail as click does for wrong arguments."""
        path = Path(str(super().convert(value, param, ctx)))
        if path.suffix not in (".yaml", ".yml"):
            self.fail(f"{path} must end in .yaml or .yml", param, ctx)
        return path
