"""JSON parser with error messages for the user."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from textgate.components.step import InputError

_Model = TypeVar("_Model", bound=BaseModel)


def parse_json(model: type[_Model], text: str | bytes, where: str, what: str) -> _Model:
    """Parse JSON into a pydantic model.

    Args:
        model: Class to parse into.
        text: The JSON.
        where: Name of the file in error messages.
        what: What the file should be, such as "a gate decision".

    Raises:
        InputError: The text is not valid. The message names the key of the first error.
    """
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise InputError(f"{where} is not {what}: {key} {first['msg']}") from error
