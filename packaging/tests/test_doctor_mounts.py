"""What doctor says of file systems as a kernel mounts them: without barriers, read-only, full, an overlay in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MEMORY = "mkdir up lower && mount -t tmpfs none up && mkdir up/u up/w"
OVERLAY = f"{MEMORY} && mount -t overlay -o lowerdir=$PWD/lower,upperdir=$PWD/up/u,workdir=$PWD/up/w none mnt"
MOUNTS = {
    "nobarrier": ("mount -o loop,nobarrier disk mnt", "nobarrier"),
    "read-only": ("mount -o loop disk mnt && mkdir -p mnt/state && mount -o remount,ro mnt", "is mounted read-only"),
    "full": ("mount -o loop disk mnt && fallocate -l 20M mnt/else", "the journal may take"),
    "overlay": (OVERLAY, "is an overlay, which keeps changes in memory"),
}


@pytest.mark.parametrize("kind", MOUNTS)
def test_a_state_that_would_be_lost_is_found_out(kind: str, tmp_path: Path) -> None:
    """On each of these mounts doctor ends with 1 and says what is wrong with it."""
    mount, words = MOUNTS[kind]
    (tmp_path / "gateway.toml").write_text(
        '[gateway]\nname = "pi"\nstate = "mnt/state"\n[targets.cloud]\ntype = "mqtt"\nurl = "mqtt://127.0.0.1:1"\n'
    )
    doctor = f"{sys.executable} -m gateway doctor disk --json --config {tmp_path}/gateway.toml"
    prepare = "mkdir mnt && truncate -s 32M disk && mkfs.ext4 -q disk"
    script = f"cd {tmp_path} && {prepare} && {mount} && {{ mkdir -p mnt/state 2>/dev/null; cd /; {doctor}; }}"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    lines: list[dict[str, Any]] = json.loads(done.stdout)["lines"]
    assert any(line["level"] == "bad" and words in line["text"] for line in lines), lines
