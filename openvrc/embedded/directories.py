"""Directories get a mode from us when we make them, and only then."""

from pathlib import Path

SYSTEM_HOME = Path("/var/lib/openvrc")
"""Where root keeps what `nobody` must reach."""

OPEN_DIRECTORY = 0o755
PRIVATE_DIRECTORY = 0o700


def make_directory(path: Path, mode: int) -> Path:
    """Make `path` and its missing parents with exactly `mode`, whatever the umask."""
    path = path.absolute()
    missing = [p for p in (path, *path.parents) if not p.exists()]
    for directory in reversed(missing):
        try:
            directory.mkdir()
        except FileExistsError:
            continue  # another start was faster; it sets the same mode
        directory.chmod(mode)
    return path
