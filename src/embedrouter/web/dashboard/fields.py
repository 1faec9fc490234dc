"""Forms of the dashboard: what was sent becomes the body that the API's route would take; else it is shown again."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from embedrouter.errors import EmbedRouterError, InvalidRequestError
from embedrouter.fields import bad_field, invalid_field

T = TypeVar("T")
Form = Mapping[str, str]

_LONGEST: Final = 65_536  # characters of a document


class Filled(NamedTuple):
    """A form as it is shown: what is in its fields, and which one is wrong."""

    values: Form = MappingProxyType({})
    wrong: str = ""  # the field
    told: str = ""

    def of(self, name: str) -> str:
        """What is in a field."""
        return self.values.get(name, "")

    def is_wrong(self, name: str) -> bool:
        """Whether it is this field: `allowed_models` is, if what is wrong is `allowed_models[2]`."""
        return bool(name) and (self.wrong == name or self.wrong.startswith((f"{name}.", f"{name}[")))


class Question(NamedTuple):
    """What is asked before something is done for good. hidden: fields that are sent with the answer."""

    title: str
    told: str
    action: str
    word: str  # the button's
    back: str
    hidden: tuple[tuple[str, str], ...] = ()


def refilled(form: Form, error: EmbedRouterError, *secret: str) -> Filled:
    """The form again, without its secrets."""
    kept = {name: value for name, value in form.items() if name not in secret}
    return Filled(kept, str(error.metadata.get("field", "")), error.message)


def text(form: Form, name: str) -> str | None:
    """What was typed; None for nothing."""
    return form.get(name, "").strip() or None


def lines(form: Form, name: str) -> list[str] | None:
    """One a line; None for none."""
    return [line.strip() for line in form.get(name, "").splitlines() if line.strip()] or None


def flag(form: Form, name: str) -> bool | None:
    """Yes, no, or nothing said. Raises InvalidRequestError."""
    given = form.get(name, "")
    if given not in ("", "true", "false"):
        raise bad_field(name, "must be true, false or empty")
    return None if given == "" else given == "true"


def number(form: Form, name: str) -> float | None:
    """A decimal number; None for nothing. Raises InvalidRequestError."""
    given = text(form, name)
    try:
        found = None if given is None else float(given)
    except ValueError as error:
        raise bad_field(name, "must be a number") from error
    if found is not None and not abs(found) < float("inf"):
        raise bad_field(name, "must be a number")
    return found


def document(form: Form, name: str) -> Any:
    """What a JSON text says. Raises InvalidRequestError."""
    given = form.get(name, "").strip()
    if not given or len(given) > _LONGEST:
        raise bad_field(name, f"must be JSON of 1 to {_LONGEST:,} characters")
    try:
        return msgspec.json.decode(given)
    except (msgspec.DecodeError, RecursionError) as error:
        raise bad_field(name, f"is not valid JSON: {error}") from error


def body(values: Mapping[str, Any], kind: type[T]) -> T:
    """The body that the API's route would take. Raises InvalidRequestError naming the field."""
    try:
        return msgspec.convert(dict(values), kind)
    except msgspec.ValidationError as error:
        raise invalid_field(error) from error


def one_of(form: Form, name: str, *allowed: str) -> str:
    """A field that is one of a few words. Raises InvalidRequestError."""
    given = form.get(name, "")
    if given not in allowed:
        raise InvalidRequestError(f"{name}: must be one of {', '.join(allowed)}", metadata={"field": name})
    return given
