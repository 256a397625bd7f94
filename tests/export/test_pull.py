"""Downloads against a server on this machine: resuming, wrong files, several addresses, mirrors, archives, folders."""

import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from trtswap.errors import BusyError, CheckpointError
from trtswap.export.checkpoints import Archive, Checkpoint
from trtswap.export.pull import pull

CONTENT = bytes(range(256)) * 8192
WRONG = CONTENT[::-1]


class Server(ThreadingHTTPServer):
    """Serves ``files`` by path; can do without ranges and lengths, and break connections."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []  # path and range
        self.ranges = True
        self.lengths = True
        self.break_after: list[int] = []  # bytes after which the next responses end

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers["Range"]
        self.server.requests.append((self.path, wanted))
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if self.server.ranges and start >= len(content):
            self.send_error(416)
            return
        body = content[start:] if self.server.ranges else content
        self.send_response(206 if self.server.ranges else 200)
        if self.server.lengths:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.break_after.pop(0)] if self.server.break_after else body)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running, serving(running):
        yield running


@contextmanager
def serving(server: Server) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield
    server.shutdown()
    thread.join()


def entry(*urls: str, size: int | None = len(CONTENT), archive: Archive | None = None) -> Checkpoint:
    digest = sha256(CONTENT).hexdigest()
    return Checkpoint("mine", "mine.pth", digest, urls, "CC0, do what you like", "state_dict", size, archive=archive)


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_download(server, tmp_path, size):
    server.files["/a"] = CONTENT
    seen = []
    into = tmp_path / "new" / "folder"
    path = pull(entry(server.url("/a"), size=size), into, accept_licence=True, progress=lambda *now: seen.append(now))
    assert path == into / "mine.pth"
    assert path.read_bytes() == CONTENT
    assert names(into) == ["mine.pth"]
    assert seen == sorted(seen)
    assert len(seen) > 1
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_present_file_is_not_downloaded_again(server, tmp_path):
    (tmp_path / "other name").write_bytes(CONTENT)
    assert pull(entry(server.url("/a")), tmp_path) == tmp_path / "other name"
    assert server.requests == []


def test_licence_comes_first(server, tmp_path):
    server.files["/a"] = CONTENT
    with pytest.raises(CheckpointError, match=r"this licence: CC0, do what you like. Read it; --accept-license"):
        pull(entry(server.url("/a")), tmp_path / "new")
    assert server.requests == []
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_resume(server, tmp_path, size):
    server.files["/a"] = CONTENT
    (tmp_path / "mine.pth.part").write_bytes(CONTENT[:1_000_000])
    path = pull(entry(server.url("/a"), size=size), tmp_path, accept_licence=True)
    assert path.read_bytes() == CONTENT
    assert server.requests == [("/a", "bytes=1000000-")]


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_complete_part_needs_no_more_bytes(server, tmp_path, size):
    server.files["/a"] = CONTENT
    (tmp_path / "mine.pth.part").write_bytes(CONTENT)
    assert pull(entry(server.url("/a"), size=size), tmp_path, accept_licence=True).read_bytes() == CONTENT


def test_resume_where_the_server_knows_no_ranges(server, tmp_path):
    server.files["/a"], server.ranges = CONTENT, False
    (tmp_path / "mine.pth.part").write_bytes(CONTENT[:1_000_000])
    assert pull(entry(server.url("/a")), tmp_path, accept_licence=True).read_bytes() == CONTENT


def test_broken_connection_is_taken_up_again(server, tmp_path):
    server.files["/a"], server.break_after = CONTENT, [500_000, 100_000]
    assert pull(entry(server.url("/a")), tmp_path, accept_licence=True).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == ["bytes=0-", "bytes=500000-", "bytes=600000-"]


def test_what_came_is_kept_for_the_next_time(server, tmp_path):
    server.files["/a"], server.break_after = CONTENT, [500_000, 0]
    with pytest.raises(CheckpointError, match=r"500,000 bytes came, expected 2,097,152"):
        pull(entry(server.url("/a")), tmp_path, accept_licence=True)
    assert names(tmp_path) == ["mine.pth.part"]
    assert pull(entry(server.url("/a")), tmp_path, accept_licence=True).read_bytes() == CONTENT
    assert server.requests[-1] == ("/a", "bytes=500000-")


@pytest.mark.parametrize("junk", [WRONG[:1_000_000], WRONG, WRONG * 2], ids=["partial", "full", "too long"])
def test_part_with_other_bytes_is_thrown_away(server, tmp_path, junk):
    server.files["/a"] = CONTENT
    (tmp_path / "mine.pth.part").write_bytes(junk)
    assert pull(entry(server.url("/a")), tmp_path, accept_licence=True).read_bytes() == CONTENT


def test_wrong_hash(server, tmp_path):
    server.files["/a"] = WRONG
    with pytest.raises(CheckpointError, match=rf"sha256 is {sha256(WRONG).hexdigest()}, expected [0-9a-f]{{64}}\nGet"):
        pull(entry(server.url("/a")), tmp_path, accept_licence=True)
    assert names(tmp_path) == []


def test_wrong_size_is_seen_before_the_bytes_come(server, tmp_path):
    server.files["/a"] = CONTENT + b"x"
    with pytest.raises(CheckpointError, match="the file has 2,097,153 bytes, expected 2,097,152"):
        pull(entry(server.url("/a")), tmp_path, accept_licence=True)
    assert names(tmp_path) == []


def test_endless_body_is_not_taken_in(server, tmp_path):
    server.files["/a"], server.lengths = CONTENT * 10, False
    with pytest.raises(CheckpointError, match=r"2,\d{3},\d{3} bytes came, expected 2,097,152"):
        pull(entry(server.url("/a")), tmp_path, accept_licence=True)


def test_addresses_are_tried_in_order(server, tmp_path):
    server.files |= {"/wrong": WRONG, "/short": CONTENT[:-1], "/right": CONTENT, "/unused": CONTENT}
    urls = [server.url(path) for path in ("/absent", "/wrong", "/short", "/right", "/unused")]
    assert pull(entry(*urls), tmp_path, accept_licence=True).read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == ["/absent", "/wrong", "/short", "/right"]


def test_failure_names_every_address_and_the_way_out(server, tmp_path):
    server.files["/wrong"] = WRONG
    urls = (server.url("/absent"), server.url("/wrong"), "http://127.0.0.1:9/closed", "file:///etc/hostname")
    with pytest.raises(CheckpointError) as caught:
        pull(entry(*urls), tmp_path, accept_licence=True)
    message = str(caught.value)
    assert all(url in message for url in urls)
    assert "404" in message
    assert "--from DIR" in message
    assert "TRTSWAP_WEIGHTS_MIRROR" in message


def test_mirror_comes_first(server, tmp_path):
    server.files |= {"/mirror/mine.pth": CONTENT, "/a": CONTENT}
    pull(entry(server.url("/a")), tmp_path, mirror=server.url("/mirror/"), accept_licence=True)
    assert [path for path, _ in server.requests] == ["/mirror/mine.pth"]


@pytest.fixture
def archive(tmp_path, server) -> Archive:
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("people/inner.pth", CONTENT)
    server.files["/all.zip"] = path.read_bytes()
    return Archive(server.url("/all.zip"), sha256(path.read_bytes()).hexdigest(), "people/inner.pth")


def test_archive_comes_last(server, tmp_path, archive):
    into = tmp_path / "into"
    path = pull(entry(server.url("/absent"), archive=archive), into, accept_licence=True)
    assert path.read_bytes() == CONTENT
    assert names(into) == ["mine.pth"]
    assert [path for path, _ in server.requests] == ["/absent", "/all.zip"]


def test_archive_with_other_bytes(server, tmp_path, archive):
    server.files["/all.zip"] = WRONG
    with pytest.raises(CheckpointError, match=rf"all.zip: the file's sha256 is .*, expected {archive.sha256}"):
        pull(entry(archive=archive), tmp_path / "into", accept_licence=True)
    assert names(tmp_path / "into") == []


def test_archive_with_another_file_of_that_name(tmp_path, archive):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as zipped:
        zipped.writestr("people/inner.pth", WRONG)
    other = Archive(archive.url, sha256((tmp_path / "all.zip").read_bytes()).hexdigest(), archive.member)
    with pytest.raises(CheckpointError, match="mine: not the official file: its sha256 is"):
        pull(entry(archive=other), tmp_path / "into", source=tmp_path, accept_licence=True)
    assert names(tmp_path / "into") == []


def test_archive_without_the_file(tmp_path, archive):
    absent = Archive(archive.url, archive.sha256, "people/absent.pth")
    with pytest.raises(CheckpointError, match=r"cannot take out people/absent.pth"):
        pull(entry(archive=absent), tmp_path / "into", accept_licence=True)


@pytest.mark.parametrize("name", ["mine.pth", "below/any name"])
def test_from_a_folder(server, tmp_path, name):
    source = tmp_path / "source" / name
    source.parent.mkdir(parents=True)
    source.write_bytes(CONTENT)
    path = pull(entry(server.url("/a")), tmp_path / "into", source=tmp_path / "source", accept_licence=True)
    assert path.read_bytes() == CONTENT
    assert source.exists()
    assert server.requests == []


def test_damage_in_copying_is_noticed(tmp_path, monkeypatch):
    (tmp_path / "mine.pth").write_bytes(CONTENT)
    monkeypatch.setattr(shutil, "copyfile", lambda source, target: target.write_bytes(WRONG))
    with pytest.raises(CheckpointError, match="not the official file"):
        pull(entry(), tmp_path / "into", source=tmp_path, accept_licence=True)
    assert names(tmp_path / "into") == []


def test_from_a_folder_with_the_archive(server, tmp_path, archive):
    path = pull(entry(archive=archive), tmp_path / "into", source=tmp_path, accept_licence=True)
    assert path.read_bytes() == CONTENT
    assert server.requests == []


def test_folder_without_the_file(server, tmp_path):
    server.files["/a"] = CONTENT
    (tmp_path / "mine.pth").write_bytes(WRONG)
    with pytest.raises(CheckpointError, match=r"has no file that is checkpoint mine: mine.pth, or any other name, "):
        pull(entry(server.url("/a")), tmp_path / "into", source=tmp_path, accept_licence=True)
    assert server.requests == []


def test_other_file_of_that_name_is_left_alone(server, tmp_path):
    server.files["/a"] = CONTENT
    (tmp_path / "mine.pth").write_bytes(b"somebody's work")
    with pytest.raises(CheckpointError, match=r"mine.pth is not the official file: it has 15 bytes.*Move it away"):
        pull(entry(server.url("/a")), tmp_path, accept_licence=True)
    assert (tmp_path / "mine.pth").read_bytes() == b"somebody's work"


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="Choose another folder with --into"):
        pull(entry("http://127.0.0.1:9/a"), tmp_path / "file" / "folder", accept_licence=True)


class Slow(Server):
    """Sends the half, and the rest when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.RequestHandlerClass = SlowHandler
        self.begun, self.go_on = threading.Event(), threading.Event()


class SlowHandler(Handler):
    server: Slow

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2])
        self.server.begun.set()
        self.server.go_on.wait(30)
        self.wfile.write(CONTENT[len(CONTENT) // 2 :])


@pytest.fixture
def slow() -> Iterator[Slow]:
    with Slow() as running, serving(running):
        yield running
        running.go_on.set()


PULL = """
import sys
from pathlib import Path
from trtswap.export.checkpoints import Checkpoint
from trtswap.export.pull import pull

url, digest, into = sys.argv[1:]
print(pull(Checkpoint("mine", "mine.pth", digest, (url,), "CC0", "state_dict"), Path(into), accept_licence=True))
"""


@pytest.mark.parametrize("other", ["thread", "process"])
def test_of_two_pulls_of_one_weight_one_wins_and_the_other_says_why(slow, tmp_path, other):
    wanted, done = entry(slow.url("/a")), []
    if other == "thread":
        first = threading.Thread(target=lambda: done.append(pull(wanted, tmp_path, accept_licence=True)))
        first.start()
    else:
        first = subprocess.Popen([sys.executable, "-P", "-c", PULL, slow.url("/a"), wanted.sha256, str(tmp_path)])
    assert slow.begun.wait(60)
    with pytest.raises(BusyError, match=r"mine.pth: another thread or process is writing it at this moment"):
        pull(wanted, tmp_path, accept_licence=True)
    slow.go_on.set()
    if other == "thread":
        first.join(30)
    else:
        assert first.wait(30) == 0
    assert names(tmp_path) == ["mine.pth"]
    assert pull(wanted, tmp_path, accept_licence=True).read_bytes() == CONTENT


def test_a_pull_that_was_killed_goes_on_where_it_was(slow, tmp_path):
    wanted = entry(slow.url("/a"))
    first = subprocess.Popen([sys.executable, "-P", "-c", PULL, slow.url("/a"), wanted.sha256, str(tmp_path)])
    assert slow.begun.wait(60)
    part = tmp_path / "mine.pth.part"
    while not (part.exists() and part.stat().st_size == len(CONTENT) // 2):
        time.sleep(0.01)
    first.kill()
    first.wait(10)
    slow.RequestHandlerClass = Handler
    slow.files["/a"] = CONTENT
    assert pull(wanted, tmp_path, accept_licence=True).read_bytes() == CONTENT
    assert slow.requests == [("/a", f"bytes={len(CONTENT) // 2}-")]
    assert names(tmp_path) == ["mine.pth"]


def test_unfinished_files_of_a_checkpoint_that_is_there_are_removed(server, tmp_path):
    (tmp_path / "other name").write_bytes(CONTENT)
    (tmp_path / "mine.pth.part").write_bytes(CONTENT[:10])
    (tmp_path / "mine.pth.archive.part").write_bytes(b"zip")
    (tmp_path / "another.pth.part").write_bytes(b"another")
    pull(entry(server.url("/a")), tmp_path)
    assert names(tmp_path) == ["another.pth.part", "other name"]


def test_an_archive_whose_file_has_another_size_is_not_unpacked(tmp_path, archive):
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("people/inner.pth", bytes(100_000_000))
    other = Archive(archive.url, sha256((tmp_path / "all.zip").read_bytes()).hexdigest(), archive.member)
    with pytest.raises(CheckpointError, match=r"inner.pth has 100,000,000 bytes, expected 2,097,152"):
        pull(entry(archive=other), tmp_path / "into", source=tmp_path, accept_licence=True)
    assert names(tmp_path / "into") == []


def test_what_lies_in_a_package_comes_from_a_folder(tmp_path):
    """MediaPipe's face mesh has no address of its own."""
    with pytest.raises(
        CheckpointError, match=r"it lies in mediapipe-0\.10\.21.*\.whl, which has to be got by other means"
    ):
        pull("mediapipe_face_mesh", tmp_path, accept_licence=True)
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl").write_bytes(b"no wheel")
    with pytest.raises(CheckpointError, match=r"its sha256 is .*, expected 05dc4a9e"):
        pull("mediapipe_face_mesh", tmp_path, source=tmp_path / "wheels", accept_licence=True)
