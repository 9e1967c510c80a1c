"""Lists of an alarms body as text: the level of each alarm (2025), the maker's own fault codes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from openvrc.contracts.errors import ContractError
from openvrc.contracts.gbt32960 import alarms
from openvrc.contracts.gbt32960.nodes import Item, number, numbers

MAX_LEVELS_TEXT, MAX_CODES_TEXT = 2000, 4000
_CODE_WORDS = {0xFE: "abnormal", 0xFF: "invalid"}
_BIT_OF = {alarms.name_of(bit, True): bit for bit in range(256)}
_LEVEL_OF = {str(_CODE_WORDS.get(raw, raw)): raw for raw in range(256)}


def has_lists(items: Sequence[Item]) -> bool:
    """Whether any list of the body has an element; most have none."""
    return any(item.count > 0 or _is_of_level(item) for item in items)


def texts_of(frame: bytes, items: Sequence[Item]) -> tuple[str, str]:
    """Levels as "name:level", codes as "part:code" in hex; each with commas between.

    What does not fit the contract's text is left out at the end.
    """
    levels: list[str] = []
    codes: list[str] = []
    name = ""
    for item in items:
        if item.count > 0:
            part = str(item.path[0]).removesuffix("_faults")
            codes += [f"{part}:{raw:08X}" for raw in numbers(frame, item)]
        elif _is_of_level(item) and item.field.name == "bit":
            name = alarms.name_of(number(frame, item), True)
        elif _is_of_level(item):
            raw = number(frame, item)
            levels.append(f"{name}:{_CODE_WORDS.get(raw, raw)}")
    return joined(levels, MAX_LEVELS_TEXT), joined(codes, MAX_CODES_TEXT)


def level_bits(text: str) -> dict[int, int]:
    """Level by flag of a `bms_alarm_levels`. Raises ContractError for what is none.

    >>> level_bits("insulation:1,bit_30:invalid")
    {11: 1, 30: 255}
    """
    found = {}
    for word in filter(None, text.split(",")):
        name, _, level = word.partition(":")
        if name not in _BIT_OF or level not in _LEVEL_OF:
            raise ContractError("bms_alarm_levels", word, "name:level")
        found[_BIT_OF[name]] = _LEVEL_OF[level]
    return found


def joined(words: Iterable[str], most: int) -> str:
    """With commas, each word once, as many as fit.

    >>> joined(["a:1", "b:2", "a:1"], 100)
    'a:1,b:2'
    """
    text = ",".join(dict.fromkeys(word for word in words if word))
    return text if len(text) <= most else text[: text.rindex(",", 0, most + 1)]


def _is_of_level(item: Item) -> bool:
    return len(item.path) == 3 and item.path[0] == "levels"
