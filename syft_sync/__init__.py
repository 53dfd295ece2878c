"""Syft Sync for JupyterLab: the Jupyter server extension and the kernel client."""

__version__ = "0.1.0"


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": "syft-sync-jupyterlab"}]


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "syft_sync"}]


def _load_jupyter_server_extension(server_app: object) -> None:
    """Nothing to start yet."""
