"""What a Jupyter configuration says reaches the sidecar's command line."""

from __future__ import annotations

from pathlib import Path

from syft_sync.extension import SyftSync


def test_a_log_that_is_begun_encrypted_opens_for_the_recipients_of_the_configuration(tmp_path: Path) -> None:
    passphrase = tmp_path / "passphrase"
    extension = SyftSync(root=str(tmp_path), encrypt=True, encrypt_recipients=["age1one", "age1two"], passphrase_file=str(passphrase))
    arguments = extension.arguments()
    assert f"--passphrase-file={passphrase}" in arguments
    assert arguments[arguments.index("--encrypt") :][:3] == ["--encrypt", "--recipient=age1one", "--recipient=age1two"]


def test_recipients_alone_neither_encrypt_nor_stop_the_recorder(tmp_path: Path) -> None:
    arguments = SyftSync(root=str(tmp_path), encrypt_recipients=["age1one"]).arguments()
    assert not [argument for argument in arguments if argument.startswith(("--recipient", "--encrypt"))]
