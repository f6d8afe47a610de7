"""Templates of Home Assistant's discovery: shapes that are understood, and those that are left alone."""

from __future__ import annotations

import random

import pytest

from gateway.importers.templates import Path, Table, Unclear, pointer_of, shape_of


@pytest.mark.parametrize(
    ("template", "shape"),
    [
        (None, Path(None)),
        ("", Path(None)),
        ("{{ value }}", Path(None)),
        ("{{ value_json }}", Path(())),
        ("{{value_json.temperature}}", Path(("temperature",))),
        ("{{ value_json['a b']['c'][0].d }}", Path(("a b", "c", "0", "d"))),
        ('{{- value_json["x"] -}}', Path(("x",))),
        ("{{ value_json.get('x') }}", Path(("x",))),
        ("{{ value_json.x | is_defined }}", Path(("x",))),
        ("{{ value_json.x | default('') }}", Path(("x",))),
        ("{{ value_json.x if value_json.x is defined }}", Path(("x",))),
        ("{{ value_json.x | float }}", Path(("x",), number=True)),
        ("{{ value_json.x | float(0) / 4 }}", Path(("x",), scale=0.25, number=True)),
        ("{{ (value | float * 2 + 1) | round(1) }}", Path(None, scale=2, offset=1, number=True)),
        ("{{ 100 - (value_json.x | int) }}", Path(("x",), scale=-1, offset=100, number=True)),
        ("{{ value_json.s | lower }}", Path(("s",), folded=True)),
        ("{{ {'a': 1, 'b': 2}[value_json.x] }}", Table(Path(("x",)), {"a": "1", "b": "2"}, None)),
        ("{{ {'a': 'b'}.get(value_json.x, 'c') }}", Table(Path(("x",)), {"a": "b"}, "c")),
        (
            "{% set m = {None: None, 'a': 'b'} %}{{ m[value_json['x']] }}",
            Table(Path(("x",)), {"null": "null", "a": "b"}, None),
        ),
        ("{{ 'ON' if value_json.x == 'a' else 'OFF' }}", Table(Path(("x",)), {"a": "ON"}, "OFF")),
        ("{{ 'ON' if value_json.x != 1 else 'OFF' }}", Table(Path(("x",)), {"1": "OFF"}, "ON")),
        ("{{ value_json.x == 'open' }}", Table(Path(("x",)), {"open": "true"}, "false")),
        ("{{ value_json.x in ['a', 'b'] }}", Table(Path(("x",)), {"a": "true", "b": "true"}, "false")),
        ("{% if value_json.x == 'a' %} ON {% else %} OFF {% endif %}", Table(Path(("x",)), {"a": "ON"}, "OFF")),
        (
            "{% if value_json['x'] %}true{% else %}false{% endif %}",
            Table(Path(("x",)), {"false": "false", "0": "false", "": "false", "null": "false"}, "true"),
        ),
        ("{{ {0: 'a', 1: 'b'}[value_json.x] | default('c') }}", Table(Path(("x",)), {"0": "a", "1": "b"}, "c")),
        ("{{ {0: 'a'}[value_json.x] | default(value_json.x) }}", Table(Path(("x",)), {"0": "a"}, None)),
        (
            "{% if value in ('0', '4') %}heat{% elif value == '1' %}cool{% else %}off{% endif %}",
            Table(Path(None), {"1": "cool", "0": "heat", "4": "heat"}, "off"),
        ),
        (
            "{% if value_json.x == 0 %}no{% elif value_json.x == 0 %}never{% elif value_json.x == 2 %}yes{% endif %}",
            Table(Path(("x",)), {"2": "yes", "0": "no"}, None),
        ),
        (
            "{% if value in ('5', '6') %}3{% else %}{{value}}{% endif %}",
            Table(Path(None), {"5": "3", "6": "3"}, None, through=True),
        ),
        (
            "{%set x=value_json.m%}{%if x=='a' or x=='b'%}heat{%elif x=='c'%}auto{%else%}off{%endif%}",
            Table(Path(("m",)), {"c": "auto", "a": "heat", "b": "heat"}, "off"),
        ),
        (
            "{{value_json.a.b if value_json.a is defined and value_json.a.b is defined else 0}}",
            Path(("a", "b")),
        ),
        (
            "{% set v = {'a':'b'} %}{% set x = value_json.m %}{{ v[x] if x in v.keys() else 'off' }}",
            Table(Path(("m",)), {"a": "b"}, "off"),
        ),
    ],
)
def test_shapes(template: str | None, shape: Path | Table) -> None:
    """A template that is a path, arithmetic with one value, a table or one if is understood for what it is."""
    assert shape_of(template) == shape


@pytest.mark.parametrize(
    "template",
    [
        "{{ value_json.x | default(0) }}",
        "{{ value_json.a + value_json.b }}",
        "{{ 'a' + value_json.b }}",
        "{{ value_json.x > 3 }}",
        "{{ value_json.a if value_json.b is defined }}",
        "{{ 'x' if value_json.a == 1 or value_json.b == 1 else 'y' }}",
        "{{ 'x' if value_json.a == 1 and value_json.a == 2 else 'y' }}",
        "{{ value_json.x / 0 }}",
        "{{ value.split(',')[0] }}",
        "{{ now() }}",
        "{{ states('sensor.x') }}",
        "{{ value_json.x | regex_replace('a', 'b') }}",
        "{{ 'offline' }}",
        "a {{ value_json.x }}",
        "{{ value_json.x }}{{ value_json.y }}",
        "{% for x in value_json %}{{ x }}{% endfor %}",
        "{% if a and b %}x{% else %}y{% endif %}",
        "{% if value_json.x == 1 %}x{% endif %}",
        "{{ value_json.x if value_json.y == 1 else 'z' }}",
        "{% if value_json.x == 1 %}x{% elif value_json.y == 2 %}y{% else %}z{% endif %}",
        "{{ {0: 'a'}[value_json.x] | default(value_json.y) }}",
        "{{ 'a' if value_json.x == 1 and value_json.y == 2 else 'b' }}",
        "{{ value_json.x ",
        "{{ value_json. }}",
        "{{ value_json['x' }}",
        "{{ {'a': value_json.x} }}",
        "{{ (((((((((((((((((((value_json.x))))))))))))))))))) }}",
        "{{ value_json.x " + "| float " * 300 + "}}",
        "x" * 2000,
    ],
)
def test_what_is_unclear_is_said(template: str) -> None:
    """Nothing else is guessed: the template is refused, and the reason names what was met."""
    with pytest.raises(Unclear, match=r"."):
        shape_of(template)


def test_a_key_with_braces_is_no_pointer() -> None:
    """A key that would mean something else in a profile is refused; slashes and tildes are escaped."""
    with pytest.raises(Unclear):
        pointer_of(Path(("{x}",)))
    assert pointer_of(Path(("a/b", "c~d"))) == "/a~1b/c~0d"


def test_random_templates_raise_nothing_else() -> None:
    """Ten thousand templates put together by chance are understood or unclear, and nothing else happens."""
    pieces = [
        "{{", "}}", "{%", "%}", "value_json", "value", ".x", "['y']", "[0]", "|", "float", "lower", "default('')", "(",
        ")", "{", "}", "'a':", "1", "'b'", ",", "if", "else", "endif", "set m =", "==", "in", "not", "is defined", "/",
        "*", "-", " ", "+", "m", ".get(", ".keys()", "~", "\\", '"', "\0", "é",
    ]  # fmt: skip
    chance = random.Random(7)
    for _ in range(10_000):
        inner = "".join(chance.choice(pieces) + " " * chance.randrange(2) for _ in range(chance.randrange(1, 14)))
        try:
            shape_of(chance.choice(("{{ %s }}", "%s", "{%% if %s %%}a{%% else %%}b{%% endif %%}")) % inner)
        except Unclear:
            continue
