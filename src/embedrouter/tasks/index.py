"""An index: vectors with their texts and metadata, searched exactly while they are few, and by a graph when many."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, Self, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from embedrouter.errors import InvalidRequestError
from embedrouter.tasks import index_files
from embedrouter.tasks.content import Content
from embedrouter.tasks.finding import find
from embedrouter.tasks.fingerprints import fingerprint, require_same
from embedrouter.tasks.hnsw import Graph
from embedrouter.tasks.metadata import Where
from embedrouter.tasks.recall import measured_recall
from embedrouter.tasks.records import Metadata, encoded
from embedrouter.tasks.rows import Numbers, UnitRows, unit_rows
from embedrouter.tasks.search import check_top_k
from embedrouter.tasks.storage import STORAGES, Storage, VectorStore
from embedrouter.tasks.turns import Turns
from embedrouter.tasks.vectors import Encoder, Items, default_encoder

Kind: TypeAlias = Literal["auto", "exact", "hnsw"]

GRAPH_FROM: Final = 200_000  # vectors, from which on "auto" searches by a graph


class Hit(NamedTuple):
    """One item that was found."""

    id: int
    score: float  # cosine
    text: str | None
    metadata: Metadata | None


class IndexInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about an index."""

    count: int  # items that can be found
    deleted: int  # that still take their room
    dimensions: int
    storage: Storage
    kind: Literal["exact", "hnsw"]  # how it is searched now
    bytes_in_memory: int
    bytes_mapped: int  # read from the files it was loaded from when they are needed
    fingerprint: str | None  # of the model; None: not known
    recall: float | None  # as measured last, if nothing changed since


class Index:
    """Vectors by id. Threads may share it: searches run beside each other, a change waits for them and runs alone."""

    def __init__(
        self,
        dimensions: int = 384,
        *,
        storage: Storage = "float32",
        kind: Kind = "auto",
        encoder: Encoder | None = None,
        fingerprint: str | None = None,
        graph_from: int = GRAPH_FROM,
        threads: int = 0,
    ) -> None:
        """encoder: for texts; None: the built-in model. fingerprint: of the model whose vectors are added as vectors.

        graph_from: vectors from which on "auto" is a graph. threads: for the graph; 0: all cores.
        """
        if storage not in STORAGES:
            raise InvalidRequestError(f"storage is one of {', '.join(STORAGES)}, not {storage}")
        if kind not in ("auto", "exact", "hnsw"):
            raise InvalidRequestError(f"kind is one of auto, exact, hnsw, not {kind}")
        if dimensions < 1:
            raise InvalidRequestError(f"dimensions has to be at least 1, not {dimensions}")
        self.dimensions: Final = dimensions
        self.storage: Final = storage
        self.kind: Final = kind
        self._encoder = encoder
        self._fingerprint = fingerprint
        self._graph_from = graph_from
        self._threads = threads
        self._turns = Turns()
        self._recall: float | None = None
        self._content = Content(VectorStore(dimensions, storage))

    def __len__(self) -> int:
        return self._content.ids.live

    def add(
        self,
        items: Items,
        *,
        texts: Sequence[str | None] | None = None,
        metadata: Sequence[Metadata | None] | None = None,
        ids: Sequence[int] | None = None,
    ) -> list[int]:
        """Add texts or vectors, all or none, and return their ids.

        texts: to be shown with items that are given as vectors. metadata: what JSON can say, one for each item.
        ids: else the next numbers. Raises InvalidRequestError; ConflictError for an id that is there, or another
        model's vectors.
        """
        rows, model = self._rows(items)
        if texts is None and not isinstance(items, np.ndarray):
            texts = items
        for name, given in (("texts", texts), ("metadata", metadata)):
            if given is not None and len(given) != len(rows):
                raise InvalidRequestError(f"there are {len(rows)} items and {len(given)} {name}")
        records = [encoded(texts[i] if texts else None, metadata[i] if metadata else None, i) for i in range(len(rows))]
        rows = rows.held()
        with self._turns.writing():
            require_same(self._fingerprint, model)
            content = self._content
            chosen = content.ids.chosen(ids if ids is None else list(ids), len(rows))
            content.append(rows, records, chosen, self._graph_for(content, len(content) + len(rows)))
            self._fingerprint = self._fingerprint or model
            self._recall = None
        return [int(one) for one in chosen]

    def delete(self, ids: Sequence[int]) -> int:
        """Take items out; ids that are not there are passed over. Returns how many were there.

        Their room is given back once more items are deleted than not, or by `compact`.
        """
        wanted = np.fromiter(ids, np.int64, len(ids))
        with self._turns.writing():
            gone = self._content.ids.delete(wanted)
            if gone:
                self._recall = None
            if self._content.is_wasteful:
                self._compact()
            return gone

    def compact(self) -> None:
        """Give back the room of deleted items; a graph is built anew, which takes as long as the first time."""
        with self._turns.writing():
            if self._content.deleted:
                self._compact()

    def matching(self, where: Where) -> list[int]:
        """Ids of all items whose metadata `where` lets through, in the order they were added."""
        with self._turns.reading():
            content = self._content
            found: list[int] = content.ids.ids[
                content.ids.alive & content.fields.allowed(where, content.ids.alive)
            ].tolist()
            return found

    def search(self, queries: Items, *, top_k: int = 10, where: Where | None = None) -> list[list[Hit]]:
        """For each query the `top_k` nearest items, best first; ties: the one added first.

        where: only items whose metadata it lets through. Raises InvalidRequestError, ConflictError.
        """
        check_top_k(top_k)
        asked = self._rows(queries, "query")[0].held()
        with self._turns.reading():
            content = self._content
            allowed = None if where is None else content.fields.allowed(where, content.ids.alive)
            best = find(content, asked, allowed, top_k)
            return [_hits(content, *found) for found in zip(best.rows, best.scores, strict=True)]

    def save(self, folder: Path | str) -> None:
        """Write the index into `folder`; what was there before stays until the new one is whole.

        Raises InvalidRequestError when the folder cannot be written, or holds other files.
        """
        with self._turns.reading():
            facts = index_files.Facts(
                dimensions=self.dimensions,
                storage=self.storage,
                kind=self.kind,
                fingerprint=self._fingerprint,
                graph_from=self._graph_from,
                next_id=self._content.ids.next_id,
                recall=self._recall,
            )
            index_files.save(Path(folder), facts, self._content)

    @classmethod
    def load(
        cls, folder: Path | str, encoder: Encoder | None = None, *, mapped: bool | None = None, threads: int = 0
    ) -> Self:
        """The index that `save` wrote. mapped: whether vectors are read from the file as they are needed; None: if
        they take more than 256 MB. encoder, threads: as for a new one.

        Raises InvalidRequestError naming the file that is missing, cut short or not an index's; ConflictError when
        `encoder` is another model than the one it was made with.
        """
        facts = index_files.read_facts(Path(folder))
        if encoder is not None:
            require_same(facts.fingerprint, fingerprint(encoder))
        facts, content = index_files.load(Path(folder), mapped, threads)
        index = cls(
            facts.dimensions,
            storage=facts.storage,
            kind=facts.kind,
            encoder=encoder,
            fingerprint=facts.fingerprint,
            graph_from=facts.graph_from,
            threads=threads,
        )
        index._content = content
        index._recall = facts.recall
        return index

    def info(self) -> IndexInfo:
        """Facts: how many, how large, how good."""
        with self._turns.reading():
            content = self._content
            return IndexInfo(
                count=content.ids.live,
                deleted=content.deleted,
                dimensions=self.dimensions,
                storage=self.storage,
                kind="exact" if content.graph is None else "hnsw",
                bytes_in_memory=content.nbytes,
                bytes_mapped=content.vectors.column.mapped,
                fingerprint=self._fingerprint,
                recall=self._recall,
            )

    def measure_recall(
        self, sample: int = 200, top_k: int = 10, *, against: NDArray[np.floating] | None = None
    ) -> float:
        """Share of the true `top_k` neighbours that a search finds, over a random sample of the items as queries.

        against: what is true: the vectors as they were given, in the order of the items; None: as they are stored.
        An item counts as found also when it ties with the last of the true ones. Raises InvalidRequestError.
        """
        check_top_k(top_k)
        with self._turns.reading():
            content = self._content
            recall = measured_recall(content, sample, top_k, None if against is None else unit_rows(against))
            if self._content is content and against is None:
                self._recall = recall
            return recall

    def _compact(self) -> None:
        content = self._content.compacted()
        content.follow(self._graph_for(content, len(content)))
        self._content = content

    def _graph_for(self, content: Content, count: int) -> Graph | None:
        """The graph that an index of so many rows has."""
        if self.kind == "exact" or (self.kind == "auto" and count < self._graph_from):
            return None
        return content.graph or Graph(self.dimensions, self._threads)

    def _rows(self, items: Items, name: str = "item") -> tuple[UnitRows, str | None]:
        """Items as rows of vectors that belong here, and whose they are."""
        model: str | None = None
        encoder: Encoder | None = None
        if not isinstance(items, np.ndarray):
            encoder = self._encoder or default_encoder()
            model = fingerprint(encoder)
            require_same(self._fingerprint, model)
        rows = unit_rows(items, encoder, name)
        if len(rows) and rows.dimensions != self.dimensions:
            raise InvalidRequestError(f"the index has {self.dimensions} dimensions, and these {rows.dimensions}")
        return rows, model


def _hits(content: Content, rows: Numbers, scores: NDArray[np.float64]) -> list[Hit]:
    ids = content.ids.ids[rows].tolist()
    records = [content.records[row] for row in rows.tolist()]
    found = zip(ids, scores.tolist(), records, strict=True)
    return [Hit(one, score, record.text, record.metadata) for one, score, record in found]
