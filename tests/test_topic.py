"""Topic names, filters and templates."""

from __future__ import annotations

import pytest

from gateway.topic import check_template, fill_template, is_filter, is_name, matches


@pytest.mark.parametrize(
    ("topic_filter", "topic", "wanted"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a", False),
        ("a/+", "a/b/c", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("+/+", "/x", True),
        ("a//b", "a//b", True),
    ],
)
def test_matching(topic_filter: str, topic: str, wanted: bool) -> None:
    """Filters match as MQTT 5 section 4.7 says."""
    assert matches(topic_filter, topic) is wanted


@pytest.mark.parametrize("topic", ["", "a/+", "a/#", "a\0b", "x" * 65_536])
def test_what_is_no_name(topic: str) -> None:
    """Wildcards, NUL, nothing and too much are no topic to publish to."""
    assert not is_name(topic)
    assert is_name("a/b c/ä")


@pytest.mark.parametrize("topic_filter", ["", "a#", "#/a", "a+/b", "$share//a", "$share/g", "$share/g+/a"])
def test_what_is_no_filter(topic_filter: str) -> None:
    """Wildcards stand alone in their level, ``#`` at the end; a share has a group."""
    assert not is_filter(topic_filter)


def test_shared_filters() -> None:
    """A shared subscription is a filter behind its group."""
    assert is_filter("$share/g/a/#")


def test_a_template_with_an_unknown_field_says_which_are_known() -> None:
    """A typo in a template is answered with the fields there are."""
    with pytest.raises(ValueError, match=r"\{devise\} in topic: use \{gateway\}"):
        check_template("x/{devise}")
    with pytest.raises(ValueError, match="does not make a topic"):
        check_template("x/#")


def test_filling_in_leaves_no_wildcards() -> None:
    """What a device is called cannot make a topic that nobody may publish to."""
    assert fill_template("s/{device}/{type}", {"device": "a+b/#1", "type": "t"}) == "s/a_b/_1/t"
    assert len(fill_template("{device}", {"device": "ä" * 70_000}).encode()) <= 65_535
