"""The gateway and the cloud beside a simulated house: set up in a folder, started, asked, and put away."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.api.client import ApiClient
from gateway.api.line import ApiError, NotRunning
from gateway.errors import GatewayError
from simulators.broker import Mosquitto
from simulators.cloud_http import OK, Answer, CloudHttp
from simulators.house.gadget import Gadget
from simulators.house.house import House
from simulators.processes import Session, free_port

START_S_MAX = 60.0
FAULTY_MAX = 10  # looks at rules that do not run, one behind the other, until they are believed
DRAIN_S_MAX = 60.0
SLOW_S = 0.3
POLL_S = 0.1
OBJECTS_FILE = "objects"  # what `gateway_process` writes beside STAGE
WORKER = "edge-rules"  # what a rule worker calls itself
CLOUD = {f"cloud_{word}": word for word in ("400", "404", "429", "500", "503", "silent")}
CONFIG = """\
[gateway]
name = "simulated"
state = "state"
timezone = "UTC"
profiles = [{profiles}]

[api]
socket = {socket}

[journal]
bytes_max = "64MB"
tail_bytes_max = "512KB"

[rules]
folder = "rules"
{modes}

[sources.house]
{source}

{ports}
[targets.cloud]
type = "http"
url = "{cloud}"
mode = "batched"
reconnect_max_s = 2
answer_timeout_s = 5

[routes.all]
to = "cloud"
retry_longest_s = 2
refused_retry_s = 2

{more}
"""


class Stage:
    """A gateway with its cloud in a folder; `acts` are the faults it can play."""

    def __init__(self, folder: Path, house: House, *, speed: float, here: Path, broker: bool) -> None:
        """Write configs and rules; nothing runs. `here` is the scenario's folder; `broker`: Mosquitto in front."""
        self.folder, self.house, self.speed = folder, house, speed
        self.received = folder / "received.ndjson"
        self.cloud = CloudHttp(ledger=self.received)
        self.broker = Mosquitto(folder / "broker") if broker else None
        self._listen = free_port()
        self._beside = Path(tempfile.mkdtemp(prefix="egw-"))  # a socket's path is short, `folder` may be deep
        self._socket = self._beside / "api.sock"
        self._here = here
        self._slow_s = 0.0
        self._go: float | None = None
        self._session: Session | None = None
        self.said: dict[str, Any] = {}
        self._faults: list[str] = []  # of rule files

    @property
    def address(self) -> tuple[str, int]:
        """Return where devices publish."""
        return (self.broker.host, self.broker.port) if self.broker else ("127.0.0.1", self._listen)

    @property
    def acts(self) -> dict[str, Callable[[bool], None]]:
        """Return the faults of lines that are played here."""
        acts: dict[str, Callable[[bool], None]] = {kind: self._cloud_says(word) for kind, word in CLOUD.items()}
        acts["cloud_cut"] = self._cloud_gone
        acts["slow_disk"] = self._slow_disk
        if self.broker:
            acts["broker_restart"] = self._broker_away
        return acts

    def start(self) -> None:
        """Start everything; return when the gateway answers. GatewayError with its last words otherwise."""
        if self.broker:
            self.broker.start()
        self.cloud.start()
        self._write()
        self._tell()
        module = ["-m", "simulators.house.gateway_process", str(self.folder / "stage.json")]
        argv = [sys.executable, *module, str(self.folder / "gateway.toml")]
        self._session = Session(argv, self.folder / "gateway.log")
        end, faulty = time.monotonic() + START_S_MAX, 0
        while not self._answers():
            if not self._session.alive() or time.monotonic() > end:
                raise GatewayError(f"the gateway did not start; its last words:\n{self._session.tail()}")
            faulty = faulty + 1 if self._faults else 0
            if faulty > FAULTY_MAX:
                raise GatewayError("rules of the scenario do not run:\n  " + "\n  ".join(self._faults))
            time.sleep(POLL_S)

    def go(self, began: float) -> None:
        """Let the gateway's clock go as the house's does."""
        self._go = began
        self._tell()

    def resident(self) -> dict[str, int]:
        """Return the memory of the gateway and of its rule workers, the spare one included."""
        assert self._session is not None
        found = self._session.resident()
        workers = found.pop(WORKER, 0)
        return {"gateway": sum(found.values()), "rules": workers} if workers else {"gateway": sum(found.values())}

    @property
    def objects(self) -> int:
        """Return how many objects Python has allocated in the gateway; 0 when it has not said so yet."""
        file = self.folder / OBJECTS_FILE
        return int(file.read_text() or 0) if file.exists() else 0

    @property
    def alive(self) -> bool:
        """Return whether the gateway runs."""
        return self._session is not None and self._session.alive()

    def ask(self, what: str, **arguments: Any) -> Any:
        """Ask the gateway."""
        with ApiClient(self._socket) as client:
            return client.ask(what, **arguments)

    def status(self) -> dict[str, Any]:
        """Return the gateway's status."""
        self.cloud.accepted.clear()  # they are in the file
        self.cloud.requests.clear()
        said: dict[str, Any] = self.ask("status")
        return said

    async def drain(self) -> bool:
        """Wait until nothing is on its way any more; False when something still is after `DRAIN_S_MAX`."""
        end = time.monotonic() + DRAIN_S_MAX
        quiet = 0
        while time.monotonic() < end and self.alive:
            try:
                await asyncio.to_thread(self.ask, "flush")
                self.said = await asyncio.to_thread(self.status)
                waiting = sum(lane["queued"] for lane in self.said["lanes"]) + self.said["rules"]["behind"]
                if self.broker:  # it keeps what it has answered for, until the gateway is back
                    waiting += sum(
                        each["name"] == "house" and each["state"] != "connected" for each in self.said["sources"]
                    )
            except (ApiError, NotRunning, OSError):
                waiting = 1
            quiet = quiet + 1 if waiting == 0 else 0
            if quiet >= 3:  # what rules make of the last events comes a moment later
                return True
            await asyncio.sleep(POLL_S)
        return False

    def stop(self) -> int | None:
        """End everything; return the gateway's exit code."""
        code = self._session.stop() if self._session else None
        self.cloud.close()
        if self.broker:
            self.broker.stop()
        shutil.rmtree(self._beside, ignore_errors=True)
        return code

    def log(self) -> str:
        """Return the end of the gateway's log."""
        return self._session.tail() if self._session else ""

    # ---- what it is made of --------------------------------------------------------------------------

    def _write(self) -> None:
        table = self.house.scenario.gateway
        rules = self.folder / "rules"
        rules.mkdir(parents=True, exist_ok=True)
        for name in table.rules:
            source = self._here / name
            if not source.exists():
                raise GatewayError(f"the scenario's rule {source} is not there")
            for file in sorted(source.glob("*.py")) if source.is_dir() else [source]:
                shutil.copy(file, rules / file.name)
        where = f'url = "{self.broker.url}"' if self.broker else f'listen = "127.0.0.1:{self._listen}"'
        text = CONFIG.format(
            profiles=", ".join(json.dumps(str((self._here / each).resolve())) for each in table.profiles),
            source=where, ports="\n".join(self._ports()), cloud=self.cloud.url, socket=_quoted(str(self._socket)),
            more=table.more, modes=f"modes = {json.dumps(table.modes, ensure_ascii=False)}" if table.modes else "",
        )  # fmt: skip
        (self.folder / "gateway.toml").write_text(text)
        (self.folder / "devices.toml").write_text(devices_toml(self.house))

    def _ports(self) -> list[str]:
        found = []
        for dialect in self.house.dialects.values():
            if dialect.serial:
                port = _quoted(str(self.folder / "ports" / dialect.source))
                lines = [f"[sources.{dialect.source}]", f"serial = {port}", f"baud = {dialect.baud}"]
                profile = f"profile = {_quoted(dialect.profile or '')}"
                if dialect.asked:
                    unit = f"[[sources.{dialect.source}.unit]]"
                    lines += [f"{unit}\naddress = {gadget.number}\n{profile}" for gadget in dialect.gadgets]
                else:
                    lines.append(profile)
                found.append("\n".join([*lines, ""]))
        return found

    def _tell(self) -> None:
        said = {"start_s": self.house.scenario.start_s, "speed": self.speed, "go": self._go, "slow_s": self._slow_s}
        beside = self.folder / "stage.new"
        beside.write_text(json.dumps(said))
        beside.rename(self.folder / "stage.json")

    def _answers(self) -> bool:
        """Return whether the gateway is up, its rules included."""
        try:
            rules = self.ask("status")["rules"]
            self._faults = rules["faults"]
            return (rules["state"] == "running" and not self._faults) or not self.house.scenario.gateway.rules
        except (ApiError, NotRunning, OSError):
            return False

    # ---- faults --------------------------------------------------------------------------------------

    def _cloud_says(self, word: str) -> Callable[[bool], None]:
        def act(begins: bool) -> None:
            self.cloud.usual = Answer.parse("429:1" if word == "429" else word) if begins else OK

        return act

    def _cloud_gone(self, begins: bool) -> None:
        if begins:
            self.cloud.stop()
        else:
            self.cloud.start()

    def _slow_disk(self, begins: bool) -> None:
        self._slow_s = SLOW_S if begins else 0.0
        self._tell()

    def _broker_away(self, begins: bool) -> None:
        assert self.broker is not None
        if begins:
            self.broker.stop()
        else:
            self.broker.start()


def devices_toml(house: House) -> str:
    """Write the devices.toml of a house: what a person would have said of each device."""
    return "\n".join(_device(house, gadget) for gadget in house.gadgets)


def _device(house: House, gadget: Gadget) -> str:
    dialect = house.dialects[gadget.dialect]
    lines = ["[[device]]", f"id = {_quoted(dialect.id_of(gadget))}"]
    lines += [f"name = {_quoted(gadget.label)}"] if gadget.label else []
    lines += [f"room = {_quoted(gadget.room)}"] if gadget.room else []
    lines.append(f"kind = {_quoted(dialect.kind_of(gadget))}")
    lines += [f"labels = {json.dumps(list(gadget.labels), ensure_ascii=False)}"] if gadget.labels else []
    bound = dialect.bound_to(gadget)
    lines += [f"profile = {_quoted(bound)}"] if bound else []
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
