"""Code as HTML: coloured by classes, since the content security policy allows no inline style."""

from html import escape
from typing import Final

from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

_FORMATTER: Final = HtmlFormatter(nowrap=True, classprefix="c-")
_TITLES: Final = {
    "sh": "Shell",
    "bash": "Shell",
    "python": "Python",
    "json": "JSON",
    "toml": "TOML",
    "ts": "TypeScript",
    "ini": "Unit",
    "nginx": "nginx",
    "sql": "SQL",
}


def title_of(language: str) -> str:
    """A language's name for people."""
    return _TITLES.get(language, language or "Code")


def coloured(text: str, language: str) -> Markup:
    """Escaped, with spans around what means something; just escaped for a language that is not known."""
    try:
        lexer = get_lexer_by_name(language, stripnl=False) if language else None
    except ClassNotFound:
        lexer = None
    return Markup(escape(text) if lexer is None else highlight(text, lexer, _FORMATTER))  # noqa: S704 - both escape


def figure(text: str, language: str) -> str:
    """As the macro `ui.code`, coloured."""
    title = title_of(language)
    return (
        f'<figure class="code"><figcaption><span>{title}</span>'
        f'<button type="button" class="copy needs-js" aria-label="Copy {title}">Copy</button></figcaption>'
        f'<pre tabindex="0"><code>{coloured(text, language)}</code></pre></figure>\n'
    )
