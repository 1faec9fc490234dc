"""The same work on two nodes of a Ray cluster: the same bytes and manifest, also when a worker is killed meanwhile."""

import os
import random
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedrouter.bulk import EmbedOptions, embed_file
from embedrouter.bulk.cluster import ClusterOptions, Crew, embed_file_on, hired, unconnected
from embedrouter.bulk.cluster_nodes import Layout, Node, Report, agreed_precision, lay_out, nodes_of
from embedrouter.bulk.cluster_worker import Loading, Outlook, blind_to
from embedrouter.bulk.shards import Done, Shard, Work
from embedrouter.errors import InvalidRequestError
from embedrouter.minilm import MiniLM
from embedrouter.minilm.weights import Weights
from embedrouter.settings import Settings
from native_module import substituted

WORDS = ["river", "copper", "violin", "ledger", "harvest", "comet", "harbour", "winter", "engine", "garden"]
OPTIONS = EmbedOptions(shard_rows=20, quiet=True)
EMPTY_ROW = 271  # from 1


@pytest.fixture(scope="module")
def loading(weights: Weights) -> Loading:
    """Each node computes as the session's float32 model does."""
    return Loading.of(Settings(model_dir=weights.folder, precision="float32", offline=True))


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterOptions]:
    """Two nodes of one core each, on this machine."""
    if substituted():
        pytest.skip(reason="Ray does not start under the sanitizers")
    pytest.importorskip("ray", reason="the extra `cluster` is not installed")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    nodes: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    started = Cluster(initialize_head=True, head_node_args=nodes)
    try:
        started.add_node(**nodes)
        yield ClusterOptions(started.address)
    finally:
        started.shutdown()


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """280 rows in 14 shards; row 271 has no text."""
    chosen = random.Random(7)
    rows: list[str | None] = [" ".join(chosen.choices(WORDS, k=chosen.randint(3, 90))) for _ in range(280)]
    rows[EMPTY_ROW - 1] = None
    path = tmp_path_factory.mktemp("cluster") / "texts.parquet"
    pq.write_table(pa.table({"id": range(len(rows)), "text": rows}), path, row_group_size=70)
    return path


@pytest.fixture(scope="module")
def unbroken(texts: Path, model_fp32: MiniLM) -> bytes:
    """What one machine makes of the texts."""
    target = texts.with_name("unbroken.parquet")
    embed_file(model_fp32, texts, target, skipping())
    return target.read_bytes()


def skipping() -> EmbedOptions:
    return EmbedOptions(shard_rows=OPTIONS.shard_rows, quiet=True, on_empty="skip")


def test_a_worker_killed_in_the_middle_changes_nothing(
    cluster: ClusterOptions, loading: Loading, texts: Path, unbroken: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = Crew.embed
    killed: list[int] = []

    def killing(crew: Crew, work: Work, shards: list[Shard]) -> Generator[Done, None, None]:
        assert crew.layout == Layout(workers=2, cores=1)
        for done in embed(crew, work, shards):
            if not killed:
                killed.append(workers_of(os.getpid())[0])
                os.kill(killed[0], signal.SIGKILL)
            yield done

    monkeypatch.setattr(Crew, "embed", killing)
    target = texts.with_name("killed.parquet")
    report = embed_file_on(cluster, loading, texts, target, skipping())
    assert killed
    assert (report.rows, report.skipped, report.resumed) == (279, 1, 0)
    assert target.read_bytes() == unbroken


def test_what_a_cluster_began_one_machine_finishes(
    cluster: ClusterOptions, loading: Loading, texts: Path, unbroken: bytes, model_fp32: MiniLM
) -> None:
    target = texts.with_name("begun.parquet")
    with pytest.raises(InvalidRequestError) as caught:
        embed_file_on(cluster, loading, texts, target, OPTIONS)
    assert f'texts.parquet, column "text": row {EMPTY_ROW} has no text' in str(caught.value)
    assert not target.exists()
    report = embed_file(model_fp32, texts, target, skipping())
    assert report.resumed >= OPTIONS.shard_rows
    assert target.read_bytes() == unbroken


def workers_of(process: int) -> list[int]:
    """The processes below `process` that embed shards."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
            if title.startswith(b"ray::MapWorker") and process in ancestors(int(folder.name)):
                found.append(int(folder.name))
        except OSError:  # it has ended
            continue
    return sorted(found)


def ancestors(process: int) -> Iterator[int]:
    while process > 1:
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        yield process


def test_without_ray_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, texts: Path, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InvalidRequestError, match=r"pip install 'embedrouter\[cluster\]'"):
        embed_file_on(ClusterOptions("10.0.0.1:6379"), Loading.of(Settings()), texts, tmp_path / "o.parquet", OPTIONS)


def test_an_address_where_no_cluster_is(texts: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra `cluster` is not installed")
    for address, said in (("127.0.0.1:1", "cannot reach the cluster 127.0.0.1:1"), ("nonsense", "ray://host:port")):
        with pytest.raises(InvalidRequestError, match=said):
            embed_file_on(ClusterOptions(address), Loading.of(Settings()), texts, tmp_path / "o.parquet", OPTIONS)


def test_who_is_not_let_in_hears_of_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    assert unconnected("ray://head:10001", "timeout").endswith("~/.ray/auth_token here and set RAY_AUTH_MODE=token")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert unconnected("ray://head:10001", "timeout").endswith("~/.ray/auth_token here must hold the same")


@pytest.mark.parametrize(("source", "target"), [("-", "o.parquet"), ("in.txt", "-")])
def test_streams_are_not_for_clusters(tmp_path: Path, source: str, target: str) -> None:
    given = [part if part == "-" else tmp_path / part for part in (source, target)]
    with pytest.raises(InvalidRequestError, match="files that all its nodes see"):
        embed_file_on(ClusterOptions("local"), Loading.of(Settings()), given[0], given[1], OPTIONS)


@pytest.mark.parametrize(
    ("cores", "workers", "layout"),
    [
        ([8, 8], None, Layout(2, 8)),
        ([1, 1], None, Layout(2, 1)),
        ([4, 8], None, Layout(3, 4)),
        ([1, 64], None, Layout(1, 64)),  # 64 workers of one core would load the model 64 times
        ([8, 8], 1, Layout(1, 8)),
        ([8, 8], 3, Layout(3, 4)),
        ([2], 2, Layout(2, 1)),
    ],
)
def test_workers_are_as_large_as_the_nodes(cores: list[int], workers: int | None, layout: Layout) -> None:
    assert lay_out(cores, workers) == layout


def test_more_workers_than_cores() -> None:
    with pytest.raises(InvalidRequestError, match="--workers 3: the cluster has 2 cores"):
        lay_out([1, 1], 3)


def test_nodes_that_are_gone_or_have_no_cores_do_not_count() -> None:
    def node(name: str, alive: bool, **resources: float) -> dict[str, Any]:
        return {"NodeID": name, "NodeManagerHostname": f"host-{name}", "Alive": alive, "Resources": resources}

    listed = [node("a", True, CPU=4.0), node("b", False, CPU=4.0), node("c", True, memory=1.0)]
    assert nodes_of(listed) == [Node("a", "host-a", 4)]
    with pytest.raises(InvalidRequestError, match="no node with a core"):
        nodes_of(listed[1:])


def test_nodes_have_to_compute_the_same() -> None:
    fine = Report("left", "1.0", "bfloat16")
    assert agreed_precision([fine, fine], "1.0") == "bfloat16"
    for other, said in (
        (Report("right", "1.0", "float32"), "node right computes in float32: their vectors would differ"),
        (Report("right", "0.9", "bfloat16"), "node right has embedrouter 0.9, and this is 1.0"),
        (Report("right", "1.0", "", "no weights"), "node right: no weights"),
    ):
        with pytest.raises(InvalidRequestError, match=said):
            agreed_precision([fine, other], "1.0")


def test_a_node_that_sees_other_files_says_which(tmp_path: Path) -> None:
    source, folder = tmp_path / "in.parquet", tmp_path / "parts"
    outlook = Outlook(((str(source), 3),), str(folder))
    assert f"does not see {source}: " in blind_to(outlook)
    source.write_bytes(b"four")
    assert f"sees another {source}, of 4 bytes, not 3: " in blind_to(outlook)
    source.write_bytes(b"abc")
    assert f"does not see {folder}: " in blind_to(outlook)
    folder.mkdir()
    (folder / "_manifest.jsonl").write_bytes(b"")
    assert blind_to(outlook) == ""
    assert [path.name for path in folder.iterdir()] == ["_manifest.jsonl"]


def test_a_crew_that_leaves_a_process_as_it_was(cluster: ClusterOptions, loading: Loading) -> None:
    import ray

    with pytest.raises(InvalidRequestError, match="has 2 cores"), hired(ClusterOptions(cluster.address, 9), loading):
        pass
    assert not ray.is_initialized()
