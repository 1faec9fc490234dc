"""Embedding shards on a Ray cluster. Ray carries descriptions of shards; files carry texts and vectors."""

import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from embedrouter.bulk.cluster_nodes import Layout, Node, Report, agreed_precision, lay_out, nodes_of
from embedrouter.bulk.cluster_worker import Foreman, Loading, Outlook, blind_to, report
from embedrouter.bulk.embed import EmbedOptions, EmbedReport, begin_with, places, telling_what_is_kept
from embedrouter.bulk.progress import meter
from embedrouter.bulk.run import Run
from embedrouter.bulk.shards import Done, Shard, Work
from embedrouter.errors import EmbedRouterError, InvalidRequestError
from embedrouter.minilm.facts import DIMENSIONS
from embedrouter.minilm.model import fingerprint
from embedrouter.minilm.windows import LongInput

LOCAL: Final = "local"
_OBJECTS: Final = 80_000_000  # bytes of Ray's object store on this machine: descriptions of shards are small
_CHECK: Final = 900.0  # seconds a node gets to fetch the weights
_ANSWER: Final = 10.0  # seconds the cluster gets to answer at all
_ROUNDS: Final = 3  # that may end without a shard done

A = TypeVar("A")
T = TypeVar("T")


class ClusterOptions(msgspec.Struct, frozen=True):
    """Which cluster, and how much of it."""

    address: str  # "local", "auto", ray://host:port, or host:port
    workers: int | None = None  # None: one a node
    cores: int = 0  # of "local"; 0: all that this process may use


class Crew:
    """The workers of a cluster. To who plans the work it is what a model is: `dimensions` and `fingerprint`."""

    dimensions: Final = DIMENSIONS

    def __init__(self, nodes: Sequence[Node], layout: Layout, loading: Loading, precision: str) -> None:
        self.nodes = nodes
        self.layout = layout
        self._loading = loading
        self._precision = precision

    def fingerprint(self, rule: LongInput = LongInput.WINDOWS) -> str:
        """As `MiniLM.fingerprint` has it on each node."""
        return fingerprint(self._precision, rule)

    def __str__(self) -> str:
        return f"{_counted(self.layout.workers, 'worker')} of {_counted(self.layout.cores, 'core')}"

    def embed(self, work: Work, shards: Sequence[Shard]) -> Generator[Done, None, None]:
        """Embed shards into their files, in any order: each is told once, when its file is there.

        Shards of a worker or a node that died are embedded again. Raises InvalidRequestError for what is wrong with a
        row or a disk, or when a node does not see the files; EmbedRouterError when the cluster fails.
        """
        for node, fault in zip(self.nodes, _ask(self.nodes, blind_to, Outlook.of(work)), strict=True):
            if fault:
                raise InvalidRequestError(f"node {node.host} {fault}")
        # Workers need the choices, not the list of all that there is to do.
        lean = msgspec.structs.replace(work, plan=msgspec.structs.replace(work.plan, shards=()))
        left = {shard.number: shard for shard in shards}
        fruitless = 0
        while left:
            before = len(left)
            for done in self._round(lean, list(left.values())):
                if left.pop(done.number, None) is not None:
                    yield done
            fruitless = 0 if len(left) < before else fruitless + 1
            if fruitless == _ROUNDS:
                raise EmbedRouterError("the cluster loses its workers again and again")

    def _round(self, work: Work, shards: Sequence[Shard]) -> Iterator[Done]:
        """Shards as they are done. Ends early when the foreman is lost with its node."""
        import ray

        foreman = ray.remote(Foreman).options(num_cpus=0).remote(work, shards, self._loading, self.layout)
        try:
            while (answers := ray.get(foreman.next.remote())) is not None:
                for answer in answers:
                    if answer.broke:
                        raise EmbedRouterError(f"a worker failed: {answer.fault}")
                    if answer.done is None:
                        raise InvalidRequestError(answer.fault)
                    yield answer.done
        except ray.exceptions.RayTaskError as error:
            raise EmbedRouterError(f"the cluster failed: {_told(error)}") from error
        except ray.exceptions.RayActorError:
            return
        finally:
            ray.kill(foreman)


def embed_file_on(
    cluster: ClusterOptions, loading: Loading, source: Path | str, target: Path | str, options: EmbedOptions
) -> EmbedReport:
    """As `embed_file`, on the nodes of a cluster: the same output, by the same manifest, which this process writes."""
    started = time.monotonic()
    origins, goal = places(source, target, options)
    if goal.location is None or any(place.location is None for place in origins):
        raise InvalidRequestError("a cluster works on files that all its nodes see, not on standard input and output")
    with hired(cluster, loading) as crew:
        if not options.quiet:
            print(f"{cluster.address}: {crew}", file=sys.stderr, flush=True)
        run = begin_with(crew, origins, goal, options, always=True)
        if run is None:
            raise RuntimeError("a run that was to begin always has not")
        with run:
            with telling_what_is_kept(run):
                _embed(crew, run, quiet=options.quiet)
                run.finish()
            rows, skipped = sum(one.rows for one in run.done), sum(one.skipped for one in run.done)
        return EmbedReport(rows, skipped, time.monotonic() - started, run.resumed_rows)


def _embed(crew: Crew, run: Run, *, quiet: bool) -> None:
    if run.resumed and not quiet:
        print(f"resuming: {run.resumed:,} of {run.shards:,} shards are done", file=sys.stderr, flush=True)
    position = run.resumed_rows
    with (
        meter(sys.stderr, run.total_rows, quiet=quiet, before=run.resumed_rows) as progress,
        closing(crew.embed(run.work, run.left())) as answers,
    ):
        for done in answers:
            run.record(done)
            rows = done.rows + done.skipped
            position += rows
            progress.advance(rows, position)


@contextmanager
def hired(options: ClusterOptions, loading: Loading) -> Iterator[Crew]:
    """The crew of a cluster, checked: every node has embedrouter, the weights, and the same precision.

    A connection to Ray that this process has already is used, and left open.
    Raises InvalidRequestError when Ray or the cluster is not there, or a node cannot take part.
    """
    ray = _ray(options)
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, options)
    try:
        nodes = nodes_of(ray.nodes())
        layout = lay_out([node.cores for node in nodes], options.workers)
        from embedrouter import __version__

        reports: list[Report] = _ask(nodes, report, loading)
        yield Crew(nodes, layout, loading, agreed_precision(reports, __version__))
    finally:
        if ours:
            ray.shutdown()


def _ray(options: ClusterOptions) -> Any:
    """The library, told to keep to this machine and to itself."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if options.address == LOCAL and "RAY_AUTH_MODE" not in os.environ:
        # Its ports are open to the network: they answer to this process alone.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    try:
        import ray
    except ImportError as error:
        raise InvalidRequestError("--cluster needs Ray: pip install 'embedrouter[cluster]'") from error
    return ray


def _knock(address: str) -> None:
    """Ray itself takes minutes to notice that nobody is there. Raises InvalidRequestError."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise InvalidRequestError(f'--cluster takes ray://host:port, host:port, auto or local, not "{address}"')
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER).close()
    except (OSError, OverflowError) as error:
        raise InvalidRequestError(f"cannot reach the cluster {address}: {error}") from error


def _connect(ray: Any, options: ClusterOptions) -> None:
    if options.address not in (LOCAL, "auto"):
        _knock(options.address)
    logging.getLogger("ray").setLevel(logging.ERROR)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        if options.address == LOCAL:
            from embedrouter.minilm import cpu

            cores = options.cores or cpu.available_cores()
            ray.init(
                address=LOCAL,
                num_cpus=cores,
                include_dashboard=False,
                object_store_memory=_OBJECTS,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        else:
            ray.init(address=options.address, log_to_driver=False, logging_level=logging.ERROR)
    except (ray.exceptions.RayError, ImportError, OSError, RuntimeError, ValueError) as error:
        raise InvalidRequestError(unconnected(options.address, _told(error))) from error
    with suppress(ValueError):  # not the main thread: then nobody asked for anything
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own ends the process with a trace


def unconnected(address: str, reason: str) -> str:
    """What is told when somebody listens there and Ray does not connect: it says nothing of a token that it lacks."""
    told = f"cannot reach the cluster {address}: {reason}"
    if os.environ.get("RAY_AUTH_MODE") == "token":
        return f"{told}; if it has a token, ~/.ray/auth_token here must hold the same"
    return f"{told}; if it has a token, put it into ~/.ray/auth_token here and set RAY_AUTH_MODE=token"


def _ask(nodes: Sequence[Node], question: Callable[[A], T], about: A) -> list[T]:
    """What each node answers. Raises InvalidRequestError naming the one that gives none."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asked = ray.remote(question)
    pending = [
        asked.options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)).remote(about)
        for node in nodes
    ]
    answers = []
    for node, one in zip(nodes, pending, strict=True):
        try:
            answers.append(ray.get(one, timeout=_CHECK))
        except ray.exceptions.RayError as error:
            raise InvalidRequestError(
                f"node {node.host} cannot take part: {_told(error)}; it needs the Python and embedrouter that are here"
            ) from error
    return answers


def _told(error: BaseException) -> str:
    """The last line of an error, without the far side's trace."""
    cause = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[-1] if lines else type(cause).__name__


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
