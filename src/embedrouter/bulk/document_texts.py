"""The text of a document: plain text, Markdown, HTML, PDF; with its title, its headings and its pages."""

import logging
import re
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args

from embedrouter.errors import InvalidRequestError

DocumentKind = Literal["txt", "md", "html", "pdf"]
KINDS: Final[tuple[DocumentKind, ...]] = get_args(DocumentKind)
SUFFIXES: Final[dict[str, DocumentKind]] = {
    ".txt": "txt",
    ".text": "txt",
    ".rst": "txt",
    ".md": "md",
    ".markdown": "md",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
}
MAX_DOCUMENT: Final = 256 << 20  # bytes; a document is held in memory whole

_LINK: Final = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*(?:\s+\"[^\"]*\")?\)")
_FRONT_MATTER: Final = re.compile(r"\A---[ \t]*\n(.*?\n)(?:---|\.\.\.)[ \t]*\n", re.DOTALL)
_FRONT_TITLE: Final = re.compile(r"^title:[ \t]*[\"']?(.*?)[\"']?[ \t]*$", re.MULTILINE)
_HYPHENATED: Final = re.compile(r"(\w)[-\u00ad\u2010]\n[^\S\n]*(?=[^\W\d_A-Z])")
_SPACES: Final = re.compile(r"\s+")
_UNREAD: Final = ("script", "style", "template", "noscript", "nav", "svg", "iframe", "object", "form", "head")
_BLOCKS: Final = frozenset(
    """
    address article aside blockquote body caption dd details div dl dt fieldset figcaption figure footer h1 h2 h3 h4
    h5 h6 header hr li main ol p pre section summary table tbody td tfoot th thead tr ul
    """.split()  # noqa: SIM905
)
_HEADINGS: Final = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})


class Section(NamedTuple):
    """A part of a document that passages do not reach across."""

    text: str
    heading: str | None = None
    pages: tuple[int, ...] = ()  # where in `text` each page begins; empty where there are no pages


class Document(NamedTuple):
    """What was read of a file."""

    title: str | None
    sections: list[Section]


def read_document(path: Path, kind: DocumentKind) -> Document:
    """Read it whole. Raises InvalidRequestError, naming it, for a file that is not what its name says."""
    try:
        if path.stat().st_size > MAX_DOCUMENT:
            raise InvalidRequestError(f"{path} is larger than {MAX_DOCUMENT >> 20} MiB: split it, or make rows of it")
        content = path.read_bytes()
    except OSError as error:
        raise InvalidRequestError(f"cannot read {path}: {error.strerror}") from error
    match kind:
        case "txt":
            return Document(None, [Section(decoded(content, path))])
        case "md":
            return markdown(decoded(content, path))
        case "html":
            return html(content, path)
        case "pdf":
            return pdf(content, path)


def decoded(content: bytes, path: Path) -> str:
    """UTF-8, or UTF-16 with its mark, with plain line ends. Raises InvalidRequestError."""
    if content[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        encoding = "utf-16"
    elif b"\0" in content:
        raise InvalidRequestError(f"{path} is not text: it has zero bytes")
    else:
        encoding = "utf-8-sig"
    try:
        return content.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidRequestError(
            f"{path}: line {line} is not UTF-8; convert the file first, for example: iconv -f LATIN1 -t UTF-8"
        ) from error


def markdown(text: str) -> Document:
    """Sections by heading; addresses of links are left out, their texts are kept."""
    from markdown_it import MarkdownIt

    title = None
    if front := _FRONT_MATTER.match(text):
        named = _FRONT_TITLE.search(front[1])
        title = named[1] if named else None
        text = text[front.end() :]
    lines = text.split("\n")
    tokens = MarkdownIt("commonmark").parse(text)
    starts = [(0, None)] + [
        (token.map[0], _LINK.sub(r"\1", tokens[index + 1].content).strip() or None)
        for index, token in enumerate(tokens)
        if token.type == "heading_open" and token.map and token.level == 0
    ]
    ends = [line for line, _ in starts[1:]] + [len(lines)]
    sections = [
        Section(_LINK.sub(r"\1", "\n".join(lines[first:last])), heading)
        for (first, heading), last in zip(starts, ends, strict=True)
        if first < last
    ]
    return Document(title or next((heading for _, heading in starts if heading), None), sections)


def html(content: bytes, path: Path) -> Document:
    """What a reader sees of the page's main part, in sections by heading."""
    from bs4 import BeautifulSoup
    from bs4.exceptions import ParserRejectedMarkup

    if b"\0" in content and content[:2] not in {b"\xff\xfe", b"\xfe\xff"}:
        raise InvalidRequestError(f"{path} is not HTML: it has zero bytes")
    try:
        page = BeautifulSoup(content, "html.parser")
        title = page.title.get_text(" ", strip=True) if page.title else None
        for unread in page(_UNREAD):
            unread.decompose()
        for tag in page(hidden=True):
            tag.decompose()
        sections = _html_sections(page.find("main") or page.find("article") or page.body or page)
    except (ParserRejectedMarkup, RecursionError) as error:
        raise InvalidRequestError(f"{path} is not readable HTML") from error
    return Document(title or next((one.heading for one in sections if one.heading), None), sections)


def _html_sections(root: Any) -> list[Section]:
    from bs4 import Tag
    from bs4.element import NavigableString, PreformattedString

    sections: list[Section] = []
    heading: str | None = None
    parts: list[str] = []

    def close() -> None:
        text = re.sub(r"[ \t]*\n[ \t]*\n\s*", "\n\n", "".join(parts)).strip()
        if text:
            sections.append(Section(text, heading))
        parts.clear()

    # Tags that are done are on the stack as their end, so that blocks part texts on both sides.
    stack: list[Any] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, str) and not isinstance(node, NavigableString):
            parts.append(node)
        elif isinstance(node, Tag):
            if node.name in _HEADINGS:
                close()
                heading = _SPACES.sub(" ", node.get_text(" ", strip=True)) or None
            if node.name == "br":
                parts.append("\n")
            elif node.name == "pre":
                parts.append(f"\n\n{node.get_text()}\n\n")
            else:
                edge = "\n\n" if node.name in _BLOCKS else ""
                parts.append(f"{edge}- " if node.name == "li" else edge)
                stack.append(edge)
                stack.extend(reversed(node.contents))
        elif not isinstance(node, PreformattedString):  # comments, declarations
            parts.append(_SPACES.sub(" ", str(node)))
    close()
    return sections


def pdf(content: bytes, path: Path) -> Document:
    """The text of all pages as one section, so that sentences go on across pages."""
    from io import BytesIO

    from pypdf import PdfReader
    from pypdf.errors import FileNotDecryptedError, WrongPasswordError

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it complains of each oddity; what counts is the text
    try:
        reader = PdfReader(BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            raise InvalidRequestError(f"{path} is encrypted: take its password off first")
        texts = [_mended(page.extract_text()) for page in reader.pages]
        title = reader.metadata.title if reader.metadata else None
    except InvalidRequestError:
        raise
    except (FileNotDecryptedError, WrongPasswordError) as error:
        raise InvalidRequestError(f"{path} is encrypted: take its password off first") from error
    except Exception as error:  # a broken PDF makes pypdf raise anything, a RecursionError too
        raise InvalidRequestError(f"{path} is not a readable PDF: {str(error) or type(error).__name__}") from error
    if not any(text.strip() for text in texts):
        raise InvalidRequestError(f"{path} has no text: were its pages scanned?")
    starts = [0]
    for text in texts[:-1]:
        starts.append(starts[-1] + len(text) + 1)
    plain = title.strip() if isinstance(title, str) else ""
    return Document(plain or None, [Section("\n".join(texts), None, tuple(starts))])


def _mended(text: str) -> str:
    """Words that a line end cut, whole again; no lone surrogates, which some PDFs give."""
    return _HYPHENATED.sub(r"\1", text.encode("utf-8", "replace").decode("utf-8").replace("\0", "").strip())
