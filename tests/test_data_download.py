"""Downloads, against an HTTP server on this machine that can also misbehave."""

import dataclasses
import gzip
import hashlib
import io
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hil.datasets.archive import sha256_file, sha256_folder, unpack
from hil.datasets.places import download_folder, find_data
from hil.datasets.sources import RECORD, SOURCES, Source, find_source, get_data, list_data
from hil.datasets.transfer import ATTEMPTS, Download, disk_errors, download
from hil.errors import ToolError, UsageError

FILES = {"recordings/0_ann_0.wav": b"RIFF" * 70_000, "recordings/1_ann_0.wav": b"x" * 300_000, "README.md": b"hello"}


def tar_gz(members):
    """A tar.gz of (name or TarInfo, bytes), with a folder around it as GitHub makes it."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def content_hash(files):
    names = sorted(files)
    return hashlib.sha256("".join(f"{hashlib.sha256(files[n]).hexdigest()}  {n}\n" for n in names).encode()).hexdigest()


# Random bytes do not compress: the archive has many chunks.
FILES["recordings/2_ann_0.wav"] = b"".join(hashlib.sha256(bytes([i % 256, i // 256])).digest() for i in range(40_000))
ARCHIVE = tar_gz([("set-1/", b""), ("set-1/skipped.py", b"1"), *((f"set-1/{n}", c) for n, c in FILES.items())])


class Server(ThreadingHTTPServer):
    """
    Serves ``body``.

    ``cut_after``: bytes that each connection gets, one entry per connection, then no more cuts.
    ``statuses``: answered first, one entry per connection.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.etag, self.ranges, self.chunked = ARCHIVE, '"v1"', True, False
        self.cut_after, self.statuses, self.redirect, self.seen = [], [], None, []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/set.tar.gz"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.seen.append(asked)
        if server.statuses:
            return self.answer(server.statuses.pop(0), b"")
        if server.redirect:
            return self.answer(302, b"", Location=server.redirect)
        start = 0
        if asked and server.ranges and self.headers.get("If-Range") == server.etag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(server.body):
                return self.answer(416, b"")
        extra = {"ETag": server.etag} if server.etag else {}
        if start:
            extra["Content-Range"] = f"bytes {start}-{len(server.body) - 1}/{len(server.body)}"
        return self.answer(206 if start else 200, server.body[start:], **extra)

    def answer(self, status, body, **headers):
        self.send_response(status)
        chunked = self.server.chunked and status == 200
        for name, value in headers.items():
            self.send_header(name, value)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        sent = body[: self.server.cut_after.pop(0)] if status in (200, 206) and self.server.cut_after else body
        if chunked and sent:
            self.wfile.write(f"{len(sent):x}\r\n".encode() + sent + b"\r\n")
        elif sent:
            self.wfile.write(sent)
        if chunked and len(sent) == len(body):
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HIL_DATA", raising=False)
    return tmp_path / "cache" / "data"


def source(server, **change):
    """As GitHub's: the hash is over the contents."""
    plain = Source(
        name="fsdd",
        title="test",
        licence="none",
        url=server.url,
        archive_bytes=None,
        archive_sha256=None,
        content_sha256=content_hash(FILES),
        unpacked_bytes=sum(map(len, FILES.values())),
        strip=1,
        keep=("README.md", "recordings/*.wav"),
    )
    return dataclasses.replace(plain, **change)


def published(server, **change):
    """As Google's: length and hash of the archive are known."""
    hashed = hashlib.sha256(server.body).hexdigest()
    return source(server, archive_bytes=len(server.body), archive_sha256=hashed, content_sha256=None, **change)


def left(cache):
    """Names in the cache besides the lock."""
    return sorted(path.name for path in cache.iterdir() if not path.name.endswith(".lock"))


def test_a_data_set_is_downloaded_verified_and_unpacked(server, cache):
    """Only the files wanted, without the archive's outer folder; the archive is gone, a record stays."""
    steps = []
    folder = get_data(source(server), lambda *step: steps.append(step))
    assert folder == cache / "fsdd" == find_data("fsdd")
    assert {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*") if p.name != RECORD} == FILES
    record = json.loads((folder / RECORD).read_text())
    assert record == {
        "url": server.url,
        "archive_sha256": hashlib.sha256(ARCHIVE).hexdigest(),
        "content_sha256": content_hash(FILES),
    }
    assert left(cache) == ["fsdd"]
    assert [s for s in steps if s[0] == "download"][-1] == ("download", len(ARCHIVE), len(ARCHIVE))
    assert ("verify", len(ARCHIVE), len(ARCHIVE)) in steps
    assert {s[0] for s in steps} == {"download", "verify", "unpack"}
    assert all(0 <= done <= total for _, done, total in steps)


def test_what_is_there_is_not_downloaded_again(server):
    """One request in all."""
    assert get_data(source(server)) == get_data(source(server))
    assert len(server.seen) == 1


@pytest.mark.parametrize("kind", [source, published])
def test_a_cut_connection_is_continued_where_it_ended(server, kind):
    """Two cuts: the second and third request ask for the rest only."""
    server.cut_after = [400_000, 300_000]
    folder = get_data(kind(server), pause_s=0)
    assert server.seen == [None, "bytes=400000-", "bytes=700000-"]
    assert (folder / "recordings/2_ann_0.wav").read_bytes() == FILES["recordings/2_ann_0.wav"]


def test_a_later_call_continues_an_earlier_one(server, cache):
    """After five connections without a byte it gives up; what was received before stays."""
    server.cut_after = [400_000] + [0] * ATTEMPTS
    with pytest.raises(ToolError, match=r"connection was cut after 400000 of \d+ bytes, 5 times in a row.*continues"):
        get_data(source(server), pause_s=0)
    assert (cache / "fsdd.tar.gz.part").stat().st_size == 400_000
    get_data(source(server), pause_s=0)
    assert server.seen[-1] == "bytes=400000-"
    assert left(cache) == ["fsdd"]


def test_a_cut_in_a_body_of_unknown_length_is_noticed(server):
    """GitHub sends chunks without a length; the last one is missing."""
    server.chunked = True
    server.cut_after = [500_000]
    get_data(source(server), pause_s=0)
    assert len(server.seen) == 2


@pytest.mark.parametrize("change", [{"etag": '"v2"'}, {"ranges": False}])
def test_another_version_or_no_ranges_start_again(server, change):
    """Never two versions in one file."""
    server.cut_after = [400_000] + [0] * ATTEMPTS
    with pytest.raises(ToolError):
        get_data(source(server), pause_s=0)
    for name, value in change.items():
        setattr(server, name, value)
    server.seen.clear()
    get_data(source(server), pause_s=0)
    assert server.seen == ["bytes=400000-"]


def test_without_a_version_nothing_is_continued(server):
    """A server without ETag gets no Range."""
    server.etag = ""
    server.cut_after = [400_000]
    get_data(source(server), pause_s=0)
    assert server.seen == [None, None]


def test_a_part_that_is_too_long_is_dropped(server, cache):
    """The server answers 416."""
    cache.mkdir(parents=True)
    (cache / "fsdd.tar.gz.part").write_bytes(b"x" * (len(ARCHIVE) + 1))
    (cache / "fsdd.tar.gz.version").write_text('"v1"')
    get_data(source(server), pause_s=0)
    assert server.seen == [f"bytes={len(ARCHIVE) + 1}-", None]


def test_a_wrong_hash_is_refused_and_nothing_stays(server, cache):
    """Of the archive, with both hashes in the message; the next call starts afresh."""
    good = published(server)
    server.body = bytes([ARCHIVE[0] ^ 1]) + ARCHIVE[1:]
    got = hashlib.sha256(server.body).hexdigest()
    with pytest.raises(ToolError, match=rf"expected SHA-256 {good.archive_sha256}, got {got}"):
        get_data(good)
    assert left(cache) == []
    server.body = ARCHIVE
    get_data(good)
    assert left(cache) == ["fsdd"]


def test_wrong_contents_are_refused_and_nothing_stays(server, cache):
    """One byte of one file, in an archive that is whole."""
    wanted = source(server)
    changed = FILES | {"README.md": b"hallo"}
    server.body = tar_gz([(f"set-1/{n}", c) for n, c in changed.items()])
    with pytest.raises(ToolError, match=rf"SHA-256 {content_hash(changed)}, expected {wanted.content_sha256}"):
        get_data(wanted)
    assert left(cache) == []


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_of_another_length_is_refused_before_it_is_received(server, cache, change):
    """One byte short, one too long."""
    wrong = dataclasses.replace(published(server), archive_bytes=len(ARCHIVE) + change)
    with pytest.raises(ToolError, match=rf"has {len(ARCHIVE)} bytes, the publisher's file has {len(ARCHIVE) + change}"):
        get_data(wrong)
    assert left(cache) == []


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refusal_is_final_and_says_what_to_do(server, status):
    """One request, and the way around."""
    server.statuses = [status]
    with pytest.raises(ToolError, match=rf"answers {status} .*HIL_DATA"):
        get_data(source(server))
    assert len(server.seen) == 1


def test_a_busy_server_is_asked_again(server):
    """503 and 429 pass."""
    server.statuses = [503, 429]
    get_data(source(server), pause_s=0)
    assert len(server.seen) == 3


def test_no_server_is_a_clear_error(server):
    """After the last try, with the reason."""
    server.shutdown()
    server.server_close()
    with pytest.raises(ToolError, match=r"refused.*5 times in a row. Check the network"):
        get_data(source(server), pause_s=0)


def test_a_redirect_is_followed_but_never_away_from_https(server, tmp_path):
    """http to http is; https to http is not, before a byte is asked for."""
    with Server() as other:
        thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        server.redirect = other.url
        assert download(Download(server.url, tmp_path / "a")).read_bytes() == ARCHIVE
        other.shutdown()
        thread.join()
    from urllib.request import Request

    from hil.datasets.transfer import _SafeRedirects

    with pytest.raises(ToolError, match="is not https: not followed"):
        _SafeRedirects().redirect_request(Request("https://a.example/x"), None, 302, "", {}, "http://a.example/x")


def test_too_small_a_disk_is_refused_before_the_download(server, cache):
    """One byte short of archive and files; with that byte it works."""
    wanted = published(server)
    needed = len(ARCHIVE) + wanted.unpacked_bytes
    with pytest.raises(UsageError, match=r"fsdd needs 3 MB until it is unpacked, 3 MB are free.*HIL_CACHE"):
        get_data(wanted, free_bytes=lambda folder: needed - 1)
    assert server.seen == []
    get_data(wanted, free_bytes=lambda folder: needed)


def test_a_disk_that_fills_up_is_said_in_words(tmp_path):
    """/dev/full answers as a full disk does; other errors pass."""
    with pytest.raises(UsageError, match="the disk is full"), disk_errors(tmp_path), open("/dev/full", "wb") as file:
        file.write(b"x")
    with pytest.raises(FileNotFoundError), disk_errors(tmp_path):
        (tmp_path / "nothing").read_bytes()


def test_a_folder_in_the_way_is_not_touched(server, cache):
    """Somebody's own, or of another version."""
    (cache / "fsdd").mkdir(parents=True)
    (cache / "fsdd" / "mine").write_text("x")
    with pytest.raises(UsageError, match="is in the way"):
        get_data(source(server))
    (cache / "fsdd" / RECORD).write_text('{"url": "elsewhere"}')
    with pytest.raises(UsageError, match="is in the way"):
        get_data(source(server))
    assert (cache / "fsdd" / "mine").read_text() == "x"
    assert server.seen == []


def test_two_downloads_of_one_data_set_do_not_mix(server):
    """The second one is refused while the first runs."""
    refused = []

    def second(*_):
        if not refused:
            with pytest.raises(UsageError, match="is being downloaded by another process"):
                get_data(source(server))
            refused.append(True)

    get_data(source(server), second)
    assert refused


def test_an_interrupted_download_leaves_no_half_data_set(server, cache):
    """Ctrl-C while unpacking: the archive stays, and the next call needs no network."""

    def interrupt(step, done, total):
        if step == "unpack":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get_data(source(server), interrupt)
    assert left(cache) == ["fsdd.tar.gz"]
    get_data(source(server))
    assert len(server.seen) == 1
    assert left(cache) == ["fsdd"]


def link(name, target, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("member", "why"),
    [
        ("../evil.wav", "outside of its folder"),
        ("set-1/../../evil.wav", "outside of its folder"),
        ("/tmp/evil.wav", "outside of its folder"),
        ("set-1\\..\\evil.wav", "outside of its folder"),
        ("C:evil.wav", "outside of its folder"),
        (link("set-1/a.wav", "/etc/passwd", tarfile.SYMTYPE), "a link or a device"),
        (link("set-1/a.wav", "../../x", tarfile.LNKTYPE), "a link or a device"),
        (link("set-1/a.wav", "", tarfile.CHRTYPE), "a link or a device"),
    ],
)
def test_an_archive_that_reaches_out_of_its_folder_is_refused_whole(tmp_path, member, why):
    """Also the members before it are gone."""
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(tar_gz([("set-1/good.wav", b"good"), (member, b"")]))
    with pytest.raises(ToolError, match=why):
        unpack(archive, tmp_path / "out", strip=1, keep=("*",), most_bytes=100)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar.gz"]


def test_an_archive_that_grows_too_large_is_refused(tmp_path):
    """The limit is allowed, one byte more is not."""
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(tar_gz([("a", b"x" * 60), ("b", b"x" * 40)]))
    unpack(archive, tmp_path / "out", strip=0, keep=("*",), most_bytes=100)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a", "b"]
    with pytest.raises(ToolError, match="more than 99 bytes"):
        unpack(archive, tmp_path / "other", strip=0, keep=("*",), most_bytes=99)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("damage", [lambda a: a[: len(a) // 2], lambda a: b"no archive", lambda a: a[:50] + a[60:]])
def test_a_damaged_archive_is_refused(tmp_path, damage):
    """Short, something else, bytes missing inside."""
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(damage(ARCHIVE))
    with pytest.raises(ToolError, match="is damaged, or is no tar archive"):
        unpack(archive, tmp_path / "out", strip=1, keep=("*",), most_bytes=1 << 30)
    assert not (tmp_path / "out").exists()


def test_the_folder_hash_is_that_of_sha256sum(tmp_path):
    """Sorted by the bytes of the paths; a file more, less or renamed changes it."""
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert sha256_folder(tmp_path) == content_hash(FILES)
    assert sha256_file(tmp_path / "README.md") == hashlib.sha256(b"hello").hexdigest()
    (tmp_path / "README.md").rename(tmp_path / "README")
    assert sha256_folder(tmp_path) != content_hash(FILES)


def test_the_publishers_addresses_are_https_and_every_source_has_a_hash():
    """64 hexadecimal digits, of the archive or of the contents; a name of another spelling finds it."""
    assert list(SOURCES) == ["speech_commands", "fsdd", "esc10", "ptb"]
    for item in SOURCES.values():
        assert item.url.startswith("https://")
        assert len(bytes.fromhex(item.archive_sha256 or item.content_sha256)) == 32
        assert item.unpacked_bytes > 5e6
    assert find_source("speech-commands") is SOURCES["speech_commands"]
    with pytest.raises(UsageError, match="only speech_commands, fsdd, esc10, ptb; did you mean 'fsdd'"):
        find_source("fsd")
    with pytest.raises(ValueError, match="needs a hash"):
        dataclasses.replace(SOURCES["fsdd"], content_sha256=None)


def test_the_list_says_where_each_data_set_lies(server, tmp_path, monkeypatch):
    """In HIL_DATA, in the cache, or nowhere."""
    (tmp_path / "own" / "esc10").mkdir(parents=True)
    monkeypatch.setenv("HIL_DATA", str(tmp_path / "own"))
    get_data(source(server))
    assert {item.source.name: item.place for item in list_data()} == {
        "speech_commands": None,
        "fsdd": download_folder() / "fsdd",
        "esc10": tmp_path / "own" / "esc10",
        "ptb": None,
    }


def test_a_cache_that_cannot_be_made_is_a_clear_error(server, tmp_path, monkeypatch):
    """A file is where the folder should be."""
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("HIL_CACHE", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="cannot be made"):
        get_data(source(server))
