"""Markdown to a page: its title, its HTML, its headings, and its text by section for the search."""

import re
from collections.abc import Collection, Mapping, Sequence
from html import escape
from typing import Any, Final, NamedTuple

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

from embedrouter.web.docs.code import figure

_LINK: Final = re.compile(r"(?:\./)?(?:docs/)?([\w-]+)\.md(#[\w-]*)?")
_NO_WORD: Final = re.compile(r"[^\w\- ]")


class Heading(NamedTuple):
    """One that can be linked to."""

    level: int  # 2 to 6
    anchor: str
    title: str


class Section(NamedTuple):
    """A heading and the text below it, up to the next one; without an anchor what comes before the first."""

    anchor: str
    title: str
    text: str


class Rendered(NamedTuple):
    """A page."""

    title: str
    lead: str  # its first paragraph, as text
    html: Markup
    headings: tuple[Heading, ...]
    sections: tuple[Section, ...]


def title_of(text: str) -> str:
    """The title that a text begins with: its first line, `# Title`."""
    return text.partition("\n")[0].removeprefix("# ").strip()


def render(text: str, pages: Mapping[str, str]) -> Rendered:
    """A page of a text that begins with its title.

    pages: titles, by the names that links may lead to; links to other files become text.
    """
    parser = _parser()
    tokens = parser.parse(text)
    title, tokens = _take_title(tokens)
    headings: list[Heading] = []
    sections = [_Open("", title)]
    number = 0
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            heading = Heading(int(token.tag[1:]), "", _plain(tokens[at + 1]))
            heading = heading._replace(anchor=_anchor(heading.title, [one.anchor for one in headings]))
            token.attrSet("id", heading.anchor)
            tokens[at + 1].meta["anchor"] = heading.anchor
            headings.append(heading)
            sections.append(_Open(heading.anchor, heading.title))
        elif token.type == "inline":
            _mend_links(token.children or [], pages)
            if not token.meta:
                sections[-1].texts.append(_plain(token))
        elif token.type in ("fence", "code_block"):
            sections[-1].texts.append(token.content)
        elif token.type == "table_open":
            number += 1
            token.meta["label"] = f"Table {number}: {sections[-1].title}"
        elif token.type in ("th_open", "td_open"):
            _mend_cell(tokens, at)
    lead = next((_plain(tokens[at + 1]) for at, one in enumerate(tokens) if one.type == "paragraph_open"), "")
    html = Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704 - raw HTML is off
    return Rendered(title, lead, html, tuple(headings), tuple(one.section() for one in sections))


class _Open:
    def __init__(self, anchor: str, title: str) -> None:
        self.anchor, self.title = anchor, title
        self.texts: list[str] = []

    def section(self) -> Section:
        return Section(self.anchor, self.title, " ".join(" ".join(self.texts).split()))


def _parser() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": False}).enable("table")
    for name, rule in (
        ("fence", _fence),
        ("code_block", _code_block),
        ("table_open", _table_open),
        ("table_close", _table_close),
        ("heading_open", _heading_open),
        ("heading_close", _heading_close),
    ):
        made.add_render_rule(name, rule)
    return made


def _take_title(tokens: list[Token]) -> tuple[str, list[Token]]:
    if len(tokens) < 3 or tokens[0].type != "heading_open" or tokens[0].tag != "h1":
        raise ValueError("a page of the docs begins with its title: # Title")
    return _plain(tokens[1]), tokens[3:]


def _anchor(title: str, taken: Collection[str]) -> str:
    """As GitHub makes them, so that links work there and here."""
    made = _NO_WORD.sub("", title.lower()).strip().replace(" ", "-") or "section"
    return next(one for one in (made, *(f"{made}-{number}" for number in range(1, 999))) if one not in taken)


def _plain(token: Token) -> str:
    """An inline token's text without its marks."""
    parts = (
        " " if child.type in ("softbreak", "hardbreak") else child.content
        for child in token.children or []
        if child.type in ("text", "code_inline", "softbreak", "hardbreak")
    )
    return "".join(parts).strip()


def _mend_links(children: Sequence[Token], pages: Mapping[str, str]) -> None:
    """Links between the files become links between the pages; those to files that are no page become text."""
    kept: list[bool] = []
    for at, token in enumerate(children):
        if token.type == "link_open":
            href = str(token.attrGet("href") or "")
            found = _LINK.fullmatch(href)
            if found and found[1] in pages:
                token.attrSet("href", f"/docs/{found[1]}{found[2] or ''}")
                if children[at + 1].content == href:  # a file's name says less than its title
                    children[at + 1].content = pages[found[1]]
            elif href.startswith(("http://", "https://")):
                token.attrSet("rel", "noopener")
            kept.append(bool(found and found[1] in pages) or href.startswith(("http://", "https://", "/", "#")))
            if not kept[-1]:
                token.type, token.tag, token.nesting = "text", "", 0
        elif token.type == "link_close" and not kept.pop():
            token.type, token.tag, token.nesting = "text", "", 0


def _mend_cell(tokens: Sequence[Token], at: int) -> None:
    """A cell is aligned by a class, and an empty one heads nothing."""
    token = tokens[at]
    style = str(token.attrs.pop("style", ""))
    if style == "text-align:right":
        token.attrSet("class", "number")
    if token.type == "th_open":
        if tokens[at + 1].content.strip():
            token.attrSet("scope", "col")
        else:
            token.tag = tokens[at + 2].tag = "td"


def _fence(_: RendererHTML, tokens: Sequence[Token], at: int, *__: Any) -> str:
    return figure(tokens[at].content, tokens[at].info.strip().partition(" ")[0])


def _code_block(_: RendererHTML, tokens: Sequence[Token], at: int, *__: Any) -> str:
    return figure(tokens[at].content, "sh")  # what is indented in our pages is to be typed


def _table_open(_: RendererHTML, tokens: Sequence[Token], at: int, *__: Any) -> str:
    label = escape(str(tokens[at].meta["label"]))
    return f'<div class="table" role="region" tabindex="0" aria-label="{label}"><table>\n'


def _table_close(*_: Any) -> str:
    return "</table></div>\n"


def _heading_open(_: RendererHTML, tokens: Sequence[Token], at: int, *__: Any) -> str:
    anchor = escape(str(tokens[at].attrGet("id")))
    return f'<{tokens[at].tag} id="{anchor}"><a class="anchor" href="#{anchor}">'


def _heading_close(_: RendererHTML, tokens: Sequence[Token], at: int, *__: Any) -> str:
    return f"</a></{tokens[at].tag}>\n"
