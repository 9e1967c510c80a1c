"""The checks of `fuzz_gbt32960.py`, with coverage guiding the bytes.

    python -m tests.fuzz.atheris_gbt32960 [--seconds 600]

Needs the package `atheris`, which is no dependency of ours: `pip install atheris==3.0.0` (Linux,
Python 3.11). Only the modules of the protocol are instrumented. After a mutation the check byte is
mostly made right again, or nothing behind it would ever be reached. Corpus: the sample frames.
"""

from __future__ import annotations

import argparse
import importlib
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

OURS = ["openvrc.contracts.gbt32960", "openvrc.contracts.codecs.gbt32960_codec", "edge.gbt32960"]
MAX_BYTES = 4096
RIGHT_CHECKS = 0.8


def main() -> None:
    """See the module's text; ends the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    given = parser.parse_args()
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=OURS):
        harness = importlib.import_module("tests.fuzz.fuzz_gbt32960")
    bcc = importlib.import_module("openvrc.contracts.gbt32960.frame").bcc

    def mutated(data: bytes, max_size: int, seed: int) -> bytes:
        draw = random.Random(seed)
        frame = bytearray(atheris.Mutate(data, max_size))
        if len(frame) > 25 and draw.random() < RIGHT_CHECKS:
            frame[22:24] = (len(frame) - 25).to_bytes(2, "big")
            frame[-1] = bcc(bytes(frame[2:-1]))
        return bytes(frame)

    def one(data: bytes) -> None:
        harness.check(data)

    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(harness.SEEDS):
            (Path(folder) / str(number)).write_bytes(seed)
        flags = [
            f"-max_total_time={given.seconds}",
            f"-max_len={MAX_BYTES}",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], *flags, folder], one, custom_mutator=mutated)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
