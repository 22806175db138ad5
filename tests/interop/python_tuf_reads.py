"""A repository that `fleetfoot` wrote, read by python-tuf: its client follows two publications and downloads the bundle.

Keys, bundles and repository are made with the program; a web server of the standard library serves the folder. Then a bit of
each file is flipped, and python-tuf has to refuse; so this also shows that it does look at what it reads.
"""

import functools
import hashlib
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading

from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.ngclient import Updater

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("FLEETFOOT", "fleetfoot")
MODEL = "digits"


def main():
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        repo = work / "repo"
        for name in ["root", "targets", "snapshot", "timestamp", "releases-1", "releases-2"]:
            role, _, number = name.partition("-")
            fleetfoot("keys", "new", "--role", role, *(["--name", number] if number else []), "--out", work / "keys", "--plain")
        key = {path.stem: path for path in (work / "keys").glob("*.key")}
        online = ["--snapshot-key", key["snapshot"], "--timestamp-key", key["timestamp"]]
        fleetfoot(
            "repo", "init", "--repo", repo, "--root-key", key["root"], "--targets-key", key["targets"], "--model", MODEL,
            *(part for n in "12" for part in ("--releases-key", work / f"keys/releases-{n}.pub")), *online,
        )

        def publish(number):
            bundle, version = work / f"{number}.ff", f"{number}.0.0"
            releases = ["--key", key["releases-1"], "--key", key["releases-2"]]
            fleetfoot(
                "pack", ROOT / f"examples/digits/digits_v{number}.tflite", "--name", MODEL, "--version", version,
                "--number", str(number), *releases, "-o", bundle,
            )
            fleetfoot("publish", bundle, "--repo", repo, *releases, *online)
            return f"models/{MODEL}/{version}/{MODEL}-{version}.ff", bundle.read_bytes()

        url = serve(repo)
        root = (repo / "metadata/1.root.json").read_bytes()
        # One client that lives on, so that it also judges what has changed.
        client = work / "client"
        for number in [1, 2]:
            path, bundle = publish(number)
            found = read(url, root, client, path)
            if found != bundle:
                return fail(f"{path}: another bundle than was published")
            print(f"ok     release {number}: python-tuf downloads {len(bundle)} bytes, {hashlib.sha256(bundle).hexdigest()[:16]}")

        fleetfoot("repo", "resign", "--repo", repo, *online)
        if read(url, root, client, path) != bundle:
            return fail("after signing again")
        print("ok     signed again")

        in_force = [
            newest(repo / "metadata", role) for role in ["timestamp", "snapshot", "targets", f"releases-{MODEL}"]
        ]
        in_force += [file for file in (repo / "targets").rglob("*.ff") if ".".join(path.rsplit("/", 1)[1:]) in file.name]
        for i, file in enumerate(in_force):
            good = file.read_bytes()
            file.write_bytes(flipped(good))
            try:
                read(url, root, work / f"fresh-{i}", path)
                return fail(f"{file.name}: python-tuf takes it with a bit flipped")
            except (RepositoryError, DownloadError, ValueError) as error:
                print(f"ok     {file.name}, one bit flipped: {type(error).__name__}")
            file.write_bytes(good)
        return 0


def fleetfoot(*arguments):
    run = subprocess.run([PROGRAM, *arguments, "--json"], check=False, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"fleetfoot {' '.join(map(str, arguments))}: {run.returncode}\n{run.stdout}{run.stderr}")
    return json.loads(run.stdout)


def serve(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def read(url, root, client, path):
    """The target as a new process of python-tuf with the store `client` gets it; nothing it downloaded before is used."""
    (client / "metadata").mkdir(parents=True, exist_ok=True)
    updater = Updater(
        metadata_dir=str(client / "metadata"), metadata_base_url=f"{url}/metadata/", target_base_url=f"{url}/targets/",
        bootstrap=root,
    )
    updater.refresh()
    info = updater.get_targetinfo(path)
    if info is None:
        raise RepositoryError(f"no target {path}")
    download = client / "download"
    updater.download_target(info, filepath=str(download))
    return download.read_bytes()


def newest(folder, role):
    """The file of `role` with the highest version."""
    plain = folder / f"{role}.json"
    if plain.exists():
        return plain
    return max(folder.glob(f"*.{role}.json"), key=lambda file: int(file.name.split(".")[0]))


def flipped(data):
    """One bit changed: in metadata the last of the year of expiry, so that it is still metadata, else one in the middle."""
    field = b'"expires":"'
    at = data.index(field) + len(field) + len("202") if field in data else len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def fail(message):
    print(f"FAILED {message}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
