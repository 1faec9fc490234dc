import threading
from collections import OrderedDict
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from embedrouter.lru import LruCache


class Step(NamedTuple):
    """One use of the cache."""

    what: str
    key: int
    size: int
    due: int | None
    now: int


_WHAT = st.sampled_from(["put", "put", "put", "get", "get", "drop", "drop_due"])
_STEPS = st.builds(
    Step,
    _WHAT,
    st.integers(0, 4),
    st.sampled_from([0, 1, 20, 30, 40, 60]),
    st.none() | st.integers(0, 9),
    st.integers(0, 9),
)


class Model:
    """What the cache is said to be, by the simplest means."""

    def __init__(self, limit: int, largest: int) -> None:
        self.limit = limit
        self.largest = largest
        self.entries: OrderedDict[int, tuple[int, int, int | None]] = OrderedDict()  # value, size, due

    def put(self, key: int, value: int, size: int, due: int | None) -> bool:
        self.entries.pop(key, None)
        if size > self.largest:
            return False
        self.entries[key] = (value, size, due)
        while self.size > self.limit:
            self.entries.popitem(last=False)
        return True

    def get(self, key: int) -> int | None:
        if key not in self.entries:
            return None
        self.entries.move_to_end(key)
        return self.entries[key][0]

    def drop_due(self, now: int) -> None:
        for key in [key for key, (_, _, due) in self.entries.items() if due is not None and due <= now]:
            del self.entries[key]

    @property
    def size(self) -> int:
        return sum(size for _, size, _ in self.entries.values())


@given(st.lists(_STEPS, max_size=80), st.sampled_from([0, 30, 50]), st.integers(50, 120))
def test_it_holds_what_was_used_last_within_its_bound(steps: list[Step], largest: int, limit: int) -> None:
    cache: LruCache[int, int] = LruCache(limit, largest=largest)
    model = Model(limit, largest)
    for value, (what, key, size, due, now) in enumerate(steps):
        if what == "put":
            assert cache.put(key, value, size, due=due) == model.put(key, value, size, due)
        elif what == "get":
            assert cache.get(key) == model.get(key)
        elif what == "drop":
            cache.drop(key)
            model.entries.pop(key, None)
        else:
            cache.drop_due(now)
            model.drop_due(now)
        assert cache.size == model.size <= limit
        assert len(cache) == len(model.entries)
    for key, (value, *_) in list(model.entries.items()):
        assert cache.get(key) == value


def test_what_is_read_stays_longer_than_what_is_not() -> None:
    cache: LruCache[str, int] = LruCache(3)
    for key in "abc":
        cache.put(key, 1, 1)
    assert cache.get("a") == 1
    cache.put("d", 1, 2)
    assert [cache.get(key) for key in "abcd"] == [1, None, None, 1]


def test_what_is_due_goes_however_much_it_is() -> None:
    cache: LruCache[int, int] = LruCache(10_000)
    for key in range(2_000):
        cache.put(key, key, 1, due=key % 3)
    cache.put(-1, -1, 1)
    cache.drop_due(1.9)
    assert len(cache) == cache.size == 2_000 // 3 + 1
    cache.drop_due(2.0)
    assert len(cache) == 1
    assert cache.get(-1) == -1


def test_threads_that_share_it_leave_its_books_exact() -> None:
    cache: LruCache[int, int] = LruCache(500, largest=50)
    failures: list[BaseException] = []

    def use(seed: int) -> None:
        try:
            for step in range(3_000):
                key = step * seed % 97
                cache.put(key, key, key % 50, due=step % 5)
                assert cache.get(key) in (key, None)
                if step % 7 == 0:
                    cache.drop(key + 1)
                if step % 100 == 0:
                    cache.drop_due(step % 5)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in (3, 5, 11, 13)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert cache.size <= 500
    cache.drop_due(5)
    assert (len(cache), cache.size) == (0, 0)
