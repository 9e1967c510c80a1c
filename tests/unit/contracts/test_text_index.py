"""A TextIndex gives what a dict of texts to numbers gives, whatever is added and removed."""

import doctest

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from openvrc.contracts import text_index
from openvrc.contracts.text_index import TextIndex

TEXT = st.one_of(
    st.text("ab1", max_size=3),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40),
)
STEP = st.tuples(st.sampled_from(["add", "find", "remove", "restore"]), st.lists(TEXT, max_size=30))


def check(index: TextIndex, truth: dict[str, int]) -> None:
    assert len(index) == len(truth)
    held = {text: number for number, text in enumerate(index.texts()) if index.is_held()[number]}
    assert held == truth
    assert index.find(list(truth)).tolist() == list(truth.values())


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, max_size=12))
def test_an_index_equals_a_dict_whose_numbers_are_reused(
    steps: list[tuple[str, list[str]]],
) -> None:
    index, truth, free, end = TextIndex(), dict[str, int](), list[int](), 0
    for kind, texts in steps:
        if kind == "add":
            numbers = index.add(texts)
            for text in texts:
                if text not in truth:
                    truth[text] = free.pop() if free else end
                    end += truth[text] == end
            assert numbers.tolist() == [truth[text] for text in texts]
        elif kind == "find":
            assert index.find(texts).tolist() == [truth.get(text, -1) for text in texts]
        elif kind == "remove":
            gone = [text for text in dict.fromkeys(texts) if text in truth]
            numbers = np.array([truth.pop(text) for text in gone], np.int64)
            free += numbers.tolist()
            index.remove(numbers)
        else:
            index = TextIndex.restore(index.snapshot())
        check(index, truth)


def test_many_ids_come_and_go_without_the_table_filling_up() -> None:
    index = TextIndex()
    for turn in range(40):
        ids = [f"pseudonym-{turn}-{number}" for number in range(500)]
        numbers = index.add(ids)
        assert sorted(numbers.tolist()) == list(range(500))
        assert index.find(ids).tolist() == numbers.tolist()
        index.remove(numbers)
    assert (len(index), index.end) == (0, 500)


def test_a_slice_of_an_arrow_array_is_read_at_its_place() -> None:
    whole = pa.array(["x", "long-enough-for-three-words", "", "yy"])
    index = TextIndex()
    assert index.add(whole.slice(1, 2)).tolist() == [0, 1]
    assert index.texts() == ["long-enough-for-three-words", ""]
    assert index.add(whole.slice(3)).tolist() == [2]
    assert index.text(2) == "yy"


def test_the_example_in_the_docstring_is_true() -> None:
    result = doctest.testmod(text_index)
    assert (result.failed, result.attempted > 0) == (0, True)
