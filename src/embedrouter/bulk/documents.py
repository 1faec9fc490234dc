"""Passages from folders of documents and from files of rows: what a search index is built of."""

import bisect
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from embedrouter.bulk.columns import OnEmpty
from embedrouter.bulk.document_files import DocumentFile, named
from embedrouter.bulk.document_texts import Document, DocumentKind, read_document
from embedrouter.bulk.formats import STANDARD_STREAM, SourceFormat, source_place
from embedrouter.bulk.passage_windows import TokenCount, WindowOptions, windows
from embedrouter.bulk.row_passages import RowReader
from embedrouter.errors import InvalidRequestError


class Passage(NamedTuple):
    """A text to be found, and where it stands."""

    text: str
    source: str  # the file
    number: int  # 1-based, of the file's passages
    metadata: Mapping[str, Any]  # JSON's types: source, title, heading, page as far as known; or row, and its columns


class DocumentOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How files become passages."""

    window: WindowOptions = WindowOptions()
    column: str | None = None  # of rows; None: "text", or the only column of texts
    input_format: SourceFormat | None = None  # files that are named are rows of this format, whatever their suffix
    split: bool = False  # cut the texts of rows into windows, too; else a row is a passage
    on_empty: OnEmpty = "error"  # what to do with a row that has no text
    strict: bool = False  # a document that cannot be read is an error, not a warning


def token_count(tokenizer: Any) -> TokenCount:
    """What a model's tokenizer counts."""
    return lambda texts: [len(content.ids) for content in tokenizer.contents(texts, enough=sys.maxsize)]


def builtin_count() -> TokenCount:
    """Tokens as the built-in model has them; its tokenizer is fetched where it is not there yet."""
    from embedrouter.minilm.tokenizer import Tokenizer
    from embedrouter.minilm.weights import ensure
    from embedrouter.settings import load

    chosen = load({}, os.environ)
    found = ensure(chosen.model_dir, chosen.cache_dir, offline=chosen.offline)
    return token_count(Tokenizer(found.tokenizer))


class DocumentReader:
    """Reads files into passages, and knows how far it has come."""

    def __init__(
        self,
        paths: Sequence[Path | str],
        options: DocumentOptions,
        count: TokenCount,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        """Looks which files there are. Raises InvalidRequestError."""
        self.left_out = 0  # what could not be read
        self.read = 0  # files
        self._options = options
        self._count = count
        self._warn = warn
        options.window.checked()
        files = [file for path in paths for file in named(path, options.input_format, self._refuse)]
        self._files = list(dict.fromkeys(files))
        sizes = [file.bytes for file in self._files]
        self.total = None if None in sizes else sum(filter(None, sizes))  # bytes; None where there is no telling
        self._done = 0

    @property
    def sources(self) -> list[str]:
        """The files, as their passages name them."""
        return [_source(file) for file in self._files]

    def position(self) -> int:
        """Bytes read, towards `total`."""
        return self._done

    def passages(self) -> Iterator[Passage]:
        """Raises InvalidRequestError for rows that cannot be read, and in strict mode for documents, too."""
        done = 0
        for file in self._files:
            if file.kind is None:
                yield from self._rows(file, done)
            elif document := self._document(file.path, file.kind):
                yield from self._parts(document, _source(file))
            self.read += 1
            done += file.bytes or 0
            self._done = done

    def _refuse(self, error: InvalidRequestError) -> None:
        if self._options.strict:
            raise error
        self.left_out += 1
        if self._warn:
            self._warn(f"left out: {error.message}")

    def _document(self, path: Path, kind: DocumentKind) -> Document | None:
        try:
            return read_document(path, kind)
        except InvalidRequestError as error:
            self._refuse(error)
            self.read -= 1
            return None

    def _parts(self, document: Document, source: str) -> Iterator[Passage]:
        number = 0
        for section in document.sections:
            for span in windows(section.text, self._count, self._options.window):
                number += 1
                metadata: dict[str, Any] = {"source": source, "position": number}
                if document.title:
                    metadata["title"] = document.title
                if section.heading and section.heading != document.title:
                    metadata["heading"] = section.heading
                if section.pages:
                    metadata["page"] = bisect.bisect_right(section.pages, span.start)
                yield Passage(section.text[span.start : span.end], source, number, metadata)

    def _rows(self, file: DocumentFile, done: int) -> Iterator[Passage]:
        given = STANDARD_STREAM if file.bytes is None and str(file.path) == STANDARD_STREAM else file.path
        source = _source(file)
        number = 0
        place = source_place(given, self._options.input_format)
        with RowReader(place, self._options.column, self._options.on_empty) as reader:
            for row in reader.rows():
                self._done = done + int((file.bytes or 0) * reader.share())
                for text in self._texts(row.text):
                    number += 1
                    own = {"source": source, "row": row.number, "position": number}
                    yield Passage(text, source, number, {**own, **_renamed(row.columns, own)})

    def _texts(self, text: str) -> list[str]:
        if not self._options.split:
            return [text]
        return [text[span.start : span.end] for span in windows(text, self._count, self._options.window)]


def _source(file: DocumentFile) -> str:
    return "standard input" if str(file.path) == STANDARD_STREAM else str(file.path)


def _renamed(columns: Mapping[str, Any], own: Mapping[str, Any]) -> Mapping[str, Any]:
    """A column that has the name of one of our fields gets a line after it."""
    return {f"{name}_" if name in own else name: value for name, value in columns.items()}
