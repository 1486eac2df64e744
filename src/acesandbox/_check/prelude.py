"""The text in front of every escape: how an attack reports, and how it reaches the kernel by number.

An attack runs in one of three positions: as a script, as a judged program, or as test code in the judge. It reports
lines `ace|KIND|WHAT|EVIDENCE`, where KIND is

    ESCAPED  it got through          held   something said no (errno, or the type of the exception)
    fault    the attack is wrong     end    attack() came to its end

A script and a program print them, each before the next trial starts, so that what was said before a death is kept.
Test code has no output of its own and raises them as the message of an AssertionError. It is written so that it runs in
the judge's clone and not, as tests of some shapes do, beside the program: most of it reaches ctypes by the back door.

Where the filter kills instead of answering, the trials behind the deadly one are tried in another run: `SKIP` says how
many to leave out, `LAST` after which one to stop.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from .. import Asserts, CheckScript
from .._tests import Tests

# x86-64, aarch64 (from the kernel's tables: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h);
# None: that machine has none.
SYSCALLS: dict[str, tuple[int | None, int | None]] = {
    "getpid": (39, 172), "clone": (56, 220), "fork": (57, None), "vfork": (58, None), "kill": (62, 129),
    "shmget": (29, 194), "shmat": (30, 196), "semget": (64, 190), "msgget": (68, 186), "msgsnd": (69, 189),
    "msgrcv": (70, 188), "ptrace": (101, 117), "syslog": (103, 116), "capget": (125, 90), "capset": (126, 91),
    "uselib": (134, None), "personality": (135, 92), "modify_ldt": (154, None), "pivot_root": (155, 41),
    "_sysctl": (156, None), "adjtimex": (159, 171), "chroot": (161, 51), "acct": (163, 89), "settimeofday": (164, 170),
    "mount": (165, 40), "umount2": (166, 39), "swapon": (167, 224), "swapoff": (168, 225), "reboot": (169, 142),
    "sethostname": (170, 161), "setdomainname": (171, 162), "iopl": (172, None), "ioperm": (173, None),
    "init_module": (175, 105), "delete_module": (176, 106), "quotactl": (179, 60), "vhangup": (153, 58),
    "lookup_dcookie": (212, 18), "clock_settime": (227, 112), "mq_open": (240, 180), "kexec_load": (246, 104),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "ioprio_set": (251, 30),
    "inotify_init1": (294, 26), "migrate_pages": (256, 238), "mbind": (237, 235), "set_mempolicy": (238, 237),
    "move_pages": (279, 239), "unshare": (272, 97), "vmsplice": (278, 75), "perf_event_open": (298, 241),
    "fanotify_init": (300, 262), "prlimit64": (302, 261), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "clock_adjtime": (305, 266), "setns": (308, 268), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "kcmp": (312, 272), "finit_module": (313, 273), "memfd_create": (319, 279),
    "kexec_file_load": (320, 294), "bpf": (321, 280), "execveat": (322, 281), "userfaultfd": (323, 282),
    "pidfd_send_signal": (424, 424), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "pidfd_open": (434, 434), "clone3": (435, 435),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "mount_setattr": (442, 442), "quotactl_fd": (443, 443),
    "memfd_secret": (447, 447), "process_mrelease": (448, 448), "statmount": (457, 457), "listmount": (458, 458),
}  # fmt: skip

_COMMON = r"""
@ctypes@
import errno, os, platform, sys
LURES = @lures@
REPORT = []
PRINTS = @prints@
SKIP, LAST, COUNT = @skip@, @last@, 0
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
NUMBERS = @numbers@
SYSTEM = LURES.get('profile') == 'system'
# Named so that a test's text does not look like one that must run in the program's process.
LIBRARY, FORK = getattr(os, '__file__'), getattr(os, 'fork')

def scratch():
    import tempfile
    return tempfile.gettempdir()

def say(kind, what, evidence=''):
    line = 'ace|%s|%s|%s' % (kind, what, str(evidence).replace('\n', ' ')[:200])
    REPORT.append(line)
    if PRINTS:
        os.write(1, ('\n' + line + '\n').encode('utf-8', 'replace'))

def trial(what, thunk):
    global COUNT
    COUNT += 1
    if not SKIP < COUNT <= LAST:
        return
    try:
        evidence = thunk()
    except OSError as e:
        say('held', what, errno.errorcode.get(e.errno, str(e)))
    except (MemoryError, ImportError, ValueError, RuntimeError, OverflowError, EOFError) as e:
        say('held', what, type(e).__name__)
    except Exception as e:
        say('fault', what, '%s: %s' % (type(e).__name__, e))
    else:
        if evidence:
            say('ESCAPED', what, evidence)
        else:
            say('held', what, 'no effect')

def call(name, *arguments):
    number = NUMBERS.get(name)
    if number is None:
        raise OSError(errno.ENOSYS, 'no such call on this machine')
    ctypes.set_errno(0)
    result = LIBC.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

def reaches(name, *arguments):
    # Anything but the filter's own answers means that the kernel has looked at the arguments.
    try:
        return 'returned %d' % call(name, *arguments)
    except OSError as e:
        if e.errno in (errno.EPERM, errno.ENOSYS, errno.EACCES):
            raise
        return 'the kernel answered ' + errno.errorcode.get(e.errno, str(e.errno))
"""

_RUN = {
    "script": "\nattack()\nsay('end', COUNT)\n",
    "program": "\ndef f(x):\n    attack()\n    say('end', COUNT)\n    return 'back again'\n",
    "tests": (
        "\ndef check(candidate):\n    assert candidate(1) == 1\n    try:\n        attack()\n        say('end', COUNT)\n"
        "    finally:\n        raise AssertionError('\\n'.join(REPORT)[:3900])\n"
    ),
}
NO_LAST = 1 << 30
BYSTANDER = "def f(x):\n    return x\n"
"""The program under test where the test code is the attacker."""

JUDGED = Asserts(["assert f(1) == 'back again'"], entry_point="f")
"""What a judged attack must pass by coming to its end."""


def whole_text(
    attack: str, position: str, lures: Mapping[str, object], skip: int = 0, last: int = NO_LAST
) -> str:
    """The text that runs in this position; `skip` trials are left out, and all behind the `last`."""
    numbers = f"{{k: v[platform.machine() == 'aarch64'] for k, v in {SYSCALLS!r}.items()}}"
    # JSON is read as Python: no true, false or null among the lures.
    common = _COMMON.replace("@lures@", json.dumps(dict(lures))).replace("@numbers@", numbers)
    common = common.replace("@prints@", str(position != "tests"))
    common = common.replace("@skip@", str(skip)).replace("@last@", str(last))
    # A test that says `import ctypes` is put into the program's process; this one is to run in the judge's.
    by_the_back = "from multiprocessing.sharedctypes import ctypes"
    common = common.replace("@ctypes@", by_the_back if position == "tests" else "import ctypes")
    return common + attack + _RUN[position]


def as_tests(attack: str, lures: Mapping[str, object], skip: int = 0, last: int = NO_LAST) -> Tests:
    """The attack as test code."""
    return CheckScript(whole_text(attack, "tests", lures, skip, last), "f")


def reports(text: str) -> list[tuple[str, str, str]]:
    """(kind, what, evidence) of every report in a program's output or a test's message."""
    found = []
    for line in text.splitlines():
        at = line.find("ace|")
        parts = line[at:].split("|", 3) if at >= 0 else []
        if len(parts) == 4 and parts[1] in ("ESCAPED", "held", "fault", "end"):
            found.append((parts[1], parts[2], parts[3]))
    return found
