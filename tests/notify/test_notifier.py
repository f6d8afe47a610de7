"""From the wish to tell somebody to its end: sent, refused, expired, held back, replaced; real web servers."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import pytest

from gateway.mqtt.options import TlsOptions
from gateway.notify.options import RecipientOptions
from gateway.secrets import Secret
from simulators.cloud_http import Answer, CloudHttp, Taken
from tests.mqtt.authority import Authority
from tests.notify.scene import PATIENCE_S, MovedClock, Scene, nobody, play, reached_at, texts

PLUGINS = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of apprise's plugins, all of which are loaded


def phone(*answers: str, **options: object) -> CloudHttp:
    """Return a phone: a web server that takes notifications."""
    return CloudHttp(answers=answers, plain=True, **options)  # type: ignore[arg-type]


def test_a_notification_arrives_with_its_key_when_it_is_on_the_disk(tmp_path: Path) -> None:
    """Nothing leaves before the request is durable; what arrives has words, device and an idempotency key."""

    async def act(scene: Scene) -> None:
        event = scene.want("anna", "somebody rings", title="Bell", key="bell", urgent=True)
        await scene.until(lambda: anna.connections)
        await asyncio.sleep(0.1)
        assert anna.requests == [], "the disk has not taken it yet"
        scene.commit()
        await scene.until(scene.outcomes)
        assert scene.outcomes() == [("sent", "anna", "somebody rings")]
        assert scene.told[-1].cause == event.id
        (request,) = anna.requests
        message = json.loads(request.body)
        assert message.pop("time")
        assert message == {
            "id": f"{event.id}/anna", "gateway": "gw", "to": "anna", "title": "Bell", "text": "somebody rings",
            "urgent": True, "key": "bell", "rule": "bell", "device": "house/test:door",
        }  # fmt: skip
        assert request.headers["idempotency-key"] == f"{event.id}/anna"
        assert not scene.notifier.outbox.waiting
        await scene.committer.flush()
        assert scene.journal.table("outbox") == {}

    with phone() as anna:
        play(tmp_path, {"anna": reached_at(tmp_path, anna.url)}, act, disk=False)


def test_it_waits_through_failures_and_restarts(tmp_path: Path) -> None:
    """A service that is away, refuses for now or breaks off is tried again, in the next life too, and gets it once."""

    async def away(scene: Scene) -> None:
        scene.want("anna", "later")
        await scene.until(lambda: scene.notifier.errors)
        assert scene.outcomes() == []

    anna = phone("503:0", "429:0", "500", "401", "partial", "garbage")
    with nobody() as anna.port:
        people = {"anna": reached_at(tmp_path, anna.url)}
        play(tmp_path, people, away)
    with anna:

        async def back(scene: Scene) -> None:
            await scene.until(scene.outcomes)
            assert scene.outcomes() == [("sent", "anna", "later")]
            assert scene.told[0].data["attempts"] > 6

        play(tmp_path, people, back)
        assert len({request.headers["idempotency-key"] for request in anna.requests}) == 1
        assert texts(anna)[-1] == "later"
        assert "errors" not in texts(anna)


def test_what_is_refused_for_good_has_failed(tmp_path: Path) -> None:
    """A message that the service will never take is not tried again, and the next one is."""

    async def act(scene: Scene) -> None:
        scene.want("anna", "refused")
        scene.want("anna", "taken")
        await scene.until(lambda: len(scene.outcomes()) == 2)
        assert scene.outcomes() == [("failed", "anna", "refused"), ("sent", "anna", "taken")]
        assert scene.told[-2].data["reason"].startswith("422 not accepted")

    with phone("422") as anna:
        play(tmp_path, {"anna": reached_at(tmp_path, anna.url)}, act)


def test_groups_and_everyone(tmp_path: Path) -> None:
    """A group is each of its members, once; one who cannot be reached holds nobody up."""

    async def act(scene: Scene) -> None:
        scene.want("parents", "to two")
        scene.want("everyone", "to three")
        await scene.until(lambda: len(scene.outcomes()) == 4)
        assert sorted(scene.outcomes()) == [
            ("sent", "anna", "to three"), ("sent", "anna", "to two"),
            ("sent", "ben", "to three"), ("sent", "ben", "to two"),
        ]  # fmt: skip
        assert [notice.to for notice in scene.notifier.outbox.waiting] == ["carla"]

    with phone() as anna, phone() as ben, nobody() as port:
        people = {
            "anna": reached_at(tmp_path, anna.url),
            "ben": reached_at(tmp_path, ben.url),
            "carla": reached_at(tmp_path, f"http://127.0.0.1:{port}/"),
        }
        play(tmp_path, people, act, groups={"parents": ("anna", "ben")})


def test_a_newer_one_with_the_same_key_replaces_what_waits(tmp_path: Path) -> None:
    """Of five that wait under a key the last arrives, and says how many it stands for; other keys are others."""

    async def act(scene: Scene) -> None:
        for number in range(5):
            scene.want("anna", f"door {number}", key="door")
        scene.want("anna", "window", key="window")
        await scene.until(lambda: scene.notifier.errors)

    async def later(scene: Scene) -> None:
        await scene.until(lambda: len(scene.outcomes()) == 2)
        assert texts(anna) == ["door 4", "window"]
        assert scene.told[-2].data["replaced"] == 4

    anna = phone()
    with nobody() as anna.port:
        people = {"anna": reached_at(tmp_path, anna.url)}
        play(tmp_path, people, act)
    with anna:
        play(tmp_path, people, later)


def test_one_that_is_replaced_while_it_is_sent_is_not_lost(tmp_path: Path) -> None:
    """The newer one goes out behind the one under way."""

    async def act(scene: Scene) -> None:
        scene.want("anna", "first", key="door")
        await scene.until(lambda: anna.requests)
        scene.want("anna", "second", key="door")
        await scene.until(lambda: len(scene.outcomes()) == 2)
        assert texts(anna) == ["first", "second"]

    with phone("slow:0.3") as anna:
        play(tmp_path, {"anna": reached_at(tmp_path, anna.url)}, act)


def test_quiet_hours_hold_all_but_what_is_urgent(tmp_path: Path) -> None:
    """At night only the urgent one is sent; the other waits over a restart until the morning, or is not worth it."""
    clock = MovedClock()
    now = clock.wall_ns() // 60_000_000_000 % 1440  # minutes of the day, UTC
    quiet = f"{now // 60:02d}:{now % 60:02d}-{(now // 60 + 9) % 24:02d}:00"

    async def night(scene: Scene) -> None:
        scene.want("anna", "battery low", ttl_s=86_400.0)
        scene.want("anna", "washing is done", ttl_s=3600.0)
        scene.want("anna", "smoke", urgent=True)
        await scene.until(scene.outcomes)
        assert texts(anna) == ["smoke"]
        outbox = scene.notifier.outbox
        assert [outbox.wait(each).why.partition(" until")[0] for each in outbox.waiting] == ["quiet hours"] * 2

    async def morning(scene: Scene) -> None:
        await scene.until(lambda: len(scene.outcomes()) == 2)
        assert sorted(scene.outcomes()) == [("expired", "anna", "washing is done"), ("sent", "anna", "battery low")]
        assert texts(anna) == ["smoke", "battery low"]

    with phone() as anna:
        people = {"anna": reached_at(tmp_path, anna.url, quiet=quiet)}
        play(tmp_path, people, night, clock=clock)
        clock.ahead_s = 10 * 3600
        play(tmp_path, people, morning, clock=clock)


def test_quiet_hours_by_a_clock_that_nobody_believes(tmp_path: Path) -> None:
    """They hold by the clock as it is, and the reason says whose it is; a clock that is behind holds nothing back."""
    clock = MovedClock()
    clock.believed = False
    now = clock.wall_ns() // 60_000_000_000 % 1440
    quiet = f"{now // 60:02d}:{now % 60:02d}-{(now // 60 + 9) % 24:02d}:00"

    async def act(scene: Scene) -> None:
        scene.want("anna", "battery low", ttl_s=86_400.0)
        await scene.until(lambda: len(scene.notifier.outbox.waiting) == 1)
        outbox = scene.notifier.outbox
        assert outbox.wait(outbox.waiting[0]).why.endswith("by a clock that nobody has set")
        clock.wall_ahead_s = -50 * 365 * 86_400.0
        assert not outbox.wait(outbox.waiting[0]).ns

    with phone() as anna:
        play(tmp_path, {"anna": reached_at(tmp_path, anna.url, quiet=quiet)}, act, clock=clock)


@pytest.mark.parametrize("wall_ahead_s", [50 * 365 * 86_400.0, -600.0])
def test_setting_the_clock_neither_fills_nor_empties_the_hour(tmp_path: Path, wall_ahead_s: float) -> None:
    """Who has had as many as an hour allows waits for the rest of that hour, whatever the wall clock says now."""
    clock = MovedClock()

    async def act(scene: Scene) -> None:
        scene.want("anna", "one")
        await scene.until(lambda: len(scene.outcomes()) == 1)
        clock.wall_ahead_s = wall_ahead_s
        scene.want("anna", "two")
        await scene.until(lambda: len(scene.notifier.outbox.waiting) == 1)
        outbox = scene.notifier.outbox
        wait = outbox.wait(outbox.waiting[0])
        assert wait.limited
        assert 0 < wait.ns <= 3_600_000_000_000

    with phone() as anna:
        play(tmp_path, {"anna": reached_at(tmp_path, anna.url, per_hour_max=1)}, act, clock=clock)


def test_it_expires_with_the_reason_it_was_not_sent(tmp_path: Path) -> None:
    """After its time to live a notification is dropped, and the event says what was in the way."""
    clock = MovedClock()

    async def act(scene: Scene) -> None:
        scene.want("anna", "rings", ttl_s=60.0)
        await scene.until(lambda: scene.notifier.errors)
        clock.ahead_s = 61
        scene.want("anna", "rings again", ttl_s=60.0)  # looks at the clock
        await scene.until(scene.outcomes)
        assert scene.outcomes() == [("expired", "anna", "rings")]
        assert "cannot connect" in scene.told[-1].data["reason"]

    with nobody() as port:
        play(tmp_path, {"anna": reached_at(tmp_path, f"http://127.0.0.1:{port}/")}, act, clock=clock)


def test_a_clock_that_jumps_by_years_expires_nothing(tmp_path: Path) -> None:
    """A gateway without a clock chip starts in the past; when the time comes what waits is a minute old, not years."""
    clock = MovedClock()
    clock.believed = False

    async def past(scene: Scene) -> None:
        scene.want("anna", "waits", ttl_s=600.0)
        await scene.until(lambda: scene.notifier.errors)
        clock.wall_ahead_s = 3 * 365 * 86_400
        clock.believed = True
        await asyncio.sleep(0.1)
        assert scene.outcomes() == []

    async def now(scene: Scene) -> None:
        await scene.until(scene.outcomes)
        assert scene.outcomes() == [("sent", "anna", "waits")]

    anna = phone()
    with nobody() as anna.port:
        people = {"anna": reached_at(tmp_path, anna.url)}
        play(tmp_path, people, past, clock=clock)
    with anna:
        play(tmp_path, people, now, clock=clock)


def test_a_rule_that_tells_in_a_loop_is_bounded_and_named_once(tmp_path: Path) -> None:
    """A thousand notifications of one rule: half the hour's share is sent, the newest wait, others have their turn."""

    async def act(scene: Scene) -> None:
        for number in range(1000):
            scene.want("anna", f"loop {number}", rule="loop", ttl_s=86_400.0)
            if number % 100 == 0:
                await asyncio.sleep(0)
        await scene.until(lambda: scene.notifier.sent == 5)
        scene.want("anna", "from another rule", rule="good")
        await scene.until(lambda: scene.notifier.sent == 6)
        waiting = [notice.text for notice in scene.notifier.outbox.waiting]
        assert 15 <= len(waiting) <= 20
        assert waiting[-1] == "loop 999"
        said = [event for event in scene.told if event.type == "notification_limited"]
        assert [(event.data["to"], event.data["rule"]) for event in said] == [("anna", "loop")]
        assert len(scene.told) == 1001 + 6 + 1, "no event for each that was dropped"
        assert scene.notifier.outbox.dropped["anna"] + 5 + len(waiting) == 1000
        scene.want("anna", "fire", rule="loop", urgent=True)
        await scene.until(lambda: texts(anna)[-1] == "fire")

    async def after_an_hour(scene: Scene) -> None:
        await scene.until(lambda: len(texts(anna)) == 12)

    with phone() as anna:
        people = {"anna": reached_at(tmp_path, anna.url, per_hour_max=10)}
        clock = MovedClock()
        play(tmp_path, people, act, clock=clock)
        assert len(texts(anna)) == 7

        async def no_more(scene: Scene) -> None:
            await asyncio.sleep(0.2)
            assert len(texts(anna)) == 7, "a restart does not begin the hour anew"

        play(tmp_path, people, no_more, clock=clock)
        clock.ahead_s = 3700
        play(tmp_path, people, after_an_hour, clock=clock)


def test_somebody_who_does_not_exist_is_a_failure_with_a_hint(tmp_path: Path) -> None:
    """A name nobody has fails at once; what waits for somebody who left the config fails at the start."""

    async def act(scene: Scene) -> None:
        scene.want("ana", "hello")
        scene.want("anna", "hello")
        assert scene.outcomes() == [("failed", "ana", "hello")]
        assert "did you mean 'anna'" in scene.told[1].data["reason"]

    people = {"anna": reached_at(tmp_path, "http://127.0.0.1:1/")}
    play(tmp_path, people, act, sending=False)

    async def later(scene: Scene) -> None:
        await scene.until(scene.outcomes)
        assert scene.outcomes() == [("failed", "anna", "hello")]
        assert not scene.notifier.outbox.waiting

    play(tmp_path, {"ben": people["anna"]}, later)


def test_cut_off_twice_it_is_not_sent_a_third_time(tmp_path: Path) -> None:
    """What was under way when the gateway ended is sent once more; after a second cut it is given up, and said."""

    async def under_way(scene: Scene) -> None:
        before = len(anna.requests)
        if not before:
            scene.want("anna", "once")
        await scene.until(lambda: len(anna.requests) > before)

    async def given_up(scene: Scene) -> None:
        await scene.until(scene.outcomes)
        assert scene.outcomes() == [("failed", "anna", "once")]
        assert "may have arrived" in scene.told[0].data["reason"]

    with phone("silent", "silent") as anna:
        people = {"anna": reached_at(tmp_path, anna.url)}
        play(tmp_path, people, under_way)
        play(tmp_path, people, under_way)
        play(tmp_path, people, given_up)
        first, second = anna.requests
        assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
        assert first.body == second.body


def test_an_address_is_never_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a service says, neither events nor the log nor the table has what is secret in its address."""

    async def act(scene: Scene) -> None:
        scene.want("anna", "a")
        scene.want("ben", "b")
        scene.want("carla", "c")
        await scene.until(lambda: len(scene.notifier.errors) == 3)
        scene.clock.ahead_s = 7200
        scene.want("anna", "d")
        await scene.until(lambda: len(scene.outcomes()) == 3)
        said = repr([scene.told, scene.journal.table("outbox"), scene.notifier.errors, caplog.text])
        assert "T0PSECRET" not in said
        assert "hidden" not in said

    with phone("500", "301") as anna, nobody() as port:
        url = f"http://hidden:T0PSECRET1@127.0.0.1:{anna.port}/hooks/T0PSECRET2?token=T0PSECRET3"
        people = {
            "anna": reached_at(tmp_path, url),
            "ben": reached_at(tmp_path, f"http://127.0.0.1:{port}/T0PSECRET4"),
            "carla": reached_at(tmp_path, "http://[T0PSECRET5/"),
        }
        for answer in ("500", "404"):
            anna.script(answer)
        anna.usual = type(anna.usual).parse("500")
        play(tmp_path, people, act)


def test_a_secret_that_cannot_be_read_is_waited_for(tmp_path: Path) -> None:
    """An address file that appears later is used then, without a restart."""

    async def act(scene: Scene) -> None:
        scene.want("anna", "hello")
        await scene.until(lambda: "cannot read" in scene.notifier.errors.get("anna", ""))
        file.write_text(anna.url)
        await scene.until(scene.outcomes)
        assert scene.outcomes() == [("sent", "anna", "hello")]
        assert not scene.notifier.errors

    file = tmp_path / "later"
    with phone() as anna:
        options = RecipientOptions(url=Secret("file", str(file)), retry_first_s=0.01, retry_max_s=0.05)
        play(tmp_path, {"anna": options}, act)


def test_a_webhook_is_verified_signed_and_has_a_token(tmp_path: Path, authority: Authority) -> None:
    """Over TLS only the right authority is spoken to; a token and a signature go with the message."""
    import ssl

    certificate, key = authority.issue("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    (tmp_path / "token").write_text("t0k3n")
    (tmp_path / "sign").write_text("s1gn")

    async def act(scene: Scene) -> None:
        scene.want("anna", "verified")
        scene.want("ben", "not verified")
        await scene.until(lambda: scene.outcomes() and scene.notifier.errors)
        assert scene.outcomes() == [("sent", "anna", "verified")]
        assert "certificate is not trusted" in scene.notifier.errors["ben"]

    with phone(context=context, token="t0k3n", secret=b"s1gn") as server:
        secrets = {name: Secret("file", str(tmp_path / name)) for name in ("token", "sign")}
        about = {"bearer": secrets["token"], "signature": secrets["sign"]}
        people = {
            "anna": reached_at(tmp_path, server.url, tls=TlsOptions(ca=authority.certificate), **about),
            "ben": reached_at(tmp_path, server.url, **about),
        }
        play(tmp_path, people, act)


def test_a_topic_and_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A display is told over MQTT when its broker is there; the log is told at once."""
    caplog.set_level("INFO")

    async def act(scene: Scene) -> None:
        scene.connected = False
        scene.want("everyone", "dinner")
        await scene.until(lambda: scene.outcomes() and scene.notifier.errors)
        assert scene.outcomes() == [("sent", "log", "dinner")]
        scene.connected = True
        await scene.until(lambda: len(scene.outcomes()) == 2)
        ((source, topic, payload),) = scene.published
        assert (source, topic, json.loads(payload)["text"]) == ("house", "kitchen/text", "dinner")
        assert "to log: dinner" in caplog.text

    people = {
        "kitchen": RecipientOptions(
            carrier="mqtt", source="house", topic="kitchen/text", retry_first_s=0.01, retry_max_s=0.02
        ),
        "log": RecipientOptions(carrier="log"),
    }
    play(tmp_path, people, act)


@PLUGINS
def test_apprise_tells_in_a_thread(tmp_path: Path) -> None:
    """An address of apprise goes through apprise; what it can't send is tried again, with its reason."""

    async def act(scene: Scene) -> None:
        scene.want("anna", "by apprise", title="Bell")
        scene.want("ben", "no such service")
        await scene.until(lambda: scene.outcomes() and scene.notifier.errors)
        assert scene.outcomes() == [("sent", "anna", "by apprise")]
        assert scene.notifier.errors["ben"] == "apprise does not know such an address"
        assert [(m["title"], m["message"]) for m in anna.accepted] == [("Bell", "by apprise")]

    with phone("500") as anna:
        people = {
            "anna": reached_at(tmp_path, f"json://127.0.0.1:{anna.port}/path"),
            "ben": reached_at(tmp_path, "nosuchservice://T0PSECRET"),
        }
        play(tmp_path, people, act)


class Slow(CloudHttp):
    """A phone that takes nothing before it is `free`."""

    def __init__(self, *, plain: bool) -> None:
        super().__init__(plain=plain)
        self.free = threading.Event()

    def take(self, taken: Taken) -> tuple[Answer, bytes]:
        """Wait, then take it."""
        self.free.wait(PATIENCE_S)
        return super().take(taken)


@PLUGINS
def test_what_apprise_ends_late_is_not_sent_again(tmp_path: Path) -> None:
    """A try that takes longer than its time is left to end; when it has sent after all, that is what counts."""

    async def act(scene: Scene) -> None:
        scene.want("anna", "slow")
        await scene.until(lambda: "longer than" in scene.notifier.errors.get("anna", ""))
        anna.free.set()
        await scene.until(scene.outcomes)
        assert scene.outcomes() == [("sent", "anna", "slow")]
        assert len(anna.requests) == 1

    with Slow(plain=True) as anna:
        play(tmp_path, {"anna": reached_at(tmp_path, f"json://127.0.0.1:{anna.port}/?rto=60", timeout_s=0.2)}, act)
