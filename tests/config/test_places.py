"""Where a gateway is found, even by a config that cannot be loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.places import places

DEFAULT = (
    Path("/var/lib/edge-gateway"),
    Path("/var/lib/edge-gateway/journal"),
    Path("/var/lib/edge-gateway/api.sock"),
)


def test_places_of_a_config(tmp_path: Path) -> None:
    """State, journal and socket are where the config says, relative to it; overlays count."""
    (tmp_path / "gateway.d").mkdir()
    (tmp_path / "gateway.toml").write_text("[gateway]\nstate = 'var'\n")
    assert places(tmp_path / "gateway.toml") == (
        tmp_path / "var",
        tmp_path / "var" / "journal",
        tmp_path / "var" / "api.sock",
    )
    (tmp_path / "gateway.d" / "1.toml").write_text("[api]\nsocket = '/run/x.sock'\n[journal]\nfolder = 'j'\n")
    assert places(tmp_path / "gateway.toml") == (tmp_path / "var", tmp_path / "j", Path("/run/x.sock"))


@pytest.mark.parametrize(
    "text", ["not toml", "[gateway]\nstate = 5\n[journal]\nfolder = []\n", "gateway = 1\napi = []\n"]
)
def test_a_broken_config_has_the_defaults(text: str, tmp_path: Path) -> None:
    """`status` works when the config is broken or not there."""
    assert places(tmp_path / "gateway.toml") == DEFAULT
    (tmp_path / "gateway.toml").write_text(text)
    assert places(tmp_path / "gateway.toml") == DEFAULT


def test_what_is_right_in_a_config_with_faults_counts(tmp_path: Path) -> None:
    """A fault elsewhere does not hide where the gateway is."""
    (tmp_path / "gateway.toml").write_text("[gateway]\nstate = 'var'\nnmae = 1\n[surces]\n")
    assert places(tmp_path / "gateway.toml").state == tmp_path / "var"


@pytest.mark.parametrize("broken", ["this is no TOML", "[api", "more = ", 'x = """', "[sources]\nhouse = 1\n[[["])
def test_a_broken_file_hides_nothing_that_stands_before_the_fault(broken: str, tmp_path: Path) -> None:
    """An overlay that is no TOML, or a fault at the end of the config itself: the gateway is where it is said to be."""
    text = "[api]\nsocket = '/run/x.sock'\n[gateway]\nstate = 'var'\n"
    (tmp_path / "gateway.d").mkdir()
    (tmp_path / "gateway.toml").write_text(text)
    (tmp_path / "gateway.d" / "60-broken.toml").write_text(broken)
    assert places(tmp_path / "gateway.toml").socket == Path("/run/x.sock")
    (tmp_path / "gateway.toml").write_text(f"{text}{broken}\nmore = 1\n")
    assert places(tmp_path / "gateway.toml")[::2] == (tmp_path / "var", Path("/run/x.sock"))
