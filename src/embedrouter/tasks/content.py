"""What an index holds: rows of vectors, records and ids, and the graph over them once there is one."""

from typing import Final

import numpy as np

from embedrouter.tasks.best import BLOCK
from embedrouter.tasks.hnsw import Graph
from embedrouter.tasks.ids import Ids
from embedrouter.tasks.metadata import Fields
from embedrouter.tasks.records import Records
from embedrouter.tasks.rows import Numbers, UnitRows
from embedrouter.tasks.storage import VectorStore

_WORTH_IT: Final = 1_000  # deleted rows below which nothing is compacted


class Content:
    """Rows by number, the deleted ones included."""

    def __init__(self, vectors: VectorStore, records: Records | None = None, ids: Ids | None = None) -> None:
        self.vectors = vectors
        self.records = Records() if records is None else records
        self.ids = Ids() if ids is None else ids
        self.fields = Fields(self.records)
        self.graph: Graph | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def deleted(self) -> int:
        return len(self.ids) - self.ids.live

    @property
    def is_wasteful(self) -> bool:
        """Whether more rows are deleted than not."""
        return self.deleted > max(_WORTH_IT, self.ids.live)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        vectors = self.vectors.column.nbytes - self.vectors.column.mapped
        return vectors + self.records.nbytes + self.ids.nbytes + (0 if self.graph is None else self.graph.nbytes)

    def append(self, rows: UnitRows, records: list[bytes], ids: Numbers, graph: Graph | None) -> None:
        """Add rows, all or none. graph: to hold all rows from now on; it is given those it lacks."""
        before = len(self)
        try:
            for _, block in rows.blocks(BLOCK):
                self.vectors.append(block)
            self.records.append(records)
            self.follow(graph)
        except BaseException:
            self.vectors.column.truncate(before)
            self.records.truncate(before)
            self.graph = None  # it may know some of the new rows
            raise
        self.ids.append(ids)

    def follow(self, graph: Graph | None) -> None:
        """Bring the graph up to all vectors."""
        if graph is not None:
            for start in range(len(graph), len(self.vectors), BLOCK):
                graph.append(self.vectors.codes(start, min(start + BLOCK, len(self.vectors))))
        self.graph = graph

    def compacted(self) -> "Content":
        """The same without the deleted rows; it has no graph yet."""
        alive = np.flatnonzero(self.ids.alive)
        new = Content(VectorStore(self.vectors.dimensions, self.vectors.storage))
        for start in range(0, len(alive), BLOCK):
            some = alive[start : start + BLOCK]
            new.vectors.column.append(self.vectors.column.take(some))
            new.records.append([self.records.raw(row) for row in some.tolist()])
        new.ids.append(self.ids.ids[alive])
        new.ids.next_id = self.ids.next_id
        return new
