"""The embedded data: found, fetched by checksum from a server that misbehaves, packed and verified."""

import hashlib
import http.server
import io
import shutil
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from course_lib import CheckpointError, DataError, DownloadError, checkpoint_folder, data_folder, embedded
from course_lib.embedded import (
    embedded_files,
    fetch_embedded,
    pack_embedded,
    pin_embedded,
    read_pin,
    verify_embedded,
    write_sums,
)


@pytest.fixture
def ours(tmp_path, monkeypatch) -> Path:
    """A small data/ folder with sums; caches go elsewhere."""
    folder = tmp_path / "data"
    for name in (
        "studio/train.csv",
        "studio/a/b.jpg",
        "checkpoints/tiny/config.json",
        "README.md",
        "recipe/no.py",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"this is {name}")
    (folder / "studio" / ".hidden").write_text("not ours")
    write_sums(folder)
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("COURSE_DATA_DIR", raising=False)
    monkeypatch.delenv("COURSE_DATA_URL", raising=False)
    return folder


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves self.server.body in the manner of the path asked for."""

    def do_GET(self):  # noqa: N802, the name http.server wants
        body, manner = self.server.body, self.path.strip("/").split("/")[0]
        self.server.asked.append(self.path)
        if manner == "gone":
            return self.send_error(404)
        if manner == "page":
            body = b"<!DOCTYPE html><html>Please sign in</html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if manner == "cut":
            self.wfile.write(body[: len(body) // 2])
            self.connection.close()
        elif manner == "stall":
            self.wfile.write(body[:100])
            self.wfile.flush()
            self.server.enough.wait(20)
        else:
            self.wfile.write(body)

    def log_message(self, *args):
        """Keep the test's output clean."""


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.body, server.asked, server.enough = b"", [], threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.enough.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def release(ours, server, tmp_path):
    """(server, sha256, target folder): the packed archive is on the server."""
    archive, sha256 = pack_embedded(tmp_path / "out", ours)
    server.body = archive.read_bytes()
    return server, sha256, tmp_path / "cache" / "embedded-data-1"


def nothing_left(folder: Path) -> bool:
    return not folder.parent.exists() or list(folder.parent.iterdir()) == []


# --- finding -----------------------------------------------------------------------------------------------


def test_environment_variable_wins(ours, monkeypatch):
    monkeypatch.setenv("COURSE_DATA_DIR", str(ours))
    assert data_folder() == ours
    assert checkpoint_folder("tiny") == ours / "checkpoints" / "tiny"
    monkeypatch.setenv("COURSE_DATA_DIR", str(ours / "nowhere"))
    with pytest.raises(DataError, match="COURSE_DATA_DIR names .*nowhere, which is not a folder"):
        data_folder()


def test_checkout_has_its_own_data(ours):
    checkout = Path(embedded.__file__).resolve().parent.parent / "data"
    if not checkout.is_dir():
        pytest.skip("installed without a checkout")
    assert data_folder() == checkout


@pytest.mark.parametrize("name", ["tony", "../tiny", "", "a\nb", "tiny/config.json", "."])
def test_unknown_checkpoints(ours, monkeypatch, name):
    monkeypatch.setenv("COURSE_DATA_DIR", str(ours))
    with pytest.raises(CheckpointError, match="tiny") as caught:
        checkpoint_folder(name)
    assert "\n" not in str(caught.value)
    shutil.rmtree(ours / "checkpoints")
    with pytest.raises(CheckpointError, match="train one first"):
        checkpoint_folder(name)


def test_installed_without_data_it_is_fetched_once(release, monkeypatch, capsys, tmp_path):
    server, sha256, target = release
    monkeypatch.setattr(embedded, "__file__", str(tmp_path / "site" / "course_lib" / "embedded.py"))
    monkeypatch.setattr(embedded, "read_pin", lambda: ("1", sha256))
    monkeypatch.setenv("COURSE_DATA_URL", f"{server.url}/good/")
    assert data_folder() == data_folder() == target
    assert server.asked == ["/good/embedded-data-1.tar"]
    said = capsys.readouterr()
    assert (
        said.out == "" and f"fetching {server.url}/good/embedded-data-1.tar into {target.parent}" in said.err
    )
    assert (target / "studio" / "a" / "b.jpg").read_text() == "this is studio/a/b.jpg"
    assert verify_embedded(target) == []


def test_a_version_without_a_release(ours, monkeypatch, tmp_path):
    monkeypatch.setattr(embedded, "__file__", str(tmp_path / "site" / "course_lib" / "embedded.py"))
    monkeypatch.setattr(embedded, "read_pin", lambda: ("7", None))
    with pytest.raises(DownloadError, match="no released data archive; clone the project"):
        data_folder()


# --- fetching: all or nothing ------------------------------------------------------------------------------


def test_good(release):
    server, sha256, target = release
    assert fetch_embedded(f"{server.url}/good/x.tar", sha256, target) == target
    assert [p.name for p in target.parent.iterdir()] == [target.name]
    assert not (target / "recipe").exists() and not (target / "studio" / ".hidden").exists()


@pytest.mark.parametrize(
    "manner, words",
    [
        ("good", "something else than the released data"),  # with a wrong checksum, below
        ("page", "something else than the released data"),
        ("cut", r"stopped after [\d,]+ of [\d,]+ bytes"),
        ("stall", "stopped after .* bytes .*timed out.*try again"),
        ("gone", "answered 404 Not Found"),
    ],
)
def test_servers_that_fail(release, manner, words):
    server, sha256, target = release
    wrong = hashlib.sha256(b"something else").hexdigest()
    start = time.monotonic()
    with pytest.raises(DownloadError, match=words) as caught:
        fetch_embedded(
            f"{server.url}/{manner}/x.tar", wrong if manner == "good" else sha256, target, timeout=0.5
        )
    assert time.monotonic() - start < 10 and "\n" not in str(caught.value)
    assert nothing_left(target)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/x.tar", "http://no-such-host.invalid/x", "nonsense", "http://["]
)
def test_no_network(ours, tmp_path, url):
    target = tmp_path / "cache" / "embedded-data-1"
    with pytest.raises(DownloadError, match="cannot reach .*set COURSE_DATA_DIR"):
        fetch_embedded(url, "0" * 64, target, timeout=2)
    assert nothing_left(target)


def test_too_much(release, monkeypatch):
    server, sha256, target = release
    monkeypatch.setattr(embedded, "MAX_BYTES", 1000)
    with pytest.raises(DownloadError, match="over 1,000 bytes"):
        fetch_embedded(f"{server.url}/good/x.tar", sha256, target)
    assert nothing_left(target)


def test_a_cache_folder_one_cannot_write(release, tmp_path):
    server, sha256, _ = release
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="cannot write the data into .*COURSE_CACHE_DIR"):
        fetch_embedded(f"{server.url}/good/x.tar", sha256, tmp_path / "file" / "embedded-data-1")


def test_a_full_disk(release, monkeypatch):
    server, sha256, target = release

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(DownloadError, match="No space left on device"):
        fetch_embedded(f"{server.url}/good/x.tar", sha256, target)
    assert nothing_left(target)


def test_a_last_step_that_fails_leaves_nothing_behind(release, monkeypatch):
    server, sha256, target = release

    def fail(*names):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(embedded.os, "rename", fail)
    with pytest.raises(DownloadError, match="cannot write the data into .*Permission denied"):
        fetch_embedded(f"{server.url}/good/x.tar", sha256, target)
    assert nothing_left(target)


def test_several_at_once(release):
    server, sha256, target = release
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(fetch_embedded, f"{server.url}/good/x.tar", sha256, target) for _ in range(8)]
        assert {job.result() for job in jobs} == {target}
    assert [p.name for p in target.parent.iterdir()] == [target.name] and verify_embedded(target) == []


def tar_of(*members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    return buffer.getvalue()


def member(name, kind=tarfile.REGTYPE, link="", size=0):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


@pytest.mark.parametrize(
    "body, words",
    [
        (tar_of(member("/etc/evil")), "no plain file below it"),
        (tar_of(member("studio/../../evil")), "no plain file below it"),
        (tar_of(member("c:evil")), "no plain file below it"),
        (tar_of(member("studio\\..\\evil")), "no plain file below it"),
        (tar_of(member("link", tarfile.SYMTYPE, "/etc/passwd")), "no plain file below it"),
        (tar_of(member("hard", tarfile.LNKTYPE, "a")), "no plain file below it"),
        (tar_of(member("pipe", tarfile.FIFOTYPE)), "no plain file below it"),
        (tar_of(*(member(f"f{i}") for i in range(60))), "far more"),
        (b"not a tar at all" * 100, "cannot be unpacked"),
        (b"", "cannot be unpacked"),
    ],
)
def test_archives_with_tricks(release, monkeypatch, tmp_path, body, words):
    server, _, target = release
    server.body = body
    monkeypatch.setattr(embedded, "MAX_FILES", 50)
    with pytest.raises(DownloadError, match=words):
        fetch_embedded(f"{server.url}/good/x.tar", hashlib.sha256(body).hexdigest(), target)
    assert nothing_left(target) and not list(tmp_path.rglob("evil*"))


# --- making and checking -----------------------------------------------------------------------------------


def test_the_same_files_give_the_same_archive(ours, tmp_path):
    first, sha256 = pack_embedded(tmp_path / "one", ours)
    shutil.copytree(ours, tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*"):
        path.touch()  # another date
        path.chmod(0o755)
    second, again = pack_embedded(tmp_path / "two", tmp_path / "copy")
    assert sha256 == again == hashlib.sha256(second.read_bytes()).hexdigest()
    assert first.name == f"embedded-data-{read_pin()[0]}.tar" and list((tmp_path / "one").iterdir()) == [
        first
    ]
    with tarfile.open(first) as tar:
        names = tar.getnames()
        assert names == sorted(embedded_files(ours) + ["SHA256SUMS"])
        assert {(m.mtime, m.uid, m.gid, m.uname) for m in tar} == {(0, 0, 0, "")}


def test_missing_changed_and_extra_are_listed(ours):
    assert verify_embedded(ours) == []
    (ours / "studio" / "a" / "b.jpg").write_text("altered")
    (ours / "studio" / "new.jpg").write_text("new")
    (ours / "README.md").unlink()
    assert verify_embedded(ours) == [
        "README.md: missing",
        "studio/a/b.jpg: changed",
        "studio/new.jpg: extra, not in SHA256SUMS",
    ]
    (ours / "SHA256SUMS").unlink()
    assert verify_embedded(ours) == ["SHA256SUMS: missing"]


def test_sums_are_in_the_usual_format(ours):
    line = (ours / "SHA256SUMS").read_text().splitlines()[0]
    assert line == f"{hashlib.sha256(b'this is README.md').hexdigest()}  README.md"


def test_pin(tmp_path, monkeypatch):
    version, sha256 = read_pin()
    assert version and (sha256 is None or len(sha256) == 64)
    monkeypatch.setattr(embedded, "PIN", tmp_path / "embedded.json")
    pin_embedded("3", "a" * 64)
    assert read_pin() == ("3", "a" * 64)
