"""Which nodes a cluster has, how many workers go onto them, and whether they agree. Pure functions."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from embedrouter.errors import InvalidRequestError

_IDLE = 0.1  # of all cores: what workers of one size may leave idle


class Node(NamedTuple):
    """A machine that computes."""

    id: str
    host: str
    cores: int


class Layout(NamedTuple):
    """Workers of one size."""

    workers: int
    cores: int  # of each


class Report(NamedTuple):
    """What a node says of itself."""

    host: str
    version: str  # of embedrouter
    precision: str  # that it computes in
    fault: str = ""  # why it cannot take part


def nodes_of(listed: Iterable[Mapping[str, Any]]) -> list[Node]:
    """The nodes that are alive and have a core, of what `ray.nodes()` lists. Raises InvalidRequestError for none."""
    found = [
        Node(str(node["NodeID"]), str(node["NodeManagerHostname"]), int(node["Resources"]["CPU"]))
        for node in listed
        if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
    ]
    if not found:
        raise InvalidRequestError("the cluster has no node with a core to compute on: start one with `ray start`")
    return found


def lay_out(cores: Sequence[int], workers: int | None) -> Layout:
    """How large the workers are, on nodes with so many cores each.

    workers None: one a node where nodes are alike, else the largest size that leaves at most a tenth of the cores
    idle. Raises InvalidRequestError when there are not so many cores.
    """
    total = sum(cores)
    for size in range(max(cores), 0, -1):
        places = sum(have // size for have in cores)
        if workers is None and places * size >= (1 - _IDLE) * total:
            return Layout(places, size)
        if workers is not None and places >= workers:
            return Layout(workers, size)
    raise InvalidRequestError(f"--workers {workers}: the cluster has {total} cores, and a worker needs one")


def agreed_precision(reports: Sequence[Report], version: str) -> str:
    """The precision that all nodes compute in. version: of embedrouter, here.

    Raises InvalidRequestError naming the node that cannot take part, or would compute other vectors.
    """
    for report in reports:
        if report.fault:
            raise InvalidRequestError(f"node {report.host}: {report.fault}")
        if report.version != version:
            raise InvalidRequestError(f"node {report.host} has embedrouter {report.version}, and this is {version}")
    by_precision = {report.precision: report.host for report in reports}
    if len(by_precision) > 1:
        told = ", ".join(f"node {host} computes in {precision}" for precision, host in sorted(by_precision.items()))
        raise InvalidRequestError(f"{told}: their vectors would differ; choose one with --precision")
    return reports[0].precision
