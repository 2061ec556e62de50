"""pyOCD's own command line and gdb, unchanged and in their own processes, on emulated boards."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from probe_support import SERIALS, Debugger, compile_program, environment, pyocd

from hil.chips import CHIPS
from hil.errors import RigError, UsageError
from hil.probe import BoardPlan, announcements, find
from hil.probe.client import Busy, ProbeClient
from hil.probe.folder import FOLDER_VARIABLE, Registration, probe_folder
from hil.probe.process import BoardProcess

DOCUMENT = Path(__file__).parents[1] / "docs" / "debug.md"
A1, A2, A3 = SERIALS


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the program, and a folder of probes for this module alone."""
    folder = tmp_path_factory.mktemp("p")
    before = os.environ.get(FOLDER_VARIABLE)
    os.environ[FOLDER_VARIABLE] = str(folder / "probes")
    (folder / "project").mkdir()
    shutil.copy(compile_program(folder), folder / "project" / "program.elf")
    yield folder
    os.environ.pop(FOLDER_VARIABLE)
    if before is not None:
        os.environ[FOLDER_VARIABLE] = before


@pytest.fixture(scope="module")
def boards(place):
    """Two boards, each in a process of its own."""
    with BoardProcess(BoardPlan(serial=A1)) as one, BoardProcess(BoardPlan("atsamd21e17a", A2)) as two:
        yield one, two


def transcript(prompt):
    """The document's session with this prompt: commands, and what each answers."""
    text = DOCUMENT.read_text(encoding="utf-8")
    blocks = re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    (block,) = [b for b in blocks if b.startswith(f"    {prompt}")]
    session = []
    for line in block.splitlines():
        line = line[4:]
        if line.startswith(prompt):
            session.append((line.removeprefix(prompt), []))
        else:
            session[-1][1].append(line)
    return [(command, "\n".join(expected)) for command, expected in session]


def plain(text):
    """Without what differs from run to run: times, speeds, terminals, folders, addresses of code."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = re.sub(r"^\d{7} (?=[A-Z] )", "", text, flags=re.MULTILINE)
    text = re.sub(r"[\d.]+ kB/s", "N kB/s", text)
    text = re.sub(r"/dev/pts/\d+", "/dev/pts/N", text)
    text = re.sub(r"(/[\w.-]+)+/(program\.elf)", r"\2", text)
    text = re.sub(r"^\[[-=|]+\]$|^-+$", "", text, flags=re.MULTILINE)
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip())


def test_pyocds_command_line_does_what_the_document_shows(place, boards):
    """Lists both boards, flashes, reads and writes, erases and resets: the session of docs/debug.md."""
    session = transcript("$ ")
    assert len(session) >= 6
    for command, expected in session:
        words = shlex.split(command)
        assert words[0] == "pyocd"
        done = pyocd(place, *words[1:])
        assert done.returncode == 0, done.stderr
        assert plain(done.stdout + "\n" + done.stderr) == expected, command


@pytest.fixture
def gdb_port(place, boards):
    """A gdbserver on the first board."""
    if not shutil.which("gdb-multiarch"):
        pytest.skip("gdb-multiarch is not on PATH")
    assert pyocd(place, "flash", "-q", "--uid", A1, "program.elf").returncode == 0
    server = subprocess.Popen(
        [sys.executable, "-m", "pyocd", "gdbserver", "-W", "--uid", A1, "-p", "0", "-T", "0"],
        cwd=place / "project",
        env=environment(place),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in server.stderr:
        if found := re.search(r"GDB server listening on port (\d+)", line):
            yield found[1]
            break
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    server.stderr.close()


def test_gdb_does_what_the_document_shows(place, gdb_port):
    """Breaks at main, steps, reads variables, watches one, breaks in an interrupt, meets a BKPT: docs/debug.md."""
    session = transcript("(gdb) ")
    lines = ["set confirm off", "set pagination off", "set style enabled off", "set width 0"]
    for number, (command, _) in enumerate(session):
        lines += [f"echo @@{number}\\n", command.replace(":PORT", f":{gdb_port}")]
    (place / "project" / "session.gdb").write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        ["gdb-multiarch", "-q", "-nx", "-batch", "-x", "session.gdb", "program.elf"],
        cwd=place / "project",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    answers = re.split(r"^@@\d+\n", done.stdout, flags=re.MULTILINE)[1:]
    assert len(answers) == len(session), done.stdout
    for (command, expected), answer in zip(session, answers, strict=True):
        if command.startswith("target remote"):
            continue  # wherever the core was
        got = re.sub(r"0x[0-9a-f]+(?= in | *: file|:)", "0x…", plain(answer))
        assert got == expected, command


def test_pyocd_knows_every_chip(place):
    """The targets that this package brings, whatever probe is attached."""
    code = "import pyocd.probe.aggregator; from pyocd.target import TARGET; print(*TARGET)"
    run = subprocess.run([sys.executable, "-c", code], env=environment(place), capture_output=True, text=True)
    assert set(CHIPS) <= set(run.stdout.split())


def test_a_damaged_plug_in_does_not_break_pyocd(place, tmp_path):
    """pyOCD lists its own targets and says what is missing."""
    stub = tmp_path / "hil"
    shutil.copytree(Path(sys.modules["hil"].__file__).parent, stub, ignore=shutil.ignore_patterns("_resources", "*.so"))
    (stub / "probe" / "algorithm.py").write_text("raise RuntimeError('damaged')\n")
    env = environment(place)
    env["PYTHONPATH"] = os.pathsep.join([str(tmp_path), env["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-m", "pyocd", "list"], cwd=place / "project", env=env, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "damaged" in done.stderr
    assert "No available debug probes" in done.stdout


def test_one_debugger_at_a_time(place, boards):
    """The second is told that the first is there; when the first has gone the next one gets in."""
    with Debugger(A2), pytest.raises(Busy, match="in use"):
        ProbeClient(find(A2))
    with Debugger(A2), ProbeClientClosing(find(A2)) as asking:
        assert asking.tell(what="state")["powered"]
    with Debugger(A2) as next_one:
        assert next_one.read(0xE000ED00) == 0x410CC601


class ProbeClientClosing(ProbeClient):
    """A connection without the port, as a context manager."""

    def __init__(self, found):
        super().__init__(found, port=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def test_boards_are_told_apart(boards):
    """Each has its own memory, chip and serial number."""
    with Debugger(A1) as one, Debugger(A2) as two:
        one.write(0x20000000, 1)
        two.write(0x20000000, 2)
        assert (one.read(0x20000000), two.read(0x20000000)) == (1, 2)
        assert one.read(0x41002118) != two.read(0x41002118)
        assert (one.read(0x0080A048), two.read(0x0080A048)) == (0xA1, 0xA2)


def test_an_id_is_taken_once(boards):
    """A second board of the same serial number does not start, and the first is not disturbed."""
    with pytest.raises(RigError, match="running already"):
        BoardProcess(BoardPlan(serial=A1))
    assert find(A1).pid == boards[0].announcement.pid


@pytest.mark.parametrize("uid", ["abc", "x" * 41, "Upper", "dot.dot", "a/b/c", ""])
def test_only_plain_names_are_ids(boards, uid):
    """They name files."""
    with pytest.raises(UsageError, match="expected 4 to 40"):
        Registration(uid)


def test_what_a_killed_board_leaves_is_removed(place):
    """Killed without a chance to clean up: no longer listed, its files gone, its id free."""
    board = BoardProcess(BoardPlan(serial=A3))
    assert find(A3)
    board._child.kill()
    assert find(A3) is None
    assert not list(probe_folder().glob(f"{A3}.json")) + list(probe_folder().glob(f"{A3}.sock"))
    with BoardProcess(BoardPlan(serial=A3)):
        assert find(A3)


def test_a_board_ends_with_its_owner(place):
    """The owner's end closes the board's stdin; nothing remains of it."""
    code = (
        "import os; from hil.probe import BoardPlan; from hil.probe.process import BoardProcess; "
        f"BoardProcess(BoardPlan(serial={A3!r})); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(place), check=True, timeout=60)
    deadline = time.monotonic() + 5
    while find(A3) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert find(A3) is None


def test_a_debugger_of_a_board_that_ends_is_told(place):
    """Not left waiting."""
    board = BoardProcess(BoardPlan(serial=A3))
    debugger = Debugger(A3)
    board.close()
    with pytest.raises(Exception, match=r"hung up|broke"):
        debugger.read(0)
    debugger.client.close()


def test_the_folder_is_private(tmp_path, monkeypatch):
    """One that others can write to is refused; a new one is nobody else's."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "new"))
    assert probe_folder().stat().st_mode & 0o777 == 0o700
    (tmp_path / "new").chmod(0o777)
    with pytest.raises(UsageError, match="nobody else can write"):
        probe_folder()
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / ("long" * 40)))
    with pytest.raises(UsageError, match="too long"):
        Registration("abcd")


def test_only_the_owner_can_connect(boards):
    """The socket's own permissions, besides the folder's."""
    assert Path(boards[0].announcement.socket).stat().st_mode & 0o077 == 0
    assert {found.uid for found in announcements()} >= {A1, A2}
