"""A directory below `/var/lib/openvrc` that stands in for one that `nobody` cannot reach.

The two know each other: the one asked for holds the file `stand-in` with a random name, the
stand-in of that name holds the file `origin` with the path asked for. So a second start finds the
data again, and whoever deletes the directory asked for starts afresh, as expected. What is left
behind then is deleted at the next start if the directory asked for was a temporary one; else it is
left alone: a home that is not mounted looks just like one that was deleted.
"""

import secrets
import shutil
import tempfile
from pathlib import Path

from openvrc.embedded import directories
from openvrc.embedded.directories import OPEN_DIRECTORY, PRIVATE_DIRECTORY, make_directory

POINTER = "stand-in"
ORIGIN = "origin"
NAME_BYTES = 8


def stand_in_directory(wanted: Path) -> Path:
    """The directory that stands in for `wanted`; both are made if absent."""
    home = make_directory(directories.SYSTEM_HOME, OPEN_DIRECTORY)
    _delete_leftovers(home)
    origin = make_directory(wanted, PRIVATE_DIRECTORY).resolve()
    pointer = origin / POINTER
    if not pointer.exists():
        pointer.write_text(f"{wanted.name}-{secrets.token_hex(NAME_BYTES)}")
    directory = make_directory(home / pointer.read_text(), OPEN_DIRECTORY)
    (directory / ORIGIN).write_text(str(origin))
    return directory


def has_stand_in(wanted: Path) -> bool:
    """Whether data of an earlier start lies elsewhere, even if `wanted` can be reached by now."""
    return (wanted / POINTER).exists()


def _delete_leftovers(home: Path) -> None:
    temporary = Path(tempfile.gettempdir()).resolve()
    for note in home.glob(f"*/{ORIGIN}"):
        origin = Path(note.read_text())
        if origin.is_relative_to(temporary) and not _points_to(origin, note.parent.name):
            shutil.rmtree(note.parent, ignore_errors=True)


def _points_to(origin: Path, name: str) -> bool:
    pointer = origin / POINTER
    return pointer.exists() and pointer.read_text() == name
