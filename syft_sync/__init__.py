"""Syft Sync for JupyterLab: the Jupyter server extension that runs and proxies the sidecar, and for notebooks SQL and messages."""

from __future__ import annotations

from typing import Any

from .query import sql
from .sql_error import SyftSqlError, SyftSqlTruncated
from .syft_message import SyftMessage, SyftMessageError, message

__version__ = "0.1.0"
__all__ = ["SyftMessage", "SyftMessageError", "SyftSqlError", "SyftSqlTruncated", "message", "sql"]


def load_ipython_extension(ipython: Any) -> None:
    """`%load_ext syft_sync`: `%syftsql` and `%%syftsql`."""
    from .magics import SyftSqlMagics

    ipython.register_magics(SyftSqlMagics)


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": "syft-sync-jupyterlab"}]


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from .extension import SyftSync

    return [{"module": "syft_sync", "app": SyftSync}]


def setup_sidecar_proxy() -> dict[str, Any]:
    """The second way to the sidecar, for hubs that run jupyter-server-proxy: the same path, the same routes.

    Where the server extension is active its routes come first and answer; the proxy then starts nothing.
    """
    import secrets

    from jupyter_server.serverapp import ServerApp

    from .extension import SyftSync
    from .locate import NODE_FLAGS, find_bundle, find_node

    settings = SyftSync(config=ServerApp.instance().config)
    secret = secrets.token_hex(32)

    def literal(text: str) -> str:
        """The proxy fills in whatever it finds in braces."""
        return text.replace("{", "{{").replace("}", "}}")

    def command() -> list[str]:
        bundle = find_bundle(settings.app_dirs())
        words = [find_node(settings.node).path, *NODE_FLAGS, str(bundle), *settings.arguments()]
        return [*map(literal, words), "--socket", "{unix_socket}"]

    return {
        "command": command,
        "environment": {
            **{literal(name): literal(value) for name, value in settings.variables().items()},
            "SYFT_SYNC_SECRET": secret,
        },
        "request_headers_override": {"X-Syft-Sync-Secret": secret},
        "unix_socket": True,
        "timeout": 30,
        "absolute_url": False,
        "new_browser_tab": False,
        "launcher_entry": {"enabled": False},
        "update_last_activity": False,
    }
