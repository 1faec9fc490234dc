import itertools
from pathlib import Path

from fault.bank import POOR_KEY, Bank
from fault.clients import Clients
from server import EMBEDDINGS, KEY, MODEL, eventually, serving

_PICO = 5_000  # a token


def test_two_gateways_on_one_database_count_as_one(bank: Bank, tmp_path: Path) -> None:
    """Attack 45."""
    limit = 1_000_003  # pico-USD: no multiple of a price
    bank.limit(POOR_KEY, limit)
    with (
        serving(tmp_path / "a", database_url=bank.url, billing="enforce") as one,
        serving(tmp_path / "b", database_url=bank.url, billing="enforce") as two,
    ):
        turns = itertools.cycle((one.port, two.port))
        clients = Clients(lambda: next(turns), KEY)
        with clients.hammering(6, seed=3):
            eventually(lambda: clients.statuses[200] > 100)
            eventually(lambda: clients.statuses[402] > 0)
        assert clients.bad == []
        assert clients.statuses[503] == 0
        eventually(lambda: bank.holds() == 0)
        bank.audit(clients.told, poor_limit=limit)

        # What one process disables stops in the others within 2 s, and comes back as quickly.
        servers = (one, two)
        body = {"model": MODEL, "input": "hello"}
        for disabled in (True, False):
            bank.disable(KEY, disabled=disabled)
            wanted = 401 if disabled else 200
            for server in servers:
                eventually(lambda: server.request("POST", EMBEDDINGS, body, key=KEY).status == wanted, 2.0)  # noqa: B023

        # Either goes on when the other is killed, and takes over what it held.
        one.process.kill()
        one.process.wait()
        assert two.embed("hello").status == 200
        spent = bank.used(POOR_KEY)
        assert limit - 100 * _PICO < spent <= limit
        assert bank.findings() == []
