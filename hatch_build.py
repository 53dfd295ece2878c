"""Puts the built front end and the sidecar with DuckDB's binding for this platform into the wheel.

Both are built by npm beforehand (`npm run build`); nothing is downloaded here.
"""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LABEXTENSION = "share/jupyter/labextensions/syft-sync-jupyterlab"


def _node_platform() -> tuple[str, str]:
    """The names that Node gives this system and processor."""
    if sys.platform not in ("linux", "darwin"):
        raise RuntimeError("the sidecar is reached over a unix socket, which Python has on Linux and macOS only")
    machine = platform.machine().lower()
    return sys.platform, "arm64" if machine in ("arm64", "aarch64") else "x64"


def _wheel_platform(system: str, arch: str) -> str:
    """The oldest systems that Node 24 itself runs on."""
    if system == "linux":
        return f"manylinux_2_28_{'aarch64' if arch == 'arm64' else 'x86_64'}"
    return f"macosx_13_5_{'arm64' if arch == 'arm64' else 'x86_64'}"


class BuildHook(BuildHookInterface):
    """Leaves an editable install alone: there the front end and the sidecar are read from the checkout."""

    def initialize(self, version: str, build_data: dict) -> None:
        if self.target_name != "wheel" or version == "editable":
            return
        root = Path(self.root)
        front_end = root / "syft_sync" / "labextension"
        bundle = root / "server" / "dist" / "bundle"
        for built in (front_end / "package.json", bundle / "syft-sync.mjs"):
            if not built.is_file():
                raise RuntimeError(f"{built.relative_to(root)} is missing: run `npm run build` first")

        system, arch = _node_platform()
        sidecar = Path(self.directory) / "sidecar"
        shutil.rmtree(sidecar, ignore_errors=True)
        shutil.copytree(bundle, sidecar)
        shutil.copy2(root / "server" / "bin" / "syft-sync", sidecar / "syft-sync")
        modules = root / "node_modules" / "@duckdb"
        for name in ("node-api", "node-bindings", f"node-bindings-{system}-{arch}"):
            shutil.copytree(
                modules / name,
                sidecar / "node_modules" / "@duckdb" / name,
                ignore=shutil.ignore_patterns("*.d.ts", "*.map"),
            )

        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_wheel_platform(system, arch)}"
        build_data["force_include"][str(sidecar)] = "syft_sync/sidecar"
        build_data["shared_data"][str(front_end)] = LABEXTENSION
