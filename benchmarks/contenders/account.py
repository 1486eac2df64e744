"""Runs a command and writes down the processor time of it and of everything it started.

    account.py FILE COMMAND...

Wrappers such as bubblewrap end without reaping what they started, and its time would be lost: so this process makes
itself the subreaper of the tree and waits until nothing is left of it. FILE receives user + system seconds as text.
"""

import ctypes
import os
import sys

PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>


def main():
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    first = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
    status = 1
    while True:
        try:
            pid, raw = os.wait()
        except ChildProcessError:
            break
        if pid == first:
            status = os.waitstatus_to_exitcode(raw)
    spent = os.times()
    with open(sys.argv[1], "w", encoding="ascii") as file:
        file.write(repr(spent.children_user + spent.children_system))
    sys.exit(status if status >= 0 else 128 - status)


main()
