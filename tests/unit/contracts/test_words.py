"""Words to numbers: what a dict of strings would say, whatever the words."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openvrc.contracts.words import UNKNOWN, WordTable, words_of

WORDS = st.lists(st.text(max_size=20) | st.sampled_from(["", "a", "a\0", "ab", "Straße", "x" * 70]))


@given(st.lists(WORDS, max_size=6), WORDS)
def test_a_table_says_what_a_dict_would(added: list[list[str]], asked: list[str]) -> None:
    table, known = WordTable(), dict[str, int]()
    for words in added:
        for word, number in zip(words, table.add(words_of(words)).tolist(), strict=True):
            assert known.setdefault(word, number) == number
    assert sorted(known.values()) == list(range(len(table)))
    assert {word: number for number, word in enumerate(table)} == known
    assert table.find(words_of(asked)).tolist() == [known.get(word, UNKNOWN) for word in asked]
    assert [table[number] for number in known.values()] == list(known)


def test_a_table_grows_far_beyond_its_first_places() -> None:
    names = [f"vehicle-{number}" for number in range(20_000)]
    table = WordTable()
    for first in range(0, len(names), 700):
        table.add(words_of(names[first : first + 700]))
    assert [table[number] for number in table.find(words_of(names))] == names
    assert (table.find(words_of([f"car-{number}" for number in range(1000)])) == UNKNOWN).all()


def test_forgotten_words_are_unknown_and_the_others_are_renumbered_in_order() -> None:
    table = WordTable.from_array(np.array(["a", "b", "c", "d"]))
    table.keep(np.array([True, False, False, True]))
    assert list(table) == ["a", "d"]
    assert table.find(words_of(["a", "b", "c", "d"])).tolist() == [0, UNKNOWN, UNKNOWN, 1]
    assert table.add(words_of(["b"])).tolist() == [2]


@given(WORDS)
def test_a_table_comes_back_from_its_array(words: list[str]) -> None:
    table = WordTable(words)
    again = WordTable.from_array(table.to_array())
    assert list(again) == list(table)
    assert again.find(words_of(words)).tolist() == table.find(words_of(words)).tolist()


def test_an_array_of_text_is_read_too() -> None:
    assert list(WordTable.from_array(np.array(["b", "a"]))) == ["b", "a"]
    assert list(WordTable.from_array(np.empty(0, "<U1"))) == []


def test_a_slice_of_an_arrow_array_gives_its_own_words() -> None:
    sliced = pa.array(["one", "two", "three", "four"]).slice(1, 2)
    table = WordTable()
    table.add(words_of(sliced))
    assert sorted(table) == ["three", "two"]


def test_a_word_longer_than_any_id_is_refused() -> None:
    with pytest.raises(ValueError, match="5000 bytes"):
        words_of(["x" * 5000])


def test_a_number_that_nobody_has_is_refused() -> None:
    with pytest.raises(IndexError):
        WordTable(["a"])[1]


@given(st.lists(WORDS, max_size=6), WORDS)
def test_a_table_grows_as_another_of_the_same_words_did(
    added: list[list[str]], asked: list[str]
) -> None:
    first, second = WordTable(), WordTable()
    for words in map(words_of, added):
        assert second.add(words).tolist() == first.add(words).tolist()
        assert second.lineage == first.lineage
    assert list(second) == list(first)
    assert second.find(words_of(asked)).tolist() == first.find(words_of(asked)).tolist()


def test_a_large_table_grows_as_another_did() -> None:
    names = [f"vehicle-{number}" for number in range(20_000)]
    first, second = WordTable(), WordTable()
    for begin in range(0, len(names), 700):
        words = words_of(names[begin : begin + 700])
        first.add(words)
        second.add(words)
    assert second.find(words_of(names)).tolist() == first.find(words_of(names)).tolist()


@given(st.lists(st.sets(st.integers(0, 30)), max_size=6), WORDS)
def test_words_appended_are_found_like_words_added(parts: list[set[int]], asked: list[str]) -> None:
    appended, added, known = WordTable(["a"]), WordTable(["a"]), set[int]()
    for place, part in enumerate(parts):
        new = words_of([f"vehicle-{one}" for one in sorted(part - known)])
        known |= part
        assert sorted(appended.append(new).tolist()) == sorted(added.add(new).tolist())
        if place % 2:
            again = words_of([f"vehicle-{one}" for one in sorted(known)])
            assert [appended[one] for one in appended.add(again).tolist()] == list(
                map(str, again.to_list())
            )
    assert sorted(appended) == sorted(added)
    everything = words_of([*asked, *(f"vehicle-{one}" for one in range(31))])
    there = appended.find(everything) != UNKNOWN
    assert there.tolist() == (added.find(everything) != UNKNOWN).tolist()


def test_words_of_a_table_are_ready_for_another() -> None:
    table, other = WordTable(["a", "Straße", "x" * 70]), WordTable()
    other.add(table.words(np.array([2, 0])))
    assert sorted(other) == ["a", "x" * 70]
    assert len(table.words()) == 3


def test_what_was_not_found_is_found_once_the_table_has_learnt_it() -> None:
    table, asked = WordTable(["a"]), words_of(["b", "a"])
    assert table.find(asked).tolist() == [UNKNOWN, 0]
    table.add(words_of(["b"]))
    assert table.find(asked).tolist() == [1, 0]
    assert WordTable(["b"]).find(asked).tolist() == [0, UNKNOWN]
