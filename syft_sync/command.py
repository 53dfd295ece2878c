"""The console script `syft-sync`: the command line of the sidecar's bundle, on a Node.js that is new enough."""

from __future__ import annotations

import os
import subprocess
import sys

from .locate import NODE_FLAGS, NotFound, find_bundle, find_node


def command_line() -> list[str]:
    """What runs the command line, but for its arguments. Raises NotFound."""
    return [find_node().path, *NODE_FLAGS, str(find_bundle())]


def main() -> None:
    try:
        command = [*command_line(), *sys.argv[1:]]
    except NotFound as missing:
        print(f"syft-sync: {missing} [{missing.reason}]", file=sys.stderr)
        sys.exit(1)
    if os.name == "nt":
        sys.exit(subprocess.run(command, check=False).returncode)
    # The same process: signals reach Node itself.
    os.execv(command[0], command)
