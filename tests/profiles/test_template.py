"""Topic templates, names, filters."""

from __future__ import annotations

import pytest

from gateway.errors import DecodeError
from gateway.profiles.template import NameTemplate, TopicTemplate, covers
from gateway.topic import is_filter, matches


@pytest.mark.parametrize(
    ("template", "topic", "captures"),
    [
        (
            "{base=zigbee2mqtt}/{device+}",
            "zigbee2mqtt/bedroom/radiator",
            {"base": "zigbee2mqtt", "device": "bedroom/radiator"},
        ),
        ("{base=zigbee2mqtt}/{device+}", "zigbee2mqtt", None),
        ("{base=zigbee2mqtt}/{device+}", "other/bedroom", None),
        ("{base=b}/{device+}/{verb:set|get}", "b/a/c/set", {"base": "b", "device": "a/c", "verb": "set"}),
        ("{base=b}/{device+}/{verb:set|get}", "b/set", None),
        ("shellies/{device:shellydw-*|shellydw2-*}/online", "shellies/shellydw2-0A/online", {"device": "shellydw2-0A"}),
        ("shellies/{device:shellydw-*|shellydw2-*}/online", "shellies/shellytrv-0A/online", None),
        ("stat/{device}/POWER{n}", "stat/x/POWER2", {"device": "x", "n": "2"}),
        ("stat/{device}/POWER{n}", "stat/x/POWER", None),
        ("a/{x:!b|c*}", "a/b", None),
        ("a/{x:!b|c*}", "a/cat", None),
        ("a/{x:!b|c*}", "a/dog", {"x": "dog"}),
        ("{x}/online", "$SYS/online", None),
        ("a/*/c", "a/b/c", {}),
        ("a/{x}", "a/", {"x": ""}),
    ],
)
def test_topics_match_as_written(template: str, topic: str, captures: dict[str, str] | None) -> None:
    """A template captures what it names and refuses every other topic."""
    expected = None if captures == {"x": ""} else captures  # an empty level is no name
    assert TopicTemplate(template).bound({}).match(topic.split("/")) == expected


@pytest.mark.parametrize("template", ["{base=b}/{device+}/set", "stat/{device}/POWER{n}", "{d}/events/rpc", "a/b"])
def test_filter_covers_what_the_template_matches(template: str) -> None:
    """Whatever a template matches, its MQTT filter brings."""
    bound = TopicTemplate(template).bound({})
    assert is_filter(bound.filter())
    for topic in ("b/x/set", "b/x/y/set", "stat/x/POWER1", "q/events/rpc", "a/b"):
        if bound.match(topic.split("/")) is not None:
            assert matches(bound.filter(), topic)


def test_prefix_can_have_several_levels() -> None:
    """A source that uses another prefix gets it, also one with a slash, and keeps the capture."""
    bound = TopicTemplate("{base=zigbee2mqtt}/{device+}").bound({"zigbee2mqtt": "home/z2m"})
    assert bound.match(["home", "z2m", "door"]) == {"base": "home/z2m", "device": "door"}
    assert bound.match(["zigbee2mqtt", "door"]) is None
    assert bound.filter() == "home/z2m/#"


@pytest.mark.parametrize(
    "template", ["", "a/#", "a/+/b", "{a+}/{b+}", "{a}/{a}", "a{b+}", "{}", "{a:}", "a}b", "x{a=b}", "{a:b", "a/\0"]
)
def test_bad_templates_are_refused(template: str) -> None:
    """What could not be matched, or would match by chance, is an error when the profile is loaded."""
    with pytest.raises(ValueError, match=r"capture|template|level"):
        TopicTemplate(template)


def test_more_literal_matches_first() -> None:
    """Specificity orders literal before alternatives before free captures before captures of many levels."""
    texts = ["f/{c}/motion", "f/{c}/{s:a|b}", "f/{c}/{s}", "f/{r+}"]
    found = sorted(map(TopicTemplate, texts), key=lambda t: t.specificity, reverse=True)
    assert [template.text for template in found] == texts


def test_names_are_filled_in() -> None:
    """A name is made of captures and of values in the message."""
    template = NameTemplate("frigate:{/after/camera}/{role}")
    assert template.captures == {"role"}
    assert template.render({"role": "x"}, {"/after/camera": "drive"}.__getitem__) == "frigate:drive/x"


def test_a_part_that_may_be_missing_is_left_out() -> None:
    """A pointer with a question mark is left out where the message has nothing there, with the slash before it."""
    template = NameTemplate("rtl_433:{/model}/{/channel?}/{/id?}")
    assert template.paths == ("/model", "/channel", "/id")

    def name(message: dict[str, str]) -> str:
        def path(pointer: str) -> str:
            if pointer[1:] not in message:
                raise DecodeError(pointer)
            return message[pointer[1:]]

        return template.render({}, path)

    assert name({"model": "Nexus", "channel": "2", "id": "7"}) == "rtl_433:Nexus/2/7"
    assert name({"model": "Nexus", "id": "7"}) == "rtl_433:Nexus/7"
    assert name({"model": "Nexus"}) == "rtl_433:Nexus"
    with pytest.raises(DecodeError):
        name({"id": "7"})


@pytest.mark.parametrize(
    ("wide", "narrow", "expected"),
    [
        ("a/#", "a/+/b", True),
        ("+/b", "a/b", True),
        ("a/b", "+/b", False),
        ("a/+", "a/#", False),
        ("a/+", "a/b/c", False),
    ],
)
def test_covered_filters(wide: str, narrow: str, expected: bool) -> None:
    """A filter is left out only if another brings everything it would."""
    assert covers(wide, narrow) is expected
