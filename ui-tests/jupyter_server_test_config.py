"""JupyterLab for the UI tests: galata's settings (no token, no XSRF check), the port and root that the tests chose."""

import os

from jupyterlab.galata import configure_jupyter_server

configure_jupyter_server(c)  # noqa: F821

c.ServerApp.port = int(os.environ["SYFT_UI_PORT"])  # noqa: F821
c.ServerApp.allow_root = True  # noqa: F821
# As elsewhere: galata would leave a folder behind.
c.LabApp.workspaces_dir = os.environ["JUPYTERLAB_WORKSPACES_DIR"]  # noqa: F821
