"""Who runs an embedded server, and in which directory.

As an ordinary user: ourselves, in the directory asked for. As root: `nobody`, since PostgreSQL
refuses to run as root and a broker has no need to. `nobody` must be able to reach the directory.
Where a parent is closed to it (root's home usually is), opening that parent would change something
that is not ours, so a directory of our own below `/var/lib/openvrc` stands in; see `stand_in`.
"""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from openvrc.embedded.directories import OPEN_DIRECTORY, PRIVATE_DIRECTORY, make_directory
from openvrc.embedded.errors import EmbeddedServerError
from openvrc.embedded.stand_in import has_stand_in, stand_in_directory


@dataclass(frozen=True, slots=True)
class RunAs:
    """The account of a server process; `uid` and `gid` are None for our own."""

    uid: int | None = None
    gid: int | None = None

    def owns(self, path: Path) -> None:
        """Give one file or directory of ours to the account."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def server_account() -> RunAs:
    """The account that servers run under: `nobody` when we are root, else ourselves."""
    if os.geteuid() != 0:
        return RunAs()
    nobody = pwd.getpwnam("nobody")
    return RunAs(nobody.pw_uid, nobody.pw_gid)


def anyone_can_reach(directory: Path) -> bool:
    """Whether every existing directory on the way down lets everybody pass."""
    path = directory.resolve()
    ancestors = [path, *path.parents]
    return all(stat.S_IMODE(p.stat().st_mode) & stat.S_IXOTH for p in ancestors if p.exists())


def server_directory(wanted: Path, account: RunAs) -> Path:
    """The directory a server of `account` works in when `wanted` was asked for; made if absent.

    Only directories that this call makes get a mode, never one that was there before.

    Raises:
        EmbeddedServerError: the directory is somebody else's, root's from an earlier run perhaps.
    """
    if account.uid is None:
        made = make_directory(wanted, PRIVATE_DIRECTORY)
        if not os.access(made, os.W_OK | os.X_OK):
            raise EmbeddedServerError("embedded servers", f"{made} is not ours to write in")
        return made
    if anyone_can_reach(wanted) and not has_stand_in(wanted):
        return make_directory(wanted, OPEN_DIRECTORY)
    return stand_in_directory(wanted)
