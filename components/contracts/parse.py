"""Read what another step or another run wrote."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from textgate.components.step import InputError

_Model = TypeVar("_Model", bound=BaseModel)


def parse_json(model: type[_Model], text: str | bytes, where: str, what: str) -> _Model:
    """``text`` as a ``model``; errors name it by ``where`` and say ``what`` it should be, such as "a gate decision".

    Raises:
        InputError: it is none; the first fault is named by its key.
    """
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise InputError(f"{where} is not {what}: {key} {first['msg']}") from error
