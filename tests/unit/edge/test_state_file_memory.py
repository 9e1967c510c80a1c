"""Packing a state leaves nothing behind that only a search for cycles would find."""

import gc
import weakref

import numpy as np

from edge.state_file import pack_state, unpack_state


def test_a_packed_state_is_let_go_at_once() -> None:
    array = np.arange(1000)
    seen = weakref.ref(array)
    gc.disable()
    try:
        data = pack_state({"runs": [{"a": array, "b": [1, "x"]}], "n": 3})
        del array
        assert seen() is None
    finally:
        gc.enable()
    back = unpack_state(data)
    assert back["runs"][0]["a"].tolist() == list(range(1000))
    assert (back["runs"][0]["b"], back["n"]) == ([1, "x"], 3)
