"""The log as journald has it: fields to search by, the catalog under -x, and nothing of it in anybody's way."""

from __future__ import annotations

import json
import re
from typing import Any

from conftest import Lab

DEBUG = '[log]\nlevel = "debug"\n'


def between(console: str, begin: str, end: str) -> str:
    """Return what stands between two lines of a console."""
    return console.partition(f"{begin}\n")[2].partition(f"{end}\n")[0]


def test_an_event_is_followed_in_the_journal(lab: Lab) -> None:
    """By its id an event's way is found from the device to the cloud's answer; a fault is explained by -x."""
    boot = lab.run(
        f"""
        install $NEWER
        until_true 60 answers
        printf '{DEBUG}' > /etc/edge-gateway/gateway.d/60-log.toml
        cloud
        use_oracle
        python3 oracle.py publish --rate 5 --until /tmp/enough & sleep 4; touch /tmp/enough; wait
        id=$(edge-gateway events --type reading_taken --limit 1 --json |
            python3 -c 'import json, sys; print(json.loads(sys.stdin.readline())["id"])')
        answered() {{ journalctl -o cat GATEWAY_EVENT_ID="$id" | grep -c . | grep -qx 4; }}
        until_true 30 answered
        echo "--- event"
        journalctl -o json GATEWAY_EVENT_ID="$id"
        echo "--- told"
        edge-gateway explain "$id"
        edge-gateway mode night || true
        edge-gateway audit
        systemctl kill cloud
        away() {{ journalctl -u edge-gateway GATEWAY_CODE=EG-201 -q -n 1 | grep -q EG-201; }}
        until_true 30 away
        echo "--- catalog"
        journalctl -x -u edge-gateway GATEWAY_CODE=EG-201 -n 1 --no-pager
        echo "--- left out"
        printf '[targets.wrong]\\ntype = "mqtt"\\nurl = "nonsense://x"\\n' > /etc/edge-gateway/gateway.d/70-wrong.toml
        systemctl restart edge-gateway
        left_out() {{ journalctl -u edge-gateway GATEWAY_CODE=EG-108 -q -n 1 | grep -q EG-108; }}
        until_true 60 left_out
        journalctl -u edge-gateway -o json GATEWAY_CODE=EG-108 -n 1
        echo "--- end"
        """
    )
    console = boot.console
    steps: list[dict[str, Any]] = [json.loads(line) for line in between(console, "--- event", "--- told").splitlines()]
    assert [step["MESSAGE"].split()[0] for step in steps] == ["received", "on", "sent", "delivered"]
    assert all(step["GATEWAY_DEVICE"] == steps[0]["GATEWAY_DEVICE"] != "" for step in steps)
    assert steps[0]["GATEWAY_SOURCE"]
    assert steps[3]["GATEWAY_TARGET"] == "cloud"
    assert all(step["PRIORITY"] == "7" and step["CODE_FILE"].endswith("chain.py") for step in steps)
    told = between(console, "--- told", "--- catalog")
    assert re.search(r"route +all: delivered, sent 20.*, acknowledged 20", told)
    assert "last heard on oracle/" in told
    assert re.search(r"file:root +config_changed", told)
    assert re.search(r"person:root +mode_changed", told)
    explained = between(console, "--- catalog", "--- left out")
    assert "Subject: EG-201: A target cannot be reached" in explained
    assert "Type: edge-gateway status" in explained
    (said,) = [json.loads(line) for line in between(console, "--- left out", "--- end").splitlines() if line[:1] == "{"]
    assert said["PRIORITY"] == "3"
    assert re.search(r"target wrong: .*70-wrong\.toml:\d", said["MESSAGE"])
