"""YAML reader of recipes: safe YAML 1.1, except that on, off, yes and no are strings."""

from typing import Any

import yaml

# PyYAML does not wrap the errors of its own constructors, such as for 2026-13-45, !!bool x or ten thousand brackets.
YAML_ERRORS = (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError)


class _Loader(yaml.SafeLoader):
    """Loader that reads true and false only as booleans: ``on`` is a key of a join, ``no`` a label or a language."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if first in "tTfF" or tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read_yaml(text: str) -> Any:
    """Return the value of a YAML document.

    Raises:
        One of ``YAML_ERRORS``: The text is not YAML.
    """
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()
