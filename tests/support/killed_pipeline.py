"""A process with a pipeline in it, to be killed: feeds the bodies of a folder in order.

Usage: python -m tests.support.killed_pipeline DATABASE_URL FOLDER. It always begins with the first
body, as an edge does that has not heard which ones were stored, and prints a line for each.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from cloud.pipeline import Pipeline
from openvrc.settings import Settings
from tests.support.store_world import OverSpeed


async def main(url: str, folder: Path) -> None:
    settings = Settings(cloud_checkpoint_every_s=0.05)
    pipeline = Pipeline(settings, {OverSpeed.name: OverSpeed()}, database_url=url)
    await pipeline.start()
    for path in sorted(folder.iterdir()):
        result = await pipeline.submit(path.read_bytes(), "edge-1", f"edge-1/1/{path.stem}")
        sys.stdout.write(f"{path.stem} {result.is_duplicate}\n")
        sys.stdout.flush()
    await pipeline.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
