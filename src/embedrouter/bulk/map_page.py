"""A map as one HTML file that asks nothing of the network."""

import html
import json
from importlib.resources import files
from typing import Final

from embedrouter.bulk import palette
from embedrouter.bulk.maps import Map, short_name

_TEMPLATE: Final = "map.html"
_DIGITS: Final = 4  # of a coordinate: a tenth of a pixel


def page(drawn: Map) -> str:
    """The whole document."""
    data = {
        "points": [[round(x, _DIGITS), round(y, _DIGITS)] for x, y in drawn.points.tolist()],
        "groups": drawn.groups,
        "names": list(map(short_name, drawn.groups)),
        "group": drawn.group,
        "rest": drawn.rest,
        "labels": drawn.labels,
        "texts": drawn.texts,
        "light": palette.LIGHT,
        "dark": palette.DARK,
        "restColours": palette.REST,
    }
    # "<" would end the script, or begin a comment, inside a text.
    embedded = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    embedded = embedded.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    template = files("embedrouter.bulk").joinpath(_TEMPLATE).read_text("utf-8")
    for name, value in (("title", drawn.title), ("note", drawn.note)):
        template = template.replace(f"{{{{ {name} }}}}", html.escape(value))
    # The data goes in last: a text may say anything, also what is replaced above.
    return template.replace("{{ data }}", embedded)
