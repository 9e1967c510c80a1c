"""One module's tests run once more under the fixtures of another folder."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

_SHARED = ("pytestmark", "anyio_backend")


def adopted(module: ModuleType, using: str, *fixtures: str) -> dict[str, Any]:
    """The tests of a module that take the fixture `using`, by name.

    With them come the module's marks and those of its own fixtures that are named.
    """
    tests = [
        name
        for name, test in vars(module).items()
        if name.startswith("test_") and using in inspect.signature(test).parameters
    ]
    shared = [name for name in _SHARED if hasattr(module, name)]
    return {name: getattr(module, name) for name in [*tests, *shared, *fixtures]}
