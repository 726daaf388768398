"""What a client's file is written with: a case, and what is expected of a command."""

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import tempfile
import termios
import time

CASES = []
# A machine that is emulated, or has other things to do.
SLOWNESS = float(os.environ.get("SPEC_TESTS_SLOWNESS", "1"))


class Failure(Exception):
    pass


class Skip(Exception):
    pass


def case(*needs):
    """The function is a case, by its name; it needs what place.py's FACTS name."""
    def add(function):
        CASES.append((function.__name__.replace("_", "-"), needs, function))
        return function
    return add


def call(command, status=0, seconds=60):
    """What a line of bash prints, once it has ended with the status (None: with any)."""
    # A file: who is left in the background with a pipe of ours would hold us.
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(["bash", "-c", command], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                   start_new_session=True)
        try:
            ended = process.wait(seconds * SLOWNESS)
        except subprocess.TimeoutExpired:
            ended = "none in time"
        try:
            os.killpg(process.pid, signal.SIGKILL)  # and what the line has left in the background
        except ProcessLookupError:
            pass
        process.wait()
        output.seek(0)
        text = output.read().replace("\r", "").rstrip("\n")
    if status is not None and ended != status:
        raise Failure(f"{command}\nexit status {ended}, expected {status}\n{text}")
    return text


def says_at_a_terminal(command, *patterns, rows=24, columns=80, seconds=30):
    """The same for a command that runs in a terminal, at which nobody types."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen(["bash", "-c", command], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
                               preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    os.close(theirs)
    text, end = b"", time.monotonic() + seconds * SLOWNESS
    while select.select([ours], [], [], max(0, end - time.monotonic()))[0]:
        try:
            text += os.read(ours, 4096)
        except OSError:
            break  # nobody has it open any more
    process.kill()
    status = process.wait()
    os.close(ours)
    text = text.decode(errors="replace").replace("\r", "")
    expect(command, patterns, text, f"exit status {status}")


def says(command, *patterns, status=0, seconds=60):
    """The command's output matches each of the patterns."""
    text = call(command, status, seconds)
    expect(command, patterns, text)
    return text


def expect(command, patterns, text, remark=""):
    for pattern in patterns:
        if not re.search(pattern, text, re.M):
            raise Failure(f"{command}\nexpected /{pattern}/ in\n{text}\n{remark}")


def silent_about(command, pattern, status=0):
    """The pattern is nowhere in the command's output."""
    text = call(command, status)
    if re.search(pattern, text, re.M):
        raise Failure(f"{command}\ndid not expect /{pattern}/ in\n{text}")


def becomes(command, pattern, seconds=20):
    """Sooner or later the command's output matches."""
    end = time.monotonic() + seconds * SLOWNESS
    while not re.search(pattern, text := call(command, None), re.M):
        if time.monotonic() > end:
            raise Failure(f"{command}\nexpected /{pattern}/ sooner or later, last seen\n{text}")
        time.sleep(0.1)
    return text


def is_equal(found, expected, what):
    if found != expected:
        raise Failure(f"{what}: {found!r}, expected {expected!r}")
