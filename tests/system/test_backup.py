"""A backup of a gateway that runs, and what becomes of it on another card."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simulators.subject import PROGRAM
from tests.cli.site import command
from tests.system.rig import PATIENCE_S, Device, House, acknowledged, device, own_listener, readings, running, until

SMALL = "[journal]\nbytes_max = '128MB'\nsegment_bytes = '64kB'\n"
MESSAGES = 1500
BULK_BYTES = 400
BURST = 200


class Restored(House):
    """A gateway that a restore made: nothing of its config is written here."""

    def __init__(self, folder: Path) -> None:
        """Take it as it is."""
        self.folder, self._program = folder, PROGRAM
        self.file = folder / "gateway.toml"
        self.log = folder / "gateway.log"
        self.session = None


@contextmanager
def load(sender: Device) -> Iterator[list[int]]:
    """Publish for the length of a block, whatever becomes of it; yields how many messages it was."""
    sent, stop = [0], threading.Event()

    def publish() -> None:
        while not stop.is_set():
            infos = sender.count("attic", range(sent[0], sent[0] + BURST), bulk=BULK_BYTES)
            sent[0] += BURST
            while not (stop.is_set() or infos[-1].is_published()):
                time.sleep(0.001)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield sent
    finally:
        stop.set()
        thread.join()


def test_a_backup_under_load_goes_on_elsewhere_with_ids_never_used(tmp_path: Path) -> None:
    """A backup made under load has what was acknowledged before; after a kill it and the original share no new id."""
    port, source = own_listener()
    file = tmp_path / "gw.tar.zst"
    with running(House(tmp_path / "gw", source, SMALL)) as house, device(port) as sender:
        before = sender.count("hall", range(MESSAGES), bulk=BULK_BYTES)
        assert acknowledged(before)
        with load(sender) as sent:
            made = house.json("backup", str(file))
            busy = house.json("journal", "verify")
            house.kill()
        assert sent[0] > 0
        assert made["last_sequence"] >= MESSAGES
        assert (busy["ok"], busy["recovery"]["missing_records"]) == (True, 0)
        house.begin()
        assert acknowledged(sender.online().count("cellar", range(50)))
        original = {event["id"] for event in house.events()}
        hall = house.events("--device", "*hall")
        assert readings(hall) == {"hall": list(range(MESSAGES))}
    done = command("restore", str(file), "--to", str(tmp_path / "copy"), "--json").json
    with running(Restored(tmp_path / "copy")) as copy, device(port, "another") as sender:
        assert copy.events("--device", "*hall") == hall
        assert acknowledged(sender.count("garage", range(50)))
        until(lambda: copy.status()["durable"] >= copy.status()["sequence"], timeout_s=PATIENCE_S)
        mine = [event for event in copy.events() if int(event["sequence"]) >= done["first_sequence"]]
        assert readings(mine) == {"garage": list(range(50))}
        assert not {event["id"] for event in mine} & original
        assert copy.json("journal", "verify")["ok"]
        told = [event["data"]["what"] for event in mine if event["type"] == "change_recorded"]
        assert "backup_restored" in told  # who did it was left for the first start
