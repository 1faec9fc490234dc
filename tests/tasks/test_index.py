"""The index: whatever was added, deleted, saved and loaded, a search finds what comparing each with each finds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from embedrouter.errors import ConflictError, InvalidRequestError
from embedrouter.minilm import MiniLM
from embedrouter.tasks.index import Hit, Index
from embedrouter.tasks.metadata import Where
from embedrouter.tasks.storage import STORAGES, Storage

from .directions import Matrix, bunches, cosines

DIMENSIONS = 12
POOL = bunches(60, DIMENSIONS)
LOSS: dict[Storage, float] = {"float32": 1e-6, "float16": 1e-3, "int8": 2e-2}  # of a cosine

metadata = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "year": st.integers(2000, 2003) | st.floats(2000, 2001),
        "tag": st.sampled_from(["a", "b", "é"]),
        "ok": st.booleans() | st.integers(0, 1),
        "list": st.lists(st.integers(), max_size=1),
    },
)
filters = st.sampled_from(
    [
        None,
        {"year": 2001},
        {"year": [2000, 2002.0], "tag": "a"},
        {"tag": ("b", "é")},
        {"ok": True},
        {"ok": 1},
        {"tag": None},
        {"no such field": "x"},
        {"tag": []},
        lambda fields: fields.get("year", 0) > 2000,
    ]
)


def passes(fields: Mapping[str, Any], where: Any) -> bool:
    """The plain way."""
    if where is None or callable(where):
        return where is None or bool(where(fields))
    for name, wanted in where.items():
        values = wanted if isinstance(wanted, list | tuple) else [wanted]
        value = fields.get(name)
        if not any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in values):
            return False
    return True


class Life(RuleBasedStateMachine):
    """An index beside a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.held: dict[int, tuple[Matrix, str, dict[str, Any]]] = {}
        self.next = 0

    def teardown(self) -> None:
        self.folder.cleanup()

    @initialize(storage=st.sampled_from(STORAGES), kind=st.sampled_from(["exact", "hnsw", "auto"]))
    def start(self, storage: Storage, kind: Any) -> None:
        self.index = Index(DIMENSIONS, storage=storage, kind=kind, graph_from=20, threads=1)

    @rule(chosen=st.lists(st.tuples(st.integers(0, 59), metadata), max_size=12), own=st.booleans(), data=st.data())
    def add(self, chosen: list[tuple[int, dict[str, Any] | None]], own: bool, data: st.DataObject) -> None:
        vectors = POOL[[place for place, _ in chosen]]
        texts = [f"text {place}" for place, _ in chosen]
        ids: Sequence[int] | None = None
        if own:
            free = st.integers(0, 200).filter(lambda one: one not in self.held)
            ids = data.draw(st.lists(free, min_size=len(chosen), max_size=len(chosen), unique=True))
        given = self.index.add(vectors, texts=texts, metadata=[fields for _, fields in chosen], ids=ids)
        assert given == (list(range(self.next, self.next + len(chosen))) if ids is None else ids)
        self.next = max(self.next, *(one + 1 for one in given), 0) if given else self.next
        for one, vector, text, (_, fields) in zip(given, vectors, texts, chosen, strict=True):
            self.held[one] = (vector, text, fields or {})

    @rule(ids=st.lists(st.integers(0, 100), max_size=30))
    def delete(self, ids: list[int]) -> None:
        there = {one for one in ids if self.held.pop(one, None) is not None}
        assert self.index.delete(ids) == len(there)

    @rule()
    def compact(self) -> None:
        self.index.compact()
        assert self.index.info().deleted == 0

    @rule(mapped=st.booleans())
    def save_and_load(self, mapped: bool) -> None:
        self.index.save(self.folder.name)
        self.index = Index.load(self.folder.name, mapped=mapped, threads=1)

    @rule(query=st.integers(0, 59), top_k=st.sampled_from([1, 3, 100]), where=filters)
    def search(self, query: int, top_k: int, where: Where | None) -> None:
        allowed = {one: kept for one, kept in self.held.items() if passes(kept[2], where)}
        [hits] = self.index.search(POOL[query][None], top_k=top_k, where=where)
        assert len({hit.id for hit in hits}) == len(hits) == min(top_k, len(allowed))
        if not hits:
            return
        vectors = np.stack([vector for vector, *_ in allowed.values()])
        scores = dict(zip(allowed, cosines(vectors, POOL[query][None])[:, 0].tolist(), strict=True))
        loss = LOSS[self.index.storage]
        best = sorted(scores.values(), reverse=True)[:top_k]
        assert [hit.score for hit in hits] == pytest.approx(best, abs=loss)
        for hit in hits:
            assert hit.score == pytest.approx(scores[hit.id], abs=loss)
            assert (hit.text, hit.metadata or {}) == allowed[hit.id][1:]

    @invariant()
    def counts(self) -> None:
        if not hasattr(self, "index"):
            return
        info = self.index.info()
        assert len(self.index) == info.count == len(self.held)
        rows = info.count + info.deleted
        if rows:
            assert info.kind == (
                "hnsw" if self.index.kind == "hnsw" or self.index.kind == "auto" and rows >= 20 else "exact"
            )


Life.TestCase.settings = settings(max_examples=20, stateful_step_count=20)
TestLife = Life.TestCase


def test_texts_are_found_with_their_metadata(model: MiniLM) -> None:
    index = Index(encoder=model)
    texts = ["The cat sat on the mat.", "Shares fell on Monday.", "Le chat dort."]
    assert index.add(texts, metadata=[{"language": "en"}, {"language": "en"}, {"language": "fr"}]) == [0, 1, 2]
    [[hit]] = index.search(["an animal on a rug"], top_k=1)
    assert (hit.id, hit.text, hit.metadata) == (0, texts[0], {"language": "en"})
    [[hit]] = index.search(["an animal on a rug"], top_k=1, where={"language": "fr"})
    assert hit.text == texts[2]
    assert index.info().fingerprint == model.fingerprint()


def test_equal_items_come_in_the_order_they_were_added() -> None:
    index = Index(DIMENSIONS)
    index.add(POOL[[3, 1, 3, 3]], ids=[9, 4, 2, 7])
    [hits] = index.search(POOL[3][None], top_k=3)
    assert [hit.id for hit in hits] == [9, 2, 7]
    assert {hit.score for hit in hits} == {1.0}


def test_a_failed_add_leaves_nothing_behind() -> None:
    index = Index(DIMENSIONS, kind="hnsw")
    index.add(POOL[:3])
    broken = POOL[:2].copy()
    broken[1] = np.nan
    for wrong, message in [
        ({"items": broken}, "the vector of item 1 is zero or not finite"),
        ({"items": POOL[:2], "metadata": [{}, {"x": object()}]}, "item 1: its text or metadata cannot be written"),
        ({"items": POOL[:2], "texts": ["one"]}, "there are 2 items and 1 texts"),
        ({"items": POOL[:2], "ids": [5]}, "there are 2 items and 1 ids"),
        ({"items": POOL[:1], "ids": [-1]}, "an id is a whole number"),
        ({"items": bunches(1, 5)}, "the index has 12 dimensions, and these 5"),
    ]:
        with pytest.raises(InvalidRequestError, match=message):
            index.add(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ConflictError, match="id 2 is in the index already"):
        index.add(POOL[:2], ids=[7, 2])
    with pytest.raises(ConflictError, match="id 7 is given to two items"):
        index.add(POOL[:2], ids=[7, 7])
    assert len(index) == 3
    assert index.add(POOL[3:5]) == [3, 4]
    assert [hit.id for hit in index.search(POOL[4][None], top_k=9)[0]][0] == 4
    assert index.info().kind == "hnsw"


def test_deleting_most_gives_the_room_back() -> None:
    index = Index(DIMENSIONS)
    index.add(np.tile(POOL, (50, 1)))
    before = index.info().bytes_in_memory
    assert index.delete(range(2_000)) == 2_000
    info = index.info()
    assert (info.count, info.deleted) == (1_000, 0)
    assert info.bytes_in_memory < before / 2
    assert index.delete(range(2_000)) == 0
    assert index.add(POOL[:1]) == [3_000]


def test_what_is_asked_wrongly_is_refused() -> None:
    index = Index(DIMENSIONS)
    index.add(POOL[:2], metadata=[{"a": 1}, {"a": 2}])
    with pytest.raises(InvalidRequestError, match="top_k has to be at least 1"):
        index.search(POOL[:1], top_k=0)
    with pytest.raises(InvalidRequestError, match='where: "a" is compared with texts, numbers'):
        index.search(POOL[:1], where={"a": {"gt": 1}})
    with pytest.raises(InvalidRequestError, match="where is a mapping"):
        index.search(POOL[:1], where="a=1")  # type: ignore[arg-type]
    for options, message in [
        ({"storage": "int4"}, "storage is one of float32, float16, int8, not int4"),
        ({"kind": "ivf"}, "kind is one of auto, exact, hnsw, not ivf"),
        ({"dimensions": 0}, "dimensions has to be at least 1"),
    ]:
        with pytest.raises(InvalidRequestError, match=message):
            Index(**options)  # type: ignore[arg-type]


def test_searches_beside_changes_see_whole_items(tmp_path: Path) -> None:
    index = Index(DIMENSIONS)
    index.add(POOL, texts=["old"] * 60)
    stop = Event()
    wrong: list[list[Hit]] = []

    def look() -> None:
        while not stop.is_set():
            found = index.search(POOL[:8], top_k=5)
            wrong.extend(hits for hits in found if [hit.text in {"old", "new"} for hit in hits] != [True] * 5)

    threads = [Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(12):
        new = index.add(np.tile(POOL, (3, 1)), texts=["new"] * 180)
        index.delete(new[:170])
        index.save(tmp_path / "index")
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(index) == 60 + 12 * 10
