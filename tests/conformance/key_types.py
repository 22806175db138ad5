"""Repositories that python-tuf writes with keys of every type, read by `fleetfoot-tuf-client` over plain HTTP.

    python key_types.py PROGRAM KEYTYPE...      the types that PROGRAM knows; it has to refuse the others

For each type every role of the root is signed by a key of that type, below it lies a delegated role, and the root is rotated once. A wrong
signature that looks right is refused. Keys are made for the run.
"""

import copy
import hashlib
import http.server
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
from datetime import datetime, timedelta, timezone
from urllib.parse import unquote

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole, Delegations, Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

TYPES = {
    "ed25519": CryptoSigner.generate_ed25519,
    "ecdsa": CryptoSigner.generate_ecdsa,
    "rsa": CryptoSigner.generate_rsa,
    "rsa-pkcs1v15": lambda: CryptoSigner.generate_rsa(scheme="rsa-pkcs1v15-sha256"),
}
EXPIRES = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=30)
DELEGATED, PATH, CONTENT = "a role/\u00e9", "path/to a/file.txt", b"signed by python-tuf"


def sign(signed, signers):
    metadata = Metadata(signed)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes(JSONSerializer(compact=False))


def meta(data):
    return MetaFile(1, len(data), {"sha256": hashlib.sha256(data).hexdigest()})


def repository(make):
    """Files by their path on the server, and what signed the second root."""
    signers = {role: make() for role in ("root", "next", "timestamp", "snapshot", "targets", "delegated")}
    files = {}

    def root(version, key):
        signed = Root(version=version, expires=EXPIRES, consistent_snapshot=True)
        signed.add_key(signers[key].public_key, "root")
        for role in ("timestamp", "snapshot", "targets"):
            signed.add_key(signers[role].public_key, role)
        return signed

    files["metadata/1.root.json"] = sign(root(1, "root"), [signers["root"]])
    files["metadata/2.root.json"] = sign(root(2, "next"), [signers["root"], signers["next"]])
    target = TargetFile.from_data(PATH, CONTENT, ["sha256", "sha512"])
    delegated = sign(Targets(expires=EXPIRES, targets={PATH: target}), [signers["delegated"]])
    role = DelegatedRole(DELEGATED, [], 1, terminating=True, paths=["path/*/*.txt"])
    top = Targets(expires=EXPIRES, delegations=Delegations({}, {DELEGATED: role}))
    top.add_key(signers["delegated"].public_key, DELEGATED)
    top = sign(top, [signers["targets"]])
    listed = {"targets.json": meta(top), f"{DELEGATED}.json": meta(delegated)}
    snapshot = sign(Snapshot(expires=EXPIRES, meta=listed), [signers["snapshot"]])
    files["metadata/timestamp.json"] = sign(Timestamp(expires=EXPIRES, snapshot_meta=meta(snapshot)), [signers["timestamp"]])
    files["metadata/1.snapshot.json"] = snapshot
    files["metadata/1.targets.json"] = top
    files[f"metadata/1.{DELEGATED}.json"] = delegated
    folder, name = PATH.rsplit("/", 1)
    files[f"targets/{folder}/{target.hashes['sha256']}.{name}"] = CONTENT
    return files, signers["next"]


def serve(files):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            # Names of roles are quoted within one segment.
            data = files.get(unquote(self.path.lstrip("/")))
            self.send_response(200 if data is not None else 404)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def run(program, folder, url, *command):
    options = ["--metadata-dir", folder / "metadata", "--metadata-url", f"{url}/metadata/"]
    if command[0] == "download":
        options += ["--target-name", PATH, "--target-dir", folder / "targets", "--target-base-url", f"{url}/targets/"]
    return subprocess.run([program, *options, *command], check=False, capture_output=True).returncode


def check(program, name, is_known):
    files, signer = repository(TYPES[name])
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        server = serve(files)
        url = f"http://127.0.0.1:{server.server_port}"
        first = folder / "first.json"
        first.write_bytes(files["metadata/1.root.json"])
        assert run(program, folder, url, "init", first) == 0, "init"
        if not is_known:
            assert run(program, folder, url, "refresh") == 1, "a key of a type that it does not know counts"
            assert not list((folder / "metadata").glob("timestamp.json")), "something is believed"
            return
        assert run(program, folder, url, "refresh") == 0, "refresh"
        assert run(program, folder, url, "download") == 0, "download"
        assert [file.read_bytes() for file in (folder / "targets").iterdir()] == [CONTENT], "another file"
        for role in ("timestamp", "snapshot", "targets"):
            published = files[f"metadata/{'' if role == 'timestamp' else '1.'}{role}.json"]
            assert (folder / f"metadata/{role}.json").read_bytes() == published, f"{role}: not byte for byte"
        assert (folder / "metadata/root.json").read_bytes() == files["metadata/2.root.json"], "root"
        # A third root whose signature is good, but over something else; then the same root as it should be.
        good = Metadata[Root].from_bytes(files["metadata/2.root.json"])
        good.signed.version = 3
        wrong = copy.deepcopy(good)
        good.sign(signer)
        wrong.signed.expires = EXPIRES + timedelta(days=1)
        wrong.sign(signer)
        document = json.loads(good.to_bytes(JSONSerializer()))
        document["signatures"] = json.loads(wrong.to_bytes(JSONSerializer()))["signatures"]
        files["metadata/3.root.json"] = json.dumps(document).encode()
        assert run(program, folder, url, "refresh") == 1, "a wrong signature is taken"
        assert json.loads((folder / "metadata/root.json").read_bytes())["signed"]["version"] == 2, "root 3 is believed"
        files["metadata/3.root.json"] = good.to_bytes(JSONSerializer())
        assert run(program, folder, url, "refresh") == 0, "the right signature"
        server.shutdown()


def main():
    program, known = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:]
    failed = 0
    for name in TYPES:
        try:
            check(program, name, name in known)
            print(f"ok     {name}: {'read' if name in known else 'refused'}")
        except AssertionError as error:
            failed += 1
            print(f"FAILED {name}: {error}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
