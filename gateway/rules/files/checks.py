"""Names in rule files against the installation: devices, rooms, kinds, labels, modes, event types, `ctx.…`.

Looks at the declarations and, for the bodies of functions, at the syntax tree: a misspelt ``ctx.hold("siren-hal")``
is found when the file is saved, not at night.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from gateway.errors import Fault, probably_meant
from gateway.profiles.vocabulary import CONTACT_KINDS, FIELDS, KIND_OF_CLASS
from gateway.rules.engine.alerts import TYPES as ALERT_TYPES
from gateway.rules.engine.context import Context
from gateway.rules.engine.notices import TYPES as NOTICE_TYPES
from gateway.rules.language.acting import Acting
from gateway.rules.language.definition import Condition, Declared, EventRule, Selector, duration_ns, needs_sun
from gateway.rules.language.endpoints import resolve
from gateway.rules.language.house import House
from gateway.rules.language.inputs import PREFIX
from gateway.rules.language.recipients import Recipients

KINDS = CONTACT_KINDS | frozenset(KIND_OF_CLASS.values()) | {"valve"}
"""Kinds that need no device to be known; an installation adds its own."""
GENERAL_TYPES = frozenset(
    {*ALERT_TYPES, *NOTICE_TYPES, "mode_changed", "device_online", "device_offline", "command_failed"}
    | {"command_suppressed", "command_observed", "command_uncertain", "command_confirmed", "command_given"}
    | {"command_superseded", "claim_released", "device_overridden", "input_changed"}
    | {"events_dropped", "gateway_heartbeat"}
    | {"device_adopted", "device_renamed", "device_inverted", "device_changed", "device_forgotten"}
    | {"device_data_forgotten", "devices_changed"}
)
"""Event types of the gateway itself."""

NO_LOCATION = "add to gateway.toml: [gateway.location] with latitude = 52.5 and longitude = 13.4, but yours"
_REPORTED = frozenset({name.partition(".")[0] for name in FIELDS} | {"online", "ext", PREFIX.rstrip(".")})
"""First words of fields; what no profile has a name for is ``ext.<name>``."""
_DURATIONS = frozenset({"lasts", "repeat", "ttl", "manual_hold", "confirm", "within"})
_DEVICE_FIRST = frozenset({"hold", "release", "command", "device"})
_KNOWN = frozenset(name for name in dir(Context) if not name.startswith("_")) | {"state"}


def check_names(
    declared: Iterable[Declared],
    house: House | None,
    modes: Sequence[str],
    types: Collection[str],
    *,
    located: bool = True,
    acting: Acting | None = None,
) -> tuple[list[Fault], list[Fault]]:
    """Return faults and hints about the names in decorators."""
    faults: list[Fault] = []
    hints: list[Fault] = []
    for definition in declared:
        at = (definition.file, definition.line)
        if not located and needs_sun(definition):
            faults.append(Fault(*at, "the sun needs to know where the house is", NO_LOCATION))
        if isinstance(definition, EventRule):
            faults += [
                Fault(*at, *_no("mode", mode, modes)) for mode in definition.modes if modes and mode not in modes
            ]
            asked = {name for view in definition.views for name, _ in view.where if name.startswith(PREFIX)}
            for name in sorted(asked):
                faults += _check_input(name.removeprefix(PREFIX), definition.line, definition.file, acting)
            known = GENERAL_TYPES.union(types)
            if types:
                named = {name: None for view in definition.views for name in view.types}
                hints += [Fault(*at, *_no("event type", name, known)) for name in named if name not in known]
        if isinstance(definition, Condition):
            faults += [Fault(*at, *wrong) for wrong in _fields(definition)]
        if isinstance(definition, (EventRule, Condition)) and house is not None and house.installed:
            views = definition.views if isinstance(definition, EventRule) else (definition,)
            for wrong, near in (found for view in views for found in _selected(view.selector, house)):
                # a kind or label that nothing has yet is no mistake, unless it is near one that something has
                (faults if near or "device" in wrong or "room" in wrong else hints).append(Fault(*at, wrong, near))
    return faults, hints


def _fields(definition: Condition) -> Iterator[tuple[str, str | None]]:
    """Yield fields that no profile can report and that are near one that some do."""
    for name, _ in definition.fields:
        head = name.partition(".")[0]
        if head not in _REPORTED and (near := probably_meant(name, [field.replace(".", "_") for field in FIELDS])):
            yield f"devices report no {name!r}", near


def _selected(selector: Selector, house: House) -> Iterator[tuple[str, str | None]]:
    """Yield what a selector names and the house does not have; and what was probably meant."""
    devices = house.devices.values()
    names = {device.name for device in devices} | set(house.devices)
    kinds = {device.kind for device in devices} | KINDS
    labels = {label for device in devices for label in device.labels}
    for what, wanted, known in (
        ("device", selector.device, names),
        ("room", selector.room, set(house.rooms())),
        ("kind", selector.kind, kinds),
        ("label", selector.label, labels),
    ):
        for name in wanted:
            if name not in known:
                yield _no(what, name, known)


def _no(what: str, name: str, known: Iterable[str]) -> tuple[str, str | None]:
    return f"there is no {what} {name!r}", probably_meant(name, known)


def check_tree(
    tree: ast.Module,
    file: str,
    house: House | None,
    modes: Sequence[str],
    recipients: Recipients | None = None,
    acting: Acting | None = None,
) -> list[Fault]:
    """Return faults in the bodies of functions: what is asked of `ctx`, and texts given to it."""
    faults: list[Fault] = []
    constants = _constants(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_ctx(node.value) and node.attr not in _KNOWN:
            what = f"ctx has no {node.attr!r}"
            faults.append(Fault(file, node.lineno, what, probably_meant(node.attr, _KNOWN)))
        elif isinstance(node, ast.Attribute) and _is_inputs(node.value):
            faults += _check_input(node.attr, node.lineno, file, acting)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_ctx(node.func.value):
            faults += _check_call(node, node.func.attr, file, house, modes)
            faults += _check_told(node, node.func.attr, file, house, recipients or Recipients(), constants)
            faults += _check_acting(node, node.func.attr, file, acting)
    return list(dict.fromkeys(faults))


def _check_acting(node: ast.Call, name: str, file: str, acting: Acting | None) -> Iterator[Fault]:
    """Yield faults in the names of inputs and web services."""
    texts = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    if name in ("input", "set_input") and texts and texts[0] == _text_of(node.args[0]):
        yield from _check_input(texts[0], node.lineno, file, acting)
    if name == "http" and acting is not None and not acting.anything and len(texts) >= 2 and len(node.args) >= 2:
        try:
            resolve(acting.endpoints, texts[1], texts[0])
        except ValueError as error:
            yield Fault(file, node.lineno, str(error))


def _check_input(name: str, line: int, file: str, acting: Acting | None) -> Iterator[Fault]:
    if acting is not None and not acting.anything and name not in acting.inputs:
        yield Fault(file, line, *_no("input", name, acting.inputs))


def _text_of(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _is_inputs(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "inputs" and _is_ctx(node.value)


def _check_call(node: ast.Call, name: str, file: str, house: House | None, modes: Sequence[str]) -> Iterator[Fault]:
    first = node.args[0] if node.args else None
    text = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
    if text is not None and house is not None and house.installed:
        names = {device.name for device in house.devices.values()} | set(house.devices)
        if name in _DEVICE_FIRST and text not in names:
            yield Fault(file, node.lineno, *_no("device", text, names))
        if name == "room" and text not in house.rooms():
            yield Fault(file, node.lineno, *_no("room", text, house.rooms()))
    if text is not None and name == "set_mode" and modes and text not in modes:
        yield Fault(file, node.lineno, *_no("mode", text, modes))
    durations = [first] if name == "after" else []
    durations += [keyword.value for keyword in node.keywords if keyword.arg in _DURATIONS]
    yield from _durations(durations, file)


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    """Return what names at the top of a file stand for, such as ``TELL = [("0m", "anna")]``; each set once."""
    found: dict[str, ast.expr] = {}
    twice: set[str] = set()
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    twice.update({target.id} & set(found))
                    found[target.id] = statement.value
    return {name: value for name, value in found.items() if name not in twice}


def _check_told(
    node: ast.Call,
    name: str,
    file: str,
    house: House | None,
    recipients: Recipients,
    constants: Mapping[str, ast.expr],
) -> Iterator[Fault]:
    """Yield faults in whom a rule wants to tell: ``to=`` of ctx.notify, the steps of ``escalate=`` of ctx.alert."""
    devices = house.devices.values() if house is not None and house.installed else ()
    names = [name for device in devices for name in (device.name, device.id)]
    for keyword in node.keywords:
        given = keyword.value
        if isinstance(given, ast.Name):
            given = constants.get(given.id, given)
        if (name, keyword.arg) == ("notify", "to"):
            told: list[ast.expr] = [given]
        elif (name, keyword.arg) == ("alert", "escalate") and isinstance(given, (ast.List, ast.Tuple)):
            steps = [step.elts for step in given.elts if isinstance(step, ast.Tuple) and len(step.elts) == 2]
            yield from _durations([step[0] for step in steps], file)
            told = [step[1] for step in steps] if names else []  # without devices it may be one
        else:
            continue
        others = names if keyword.arg == "escalate" else []
        for value in told:
            text = value.value if isinstance(value, ast.Constant) else None
            if isinstance(text, str) and text not in recipients and text not in others:
                what = "recipient or device" if keyword.arg == "escalate" else "recipient"
                yield Fault(file, value.lineno, f"there is no {what} {text!r}", recipients.hint(text, others))


def _durations(values: Iterable[ast.expr | None], file: str) -> Iterator[Fault]:
    for value in values:
        if isinstance(value, ast.Constant) and value.value is not None:
            try:
                duration_ns(value.value)  # type: ignore[arg-type] # it says what is wrong with any constant
            except ValueError as error:
                yield Fault(file, value.lineno, str(error))


def _is_ctx(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "ctx"
