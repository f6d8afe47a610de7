"""A gateway with an encrypted journal, killed under way."""

from __future__ import annotations

from pathlib import Path
from secrets import token_hex

from gateway.journal import block
from tests.system.rig import House, acknowledged, device, own_listener, readings, running

KEYED = "[journal]\nbytes_max = '8MB'\nkey = { file = 'journal.key' }\n"
MESSAGES = 300


def test_an_encrypted_gateway_keeps_what_it_acknowledged_and_shows_it_to_nobody(tmp_path: Path) -> None:
    """After kill -9 everything acknowledged is there under one id, and no block on the disk is legible."""
    port, source = own_listener()
    folder = tmp_path / "gw"
    folder.mkdir()
    (folder / "journal.key").write_text(token_hex(32))
    with running(House(folder, source, KEYED)) as house, device(port) as sender:
        assert acknowledged(sender.count("hall", range(MESSAGES)))
        house.kill()
        house.begin()
        assert readings(house.events("--device", "*hall")) == {"hall": list(range(MESSAGES))}
        files = [path.read_bytes() for path in (house.state / "journal").glob("*.segment")]
    found = [block.decode_header(content, at) for content in files for at in range(0, len(content), block.ALIGN)]
    headers = [header for header in found if header is not None]
    assert sum(header.events for header in headers) >= MESSAGES
    assert [header for header in headers if not header.flags & block.ENCRYPTED] == []
