"""Has a package of OpenMined read what we wrote, or write what we read. Prints JSON.

usage: peer.py PACKAGE COMMAND ARGUMENT..., where PACKAGE is `syft_client` or `syft`, in whose environment this runs.
"""

import hashlib
import importlib
import importlib.util
import json
import sys
import types
from pathlib import Path


def bare(*names):
    """Packages whose own __init__, which signs in to Google, is left out; every module below them is theirs as it is."""
    for name in names:
        parent = sys.modules.get(name.rpartition(".")[0])
        found = importlib.util.find_spec(name) if parent is None else None
        module = types.ModuleType(name)
        module.__path__ = (
            list(found.submodule_search_locations) if found else [str(Path(parent.__path__[0]) / name.rpartition(".")[2])]
        )
        sys.modules[name] = module


def sha256(data):
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def read_events(package, file, out):
    """Reads event messages, and does on disk what they say with the package's own file connection."""
    events = importlib.import_module(f"{package}.sync.events.file_change_event")
    files = importlib.import_module(f"{package}.sync.sync.caches.cache_file_writer_connection")
    hashes = importlib.import_module(f"{package}.sync.utils.syftbox_utils")
    message = events.FileChangeEventsMessage.from_compressed_data(Path(file).read_bytes())
    disk = files.FSFileConnection(base_dir=Path(out))
    told = []
    for event in message.events:
        if event.is_deleted:
            disk.delete_file(str(event.path_in_datasite))
        else:
            assert hashes.get_event_hash_from_content(event.content) == event.new_hash, event.path_in_datasite
            disk.write_file(str(event.path_in_datasite), event.content)
        told.append(
            {
                "path": str(event.path_in_datasite),
                "owner": event.datasite_email,
                "old": event.old_hash,
                "new": event.new_hash,
                "deleted": event.is_deleted,
            }
        )
    again = events.FileChangeEventsMessage.from_compressed_data(message.as_compressed_data())
    assert again.model_dump_json() == message.model_dump_json()
    name = events.FileChangeEventsMessageFileName.from_string(message.message_filepath.as_string())
    assert name == message.message_filepath
    return {"events": told, "name": message.message_filepath.as_string()}


def changes_of(before, after):
    """(path, old content, new content) of what differs between two folders; contents as their own code has them."""

    def all_of(root):
        root = Path(root)
        return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}

    def content(data):
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return data

    old, new = all_of(before), all_of(after)
    for path in sorted(old.keys() | new.keys()):
        if old.get(path) != new.get(path):
            yield path, old.get(path), None if path not in new else content(new[path])


def write_events(package, before, after, owner, out):
    """Writes an event message of what differs between two folders; its name is the one they give it."""
    events = importlib.import_module(f"{package}.sync.events.file_change_event")
    uuid4 = importlib.import_module("uuid").uuid4
    now = importlib.import_module(f"{package}.sync.utils.syftbox_utils").create_event_timestamp
    list_ = [
        events.FileChangeEvent(
            id=uuid4(),
            path_in_datasite=path,
            datasite_email=owner,
            content=new,
            old_hash=None if old is None else sha256(old),
            new_hash=None if new is None else sha256(new),
            is_deleted=new is None,
            submitted_timestamp=now(),
            timestamp=now(),
        )
        for path, old, new in changes_of(before, after)
    ]
    message = events.FileChangeEventsMessage(events=list_)
    file = Path(out) / message.message_filepath.as_string()
    file.write_bytes(message.as_compressed_data())
    return {"file": str(file)}


def write_proposal(package, before, after, sender, out):
    """Writes the same as a proposal, as one who is not the owner does."""
    proposals = importlib.import_module(f"{package}.sync.messages.proposed_filechange")
    message = proposals.ProposedFileChangesMessage(
        sender_email=sender,
        proposed_file_changes=[
            proposals.ProposedFileChange(
                path_in_datasite=path,
                datasite_email="owner@example.org",
                content=new,
                old_hash=None if old is None else sha256(old),
                is_deleted=new is None,
            )
            for path, old, new in changes_of(before, after)
        ],
    )
    file = Path(out) / message.message_filename.as_string()
    file.write_bytes(message.as_compressed_data())
    return {"file": str(file)}


def permissions(_package, root, owner, paths, users):
    """Who may what, by syft-permissions: {path: {user: level}}."""
    from syft_permissions import ACLRequest, ACLService, AccessLevel, User

    service = ACLService(owner=owner)
    service.load_permissions_from_filesystem(Path(root))

    def level(path, user):
        for name in ("admin", "write", "read"):
            if service.can_access(ACLRequest(path=path, level=AccessLevel[name.upper()], user=User(id=user))):
                return name
        return "none"

    return {path: {user: level(path, user) for user in json.loads(users)} for path in json.loads(paths)}


def inbox(_package, file, out):
    """0.1.87: what its inbox makes of a message that came."""
    bare("syft_client.platforms", "syft_client.sync", "syft_client.sync.watcher")
    base = importlib.import_module("syft_client.platforms.transport_base").BaseTransportLayer

    class Folder(base):
        transport_name = "folder"
        login_complexity = 0
        send = receive = None

        def is_setup(self):
            return True

        def _get_messages_from_transport(self, sender_email, verbose=True):
            data = Path(file).read_bytes()
            return [{"message_id": Path(file).stem, "data": data, "timestamp": "", "size": str(len(data))}]

        def _archive_messages(self, *_):
            return None

    got = Folder("bob@example.org").check_inbox("ana@example.org", download_dir=out, verbose=False)
    return {"messages": [{"metadata": message["metadata"], "id": message["id"]} for message in got]}


def write_message(_package, sender, recipient, source, out):
    """0.1.87: a SyftMessage of all files of a folder."""
    bare("syft_client.sync")
    message = importlib.import_module("syft_client.sync.message").SyftMessage.create(sender, recipient, Path(out))
    for path in sorted(Path(source).rglob("*")):
        if path.is_file():
            message.add_file(str(path), str(path.relative_to(source)))
    return {"file": message.create_archive(), "id": message.message_id}


def version(package):
    return {"version": importlib.import_module("importlib.metadata").version(package.replace("_", "-"))}


def main():
    package, command, *arguments = sys.argv[1:]
    bare(package)
    commands = {
        f.__name__: f for f in (read_events, write_events, write_proposal, permissions, inbox, write_message, version)
    }
    print(json.dumps(commands[command](package, *arguments)))


main()
