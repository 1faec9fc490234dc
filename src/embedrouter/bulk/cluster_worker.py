"""What runs on the nodes of a cluster: a check of each node, workers that embed shards, and who hands shards out."""

import logging
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec

from embedrouter.bulk import manifest, storage
from embedrouter.bulk.cluster_nodes import Layout, Report
from embedrouter.bulk.shards import Done, Shard, Work
from embedrouter.errors import EmbedRouterError
from embedrouter.settings import EngineName, NativePath, Precision, Settings

AT_ONCE = 2  # shards a worker embeds at the same time: one computes while the other is read or written
_LOOKED_AT = 32  # inputs that a node looks for before the work


class Loading(NamedTuple):
    """How nodes load the model."""

    model_dir: str | None
    cache_dir: str | None  # None: where the node itself would keep it
    engine: EngineName
    precision: Precision
    native_path: NativePath
    offline: bool

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As the settings of this process say; of nothing else they hold is a node told."""
        return cls(
            str(settings.model_dir.resolve()) if settings.model_dir else None,
            None if settings.cache_dir == Settings().cache_dir else str(settings.cache_dir.resolve()),
            settings.engine,
            settings.precision,
            settings.native_path,
            settings.offline,
        )

    def cache(self) -> Path:
        """Where this node keeps fetched weights."""
        return Path(self.cache_dir) if self.cache_dir else Settings().cache_dir


class Answer(msgspec.Struct, frozen=True):
    """What came of a shard."""

    done: Done | None
    fault: str = ""  # of a row, or of a disk
    broke: bool = False  # the fault is the worker's own


class Outlook(NamedTuple):
    """What a node has to see before the work begins."""

    inputs: tuple[tuple[str, int], ...]  # locations and bytes
    folder: str  # that the driver made, with the manifest in it

    @classmethod
    def of(cls, work: Work) -> Self:
        """The folder and some of the inputs, spread over all of them."""
        step = max(1, len(work.files) // _LOOKED_AT)
        chosen = list(zip(work.files, work.plan.inputs, strict=True))[::step]
        return cls(tuple((str(place.location), known.size) for place, known in chosen), work.folder)


def report(loading: Loading) -> Report:
    """What this node is; the weights are fetched if it has none."""
    from embedrouter import __version__
    from embedrouter.minilm.engines.choose import choose
    from embedrouter.minilm.weights import ensure

    host = socket.gethostname()
    try:
        choice = choose(loading.engine, loading.precision, loading.native_path)
        ensure(Path(loading.model_dir) if loading.model_dir else None, loading.cache(), offline=loading.offline)
    except EmbedRouterError as error:
        return Report(host, __version__, "", error.message)
    return Report(host, __version__, choice.precision)


def blind_to(outlook: Outlook) -> str:
    """What this node does not see of the files, for people; nothing when it sees and may write them."""
    advice = "input and output have to be in one place for all nodes: a shared file system or an object store"
    try:
        for location, size in outlook.inputs:
            found = storage.entry(location)
            if found is None:
                return f"does not see {storage.shown(location)}: {advice}"
            if found.size != size:
                return f"sees another {storage.shown(location)}, of {found.size:,} bytes, not {size:,}: {advice}"
        if storage.entry(storage.child(outlook.folder, manifest.NAME)) is None:
            return f"does not see {storage.shown(outlook.folder)}: {advice}"
        with storage.creating(probe := storage.child(outlook.folder, f".probe-{socket.gethostname()}-{os.getpid()}")):
            pass
        with suppress(OSError):
            storage.remove(probe)
    except EmbedRouterError as error:
        return error.message
    return ""


class ShardWorker:
    """Loads the model once and embeds shard after shard, on some cores of a node."""

    def __init__(self, work: Work, loading: Loading, cores: int) -> None:
        os.environ["RAYON_NUM_THREADS"] = str(cores)  # of the tokenizer
        import pyarrow as pa

        from embedrouter.minilm import MiniLM

        pa.set_cpu_count(cores)
        self._work = work
        self._model = MiniLM(
            loading.model_dir,
            engine=loading.engine,
            precision=loading.precision,
            threads=cores,
            native_path=loading.native_path,
            cache_dir=loading.cache(),
            offline=loading.offline,
        )

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row is a shard or an answer, as JSON: Ray carries neither texts nor vectors."""
        from embedrouter.bulk.shard_files import embed_shard

        try:
            answer = Answer(embed_shard(self._model, self._work, msgspec.json.decode(row["shard"], type=Shard)))
        except EmbedRouterError as error:  # the same row would fail again: it is told, not tried again
            answer = Answer(None, error.message)
        except Exception as error:
            logging.getLogger(__name__).exception("a shard failed")  # Ray keeps it with the worker's log
            answer = Answer(None, f"{type(error).__name__}: {error}", broke=True)
        return {"answer": msgspec.json.encode(answer)}


class Foreman:
    """Hands shards out to the workers, by Ray Data. An actor, as Ray Data cannot run at the far end of ray://."""

    def __init__(self, work: Work, shards: Sequence[Shard], loading: Loading, layout: Layout) -> None:
        from ray import data

        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        rows = [{"shard": msgspec.json.encode(shard)} for shard in shards]
        pool = data.ActorPoolStrategy(
            size=min(layout.workers, len(rows)),
            # No shard waits at one worker while another has nothing to do.
            max_tasks_in_flight_per_actor=AT_ONCE,
            max_concurrent_calls_per_actor=AT_ONCE,
            enable_true_multi_threading=True,
        )
        answers = data.from_items(rows, override_num_blocks=len(rows)).map(
            ShardWorker,
            fn_constructor_args=(work, loading, layout.cores),
            compute=pool,
            num_cpus=layout.cores,
            max_restarts=-1,
            max_task_retries=-1,
        )
        self._blocks = iter(answers.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow"))

    def next(self) -> list[Answer] | None:
        """What has come, as soon as something has; None at the end."""
        block = next(self._blocks, None)
        if block is None:
            return None
        return [msgspec.json.decode(answer, type=Answer) for answer in block["answer"].to_pylist()]
