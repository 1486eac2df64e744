"""A fresh interpreter per program: bare, or inside bubblewrap or nsjail.

    exec_each.py WRAPPER ROWS WARM WORKERS SECONDS RESULTS      WRAPPER: none, bubblewrap, nsjail

The wrappers are set up as their manuals advise for running a script: all namespaces new, no network, a read-only view
of the system's libraries and the interpreter, a private /tmp, no capabilities.
"""

import marshal
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import protocol

# The interpreter reads the row from standard input and answers on what was its standard output.
DRIVER = """
import marshal, os, sys
program, tests, seconds = marshal.load(sys.stdin.buffer)
out = os.dup(1)
null = os.open('/dev/null', os.O_RDWR)
os.dup2(null, 0)
os.dup2(null, 1)
"""


def driver():
    with open(
        os.path.join(os.path.dirname(os.path.abspath(__file__)), "guarded.py"), encoding="utf-8"
    ) as file:
        shared = file.read()
    return shared + DRIVER + "judge(program, tests, lambda byte: os.write(out, byte), seconds)\nos._exit(0)\n"


def command(wrapper):
    python = os.path.realpath(sys.executable)
    interpreter = [python, "-I", "-S", "-B", "-c", driver()]
    folders = ["/usr", "/lib", "/lib64", "/bin"]
    if not os.path.realpath(sys.base_prefix).startswith("/usr"):
        folders.append(os.path.realpath(sys.base_prefix))
    folders = [folder for folder in folders if os.path.exists(folder)]
    if wrapper == "none":
        return interpreter
    if wrapper == "bubblewrap":
        binds = [word for folder in folders for word in ("--ro-bind", folder, folder)]
        return [
            shutil.which("bwrap"),
            *("--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"),
            *binds,
            *("--dev", "/dev", "--tmpfs", "/tmp", "--chdir", "/tmp", "--"),
            *interpreter,
        ]
    if wrapper == "nsjail":
        binds = [word for folder in folders for word in ("--bindmount_ro", folder)]
        return [
            shutil.which("nsjail"),
            *("--mode", "o", "--really_quiet", "--disable_proc", "--time_limit", "0", "--rlimit_as", "4096"),
            *binds,
            *("--bindmount", "/dev/null", "--tmpfsmount", "/tmp", "--cwd", "/tmp", "--"),
            *interpreter,
        ]
    raise SystemExit(f"unknown wrapper {wrapper}")


def main():
    words = command(sys.argv.pop(1))

    def judge_one(program, tests, seconds):
        try:
            done = subprocess.run(
                words,
                input=marshal.dumps((program, tests, seconds)),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=(seconds + 1) * (len(tests) + 1),
            )
            results = done.stdout
        except subprocess.TimeoutExpired as late:
            results = late.stdout or b""
        return results.ljust(len(tests), b"-")

    protocol.quiet()
    protocol.serve(judge_one)


main()
