"""`NAME:param=value,...` as a fault: read, checked, listed.

>>> parse("loss:messages_ratio=0.02").values["messages_ratio"]
0.02
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from openvrc.contracts.plugins import discover
from simulator.faults.kind import FaultError, FaultKind, Given, Parameter, Value
from simulator.sampling import name_hash
from simulator.world import World


@dataclass(frozen=True)
class FaultSpec:
    """A kind and all its parameters."""

    kind: FaultKind
    values: dict[str, Value] = field(default_factory=dict)

    def on(self, world: World, seed: int, place: int) -> Given:
        """This fault on a run; `place` is its number among the run's faults."""
        return Given(
            name=self.kind.name,
            values=self.values,
            seed=name_hash(seed, "fault", f"{place}/{self.kind.name}") >> 1,
            zone=world.zone,
            run_id=world.run_id,
            origin=world.origin,
            start_ns=world.start_ns,
        )


def known_kinds() -> dict[str, FaultKind]:
    """Every kind by name, installed ones included."""
    return discover("simulator.faults")


def parse(text: str) -> FaultSpec:
    """One fault. Raises FaultError that names what is known."""
    name, _, rest = text.partition(":")
    known = known_kinds()
    if name not in known:
        raise FaultError(f"fault {name!r}, expected one of {', '.join(known)}")
    kind = known[name]
    parameters = {parameter.name: parameter for parameter in kind.parameters}
    values: dict[str, Value] = {p.name: p.default for p in kind.parameters}
    for part in filter(None, (part.strip() for part in rest.split(","))):
        key, is_given, word = part.partition("=")
        if key not in parameters or not is_given:
            raise FaultError(
                f"fault {name}: {part!r}, expected param=value of {', '.join(parameters)}"
            )
        values[key] = _value(name, parameters[key], word)
    return FaultSpec(kind, values)


def _value(name: str, parameter: Parameter, word: str) -> Value:
    where = f"fault {name}: {parameter.name} is {word!r}, expected"
    if parameter.choices:
        if word not in parameter.choices:
            raise FaultError(f"{where} one of {', '.join(parameter.choices)}")
        return word
    if isinstance(parameter.default, str):
        return word
    try:
        number = float(word)
    except ValueError:
        raise FaultError(f"{where} a number") from None
    if not parameter.low <= number <= parameter.high:
        raise FaultError(f"{where} {parameter.low:g} to {parameter.high:g}")
    return number


def parse_all(texts: Sequence[str]) -> list[FaultSpec]:
    """Several. Raises FaultError."""
    return [parse(text) for text in texts]


def listing() -> str:
    """Every kind with its parameters and their defaults, for people."""
    lines = []
    for name, kind in known_kinds().items():
        lines.append(f"{name}: {kind.description}")
        for p in kind.parameters:
            choices = f" ({'|'.join(p.choices)})" if p.choices else ""
            default = p.default if isinstance(p.default, str) else f"{p.default:g}"
            lines.append(f"    {p.name}={default}{choices}  {p.meaning}")
    return "\n".join(lines)
