"""What /metrics tells of the parts of the process."""

from embedrouter.minilm import MiniLM
from embedrouter.minilm.batcher import BatchStats
from embedrouter.providers.vector_cache import VectorCache
from embedrouter.response_cache import ResponseCache
from embedrouter.store import Writer
from embedrouter.telemetry.metrics import Metrics


def model(served: MiniLM, metrics: Metrics) -> None:
    """Its queue and its batches."""
    batcher = served.pipeline.batcher
    metrics.watch("queued_tokens", "Tokens that wait for the model.", lambda: batcher.queued_tokens)
    metrics.watch("workers_live", "Model worker threads that run.", lambda: batcher.live_workers)
    metrics.watch("worker_restarts", "Model workers that died and were replaced.", lambda: batcher.restarts)

    def on_batch(stats: BatchStats) -> None:
        if stats.failed:
            metrics.batch_failures.inc()
        metrics.batch_size.observe(stats.sequences)
        metrics.batch_tokens.observe(stats.tokens)
        metrics.stages["queue"].observe(stats.queued_seconds)
        metrics.stages["compute"].observe(stats.compute_seconds)

    batcher.watcher = on_batch


def writer(watched: Writer, metrics: Metrics) -> None:
    """What waits for the database, and how long it takes."""
    metrics.watch("writes_waiting", "Writes that wait for the database.", lambda: watched.waiting)
    metrics.watch("database_failing", "1 while the database cannot be written.", lambda: watched.failing)

    def on_commit(works: int, seconds: float) -> None:
        metrics.commit_seconds.observe(seconds)
        metrics.commit_works.observe(works)

    watched.watcher = on_commit


def cache(name: str, what: str, kept: ResponseCache | VectorCache | None, metrics: Metrics) -> None:
    """Also of a cache that is off, so that every series exists from the start."""
    count, size = metrics.watch_count, metrics.watch
    count(f"{name}_cache_hits", f"Times a wanted {what} was found.", lambda: kept.hits if kept else 0)
    count(f"{name}_cache_misses", f"Times a wanted {what} was not found.", lambda: kept.misses if kept else 0)
    size(f"{name}_cache_entries", f"How many {what}s are kept.", lambda: len(kept.entries) if kept else 0)
    size(f"{name}_cache_bytes", f"Bytes that the {what}s take.", lambda: kept.entries.size if kept else 0)
