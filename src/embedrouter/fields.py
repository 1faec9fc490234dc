"""Fields that somebody sent, in a body or a form: decoded, looked at, and what is told of the wrong ones."""

import re
from typing import Any, Final, TypeVar

import msgspec

from embedrouter.errors import InvalidRequestError

T = TypeVar("T")

_REPEATED: Final = 80  # characters of what was sent that an error repeats


def decode(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode JSON strictly. Raises InvalidRequestError naming the field."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise invalid_field(error) from error
    except RecursionError as error:
        raise InvalidRequestError("the JSON is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"the body is not valid UTF-8: {error.reason}") from error
    except msgspec.DecodeError as error:
        raise InvalidRequestError(f"the body is not valid JSON: {error}") from error


def invalid_field(error: msgspec.ValidationError) -> InvalidRequestError:
    """`Expected `int`, got `str` - at `$.dimensions`` told as `dimensions: expected int, got str`."""
    what, _, path = str(error).partition(" - at `")
    field = path.removeprefix("key` in `").rstrip("`").removeprefix("$").removeprefix(".")
    what = what.replace("`", "")
    if what.startswith("Object missing required field "):
        field = ".".join(filter(None, (field, what.rpartition(" ")[2])))
        what = "is required"
    elif what.startswith("Expected "):
        what = "expected " + what.removeprefix("Expected ")
    elif len(what) > _REPEATED and what.startswith("Invalid enum value "):
        what = what[:_REPEATED] + "..."
    if field:
        return bad_field(field, what)
    return InvalidRequestError(f"the request's body: {what}")


def bad_field(field: str, what: str) -> InvalidRequestError:
    """What is wrong with a field, and what would be right."""
    return InvalidRequestError(f"{field}: {what}", metadata={"field": field})


def sent(wanted: msgspec.Struct, *but: str) -> dict[str, Any]:
    """The fields of a body that were sent, for bodies whose fields are UNSET else. but: names to leave out."""
    found = {name: getattr(wanted, name) for name in wanted.__struct_fields__ if name not in but}
    return {name: value for name, value in found.items() if value is not msgspec.UNSET}


def plain_lines(field: str, text: str) -> str:
    """As `plain`, for a text that may have several lines."""
    plain(field, re.sub(r"[\r\n\t]", " ", text))
    return text


def plain(field: str, text: str) -> str:
    """A text without control characters, which no name needs. Raises InvalidRequestError."""
    if any(character < " " or "\x7f" <= character < "\xa0" for character in text) or not text.strip():
        raise bad_field(field, "must be a text without control characters")
    return text
