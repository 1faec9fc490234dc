"""embedrouter secrets: rotate and check, beside a server that goes on using the credentials."""

import json
from pathlib import Path

from server import MANAGER, cli, serving

_SECRET = "sk-proj-0123456789abcdef"  # noqa: S105 (nobody's)


def test_keys_are_rotated_and_checked_beside_a_running_server(tmp_path: Path) -> None:
    with serving(tmp_path, management_key=MANAGER) as server:
        id_ = server.manage("POST", "/byok", {"provider": "openai", "key": _SECRET}).json()["data"]["id"]
        before = (server.data_dir / "secrets.key").read_text()
        done = cli("secrets", "rotate", "--json", "--data-dir", server.data_dir)
        assert done.returncode == 0, done.stderr
        shown = json.loads(done.stdout)
        assert (shown["resealed"], shown["dropped"]) == (1, [before.partition(":")[0]])
        after = (server.data_dir / "secrets.key").read_text()
        assert after.startswith(f"{shown['key']}:")
        assert after.partition(":")[2].strip() not in done.stdout + done.stderr
        checked = cli("secrets", "check", "--json", "--data-dir", server.data_dir)
        assert json.loads(checked.stdout) == {"clean": True, "credentials": 1, "findings": []}
        assert server.manage("PATCH", f"/byok/{id_}", {"key": _SECRET + "new"}).status == 200
        assert cli("secrets", "check", "--data-dir", server.data_dir).stdout == "clean: 1 credential(s) open\n"
        (server.data_dir / "secrets.key").write_text(before)
        wrong = cli("secrets", "check", "--data-dir", server.data_dir)
        assert wrong.returncode == 1
        assert f'credential {id_} (openai) is sealed with the key "{shown["key"]}"' in wrong.stdout
        examined = cli("doctor", "--json", "--data-dir", server.data_dir)
        assert [one["check"] for one in json.loads(examined.stdout)["findings"]] == ["sealed"]
        refused = cli("secrets", "rotate", "--data-dir", server.data_dir)
        assert (refused.returncode, "nothing was changed" in refused.stderr) == (2, True)


def test_a_key_of_the_environment_is_not_replaced_but_told_about(tmp_path: Path) -> None:
    assert cli("db", "migrate", "--data-dir", tmp_path).returncode == 0
    refused = cli("secrets", "rotate", "--data-dir", tmp_path, secrets_key="one:" + "A" * 43 + "=")
    assert refused.returncode == 2
    assert "EMBEDROUTER_SECRETS_KEY holds one key, one: put a new one before it" in refused.stderr
    assert "AAAA" not in refused.stderr
