"""How the verbs that run rules at the desk are ended."""

from __future__ import annotations

import os
import signal
import time

import pytest

from gateway.cli.rules.desk import Stop


def test_ctrl_c_once_is_a_wish_twice_an_order() -> None:
    """The first is taken note of, the second interrupts; afterwards it is as before."""
    before, stop = signal.getsignal(signal.SIGINT), Stop()
    with stop.armed():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)
        assert stop.wanted
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
