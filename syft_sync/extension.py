"""The Jupyter server extension: the sidecar starts with the server, so that recording needs no open browser."""

from __future__ import annotations

import atexit
import os
from pathlib import Path

from jupyter_server.extension.application import ExtensionApp
from traitlets import Bool, Dict, Int, List, Unicode

from .handlers import handlers
from .recorder import LOG_NAME, LOG_VARIABLE, ROOT_VARIABLE
from .sidecar import Sidecar


class SyftSync(ExtensionApp):
    """`c.SyftSync.…` in a Jupyter configuration."""

    name = "syft_sync"
    load_other_extensions = True

    enabled = Bool(True, help="Record the workspace.").tag(config=True)
    node = Unicode("", help="The Node.js that runs the sidecar; default: the first one found that is new enough.").tag(config=True)
    root = Unicode("", help="The folder to record; default: the root of the server.").tag(config=True)
    log_path = Unicode("", help="Where the log is kept; default: .syft-sync in the folder recorded.").tag(config=True)
    exclude = List(Unicode(), help="What not to record, in gitignore syntax.").tag(config=True)
    max_content = Int(1 << 30, help="Larger files, in bytes, are recorded by name, size and hash only.").tag(config=True)
    watcher = Unicode("", help="Where word of changes comes from: auto, fs-watch, chokidar, parcel, polling, none, or the path of a module.").tag(config=True)
    encrypt = Bool(False, help="Encrypt a log that is begun now; needs a passphrase or recipients.").tag(config=True)
    encrypt_recipients = List(
        Unicode(), help="With encrypt: age recipients (age1…) whose identities open a log that is begun now."
    ).tag(config=True)
    passphrase_file = Unicode(
        "", help="A file whose first line is the passphrase of the log; else SYFT_SYNC_PASSPHRASE in the environment of the server."
    ).tag(config=True)
    environment = Dict(help="Further environment variables of the sidecar.").tag(config=True)

    sidecar: Sidecar

    def root_path(self) -> str:
        """The folder to record, absolute."""
        return str(Path(self.root or self.serverapp.root_dir or ".").expanduser().resolve())

    def app_dirs(self) -> list[Path]:
        """Where JupyterLab, when it is what was started, keeps extensions that it built itself."""
        app_dir = getattr(self.serverapp.starter_app, "app_dir", "")
        return [Path(app_dir)] if app_dir else []

    def arguments(self) -> list[str]:
        """The sidecar's command line, but for where it listens."""
        log = ["--log", self.log_path] if self.log_path else []
        exclude = [f"--exclude={pattern}" for pattern in self.exclude]
        watcher = [f"--watcher={self.watcher}"] if self.watcher else []
        # Recipients are of a log that is begun encrypted; without that they would be an error, and nothing would be recorded.
        encrypt = ["--encrypt", *(f"--recipient={recipient}" for recipient in self.encrypt_recipients)] if self.encrypt else []
        passphrase = [f"--passphrase-file={Path(self.passphrase_file).expanduser().resolve()}"] if self.passphrase_file else []
        return ["-C", self.root_path(), *log, *passphrase, "serve", f"--max-content={self.max_content}", *encrypt, *watcher, *exclude]

    def variables(self) -> dict[str, str]:
        return {str(name): str(value) for name, value in self.environment.items()}

    def tell_kernels(self) -> None:
        """Kernels inherit our environment: where the log is. Who may read its lock finds in it how to ask the sidecar."""
        root = self.root_path()
        os.environ[ROOT_VARIABLE] = root
        os.environ[LOG_VARIABLE] = str(Path(self.log_path).resolve()) if self.log_path else str(Path(root) / LOG_NAME)

    def initialize_handlers(self) -> None:
        """Registers the routes and, once the event loop runs, starts the sidecar."""
        self.tell_kernels()
        self.sidecar = Sidecar(
            self.root_path(),
            self.log,
            arguments=self.arguments(),
            node=self.node,
            app_dirs=self.app_dirs(),
            env=self.variables(),
        )
        web_app = self.serverapp.web_app
        web_app.add_handlers(".*$", handlers(self.serverapp.base_url, self.sidecar))
        # jupyter-server-proxy may offer the same path by our entry point; where both are, this extension answers.
        rules = web_app.default_router.rules
        rules.insert(0, rules.pop(-2))
        if not self.enabled:
            self.sidecar.disable()
            return
        atexit.register(self.sidecar.abandon)
        self.serverapp.io_loop.add_callback(self.sidecar.start)

    async def stop_extension(self) -> None:
        """When the server cleans up. When it cannot (SIGKILL), the life line ends the sidecar."""
        await self.sidecar.stop()
