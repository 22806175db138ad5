"""Writes the repository that ../python_tuf.rs reads, with python-tuf 7: `python write.py`, in this folder.

The root is rotated once, to other root keys and another timestamp key; files are indented, have fields that nobody knows, and hold text
that canonical JSON treats specially. Keys are made from fixed seeds, so that the same files come out every time.
"""

import hashlib
import pathlib
from datetime import datetime, timezone

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole, Delegations, Metadata, MetaFile, Role, Root, Snapshot, TargetFile, Targets, Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

HERE = pathlib.Path(__file__).resolve().parent
EXPIRES = datetime(2036, 1, 1, tzinfo=timezone.utc)
ODD = {"x-note": "\u00e9 \U0001f600 \" \\ \n \t", "x-numbers": [0, -1, 9007199254740993], "x-nothing": None}


def signer(n):
    return CryptoSigner(Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32))


def write(name, signed, signers):
    metadata = Metadata(signed)
    for one in signers:
        metadata.sign(one, append=True)
    data = metadata.to_bytes(JSONSerializer(compact=False, validate=True))
    (HERE / name).write_bytes(data)
    return data


def meta(version, data):
    return MetaFile(version, len(data), {"sha256": hashlib.sha256(data).hexdigest()})


def root(version, root_keys, timestamp):
    roles = {name: Role([], 1) for name in ("root", "timestamp", "snapshot", "targets")}
    roles["root"] = Role([], 2)
    signed = Root(version=version, expires=EXPIRES, roles=roles, consistent_snapshot=True, unrecognized_fields=ODD)
    members = {"root": root_keys, "timestamp": [timestamp], "snapshot": [4], "targets": [5]}
    for role, numbers in members.items():
        for n in numbers:
            signed.add_key(signer(n).public_key, role)
    return signed


write("1.root.json", root(1, [1, 2], 3), [signer(1), signer(2)])
write("2.root.json", root(2, [2, 6], 7), [signer(n) for n in (1, 2, 6)])

role = "releases-kws"
bundle = TargetFile.from_data("models/kws/1.0.0/kws-1.0.0.ff", b"bundle", ["sha256", "sha512"])
bundle.unrecognized_fields["custom"] = {"number": 1, "note": ODD["x-note"]}
releases = write(f"1.{role}.json", Targets(expires=EXPIRES, targets={bundle.path: bundle}), [signer(8), signer(9)])
delegated = DelegatedRole(role, [], 2, terminating=True, paths=["models/kws/*/*"])
targets = Targets(expires=EXPIRES, delegations=Delegations({}, {role: delegated}), unrecognized_fields=ODD)
for n in (8, 9):
    targets.add_key(signer(n).public_key, role)
targets = write("1.targets.json", targets, [signer(5)])
snapshot = Snapshot(version=1, expires=EXPIRES, meta={"targets.json": meta(1, targets), f"{role}.json": meta(1, releases)})
snapshot = write("1.snapshot.json", snapshot, [signer(4)])
write("timestamp.json", Timestamp(version=1, expires=EXPIRES, snapshot_meta=meta(1, snapshot)), [signer(7)])
