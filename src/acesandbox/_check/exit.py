"""Exit attacks: end before the test can fail, and hope that silence counts as success.

A judge that asks for the exit status takes `sys.exit(0)` for a pass; one that reads a shared array takes whatever was
written before the process went away. Here a test that did not finish is not passed, whoever ended it and however.
"""

from __future__ import annotations

from .records import EVERYDAY, EXIT, STDIO, Forgery

_NO_ANSWER = "a process that dies proves nothing to any judge; here it must also leave the worker unharmed"

ATTACKS = (
    Forgery(
        "sys_exit_at_load",
        EXIT,
        "sys.exit(0) while the module loads",
        "import sys\nsys.exit(0)\n",
        EVERYDAY,
        ("exit_code",),
    ),
    Forgery(
        "sys_exit_in_call",
        EXIT,
        "sys.exit(0) inside the function under test",
        "import sys\ndef f(x):\n    sys.exit(0)\n",
        EVERYDAY,
        ("exit_code",),
    ),
    Forgery(
        "os_exit",
        EXIT,
        "os._exit(0), which runs no handler",
        "import os\ndef f(x):\n    os._exit(0)\n",
        EVERYDAY,
        ("exit_code",),
    ),
    Forgery(
        "posix_exit",
        EXIT,
        "posix._exit(0), for judges that only patch the name in os",
        "import posix\ndef f(x):\n    posix._exit(0)\n",
        EVERYDAY,
        ("exit_code",),
    ),
    Forgery(
        "os_exit_at_load",
        EXIT,
        "os._exit(0) while the module loads",
        "import os\nos._exit(0)\n",
        EVERYDAY,
        ("exit_code",),
    ),
    Forgery(
        "quit",
        EXIT,
        "quit(), and exit() where site did not define it",
        "def f(x):\n    try:\n        quit()\n    except NameError:\n        raise SystemExit(0)\n",
        EVERYDAY,
        ("exit_code",),
    ),
    Forgery(
        "libc_exit",
        EXIT,
        "the C library's exit(0), behind the interpreter's back",
        "import ctypes\ndef f(x):\n    ctypes.CDLL(None).exit(0)\n",
        EVERYDAY,
        ("exit_code",),
    ),
    Forgery(
        "exit_group",
        EXIT,
        "the system call exit_group(0) itself",
        "import ctypes, platform\n"
        "def f(x):\n    ctypes.CDLL(None).syscall({'x86_64': 231, 'aarch64': 94}[platform.machine()], 0)\n",
        EVERYDAY,
        ("exit_code",),
    ),
    Forgery(
        "exit_from_thread",
        EXIT,
        "os._exit(0) from a second thread while the test waits",
        "import os, threading, time\n"
        "def f(x):\n    threading.Timer(0.05, os._exit, (0,)).start()\n    time.sleep(0.5)\n",
        EVERYDAY,
        ("exit_code",),
    ),
    Forgery(
        "exit_ends_the_whole_list",
        EXIT,
        "answer nothing, then exit at the last call, so that no later test can be counted",
        "import os\ndef f(x):\n    if x == 3:\n        os._exit(0)\n    raise SystemExit(0)\n",
        EVERYDAY,
        ("exit_code",),
    ),
    Forgery(
        "atexit_changes_the_status",
        EXIT,
        "let the assertion fail, then end with status 0 from an atexit handler",
        "import atexit, os\natexit.register(os._exit, 0)\ndef f(x):\n    return None\n",
        EVERYDAY,
        ("exit_code",),
    ),
    Forgery(
        "excepthook_changes_the_status",
        EXIT,
        "let the assertion fail, and end with status 0 from sys.excepthook",
        "import os, sys\nsys.excepthook = lambda *_: os._exit(0)\ndef f(x):\n    return None\n",
        EVERYDAY,
        ("exit_code",),
    ),
    Forgery(
        "destructor_exits",
        EXIT,
        "os._exit(0) from the destructor of the returned object, between the call and the comparison",
        "import os\nclass Bomb:\n    def __del__(self):\n        os._exit(0)\n"
        "def f(x):\n    b = Bomb()\n    del b\n    return ''\n",
        EVERYDAY,
        ("exit_code",),
    ),
    Forgery(
        "exit_when_compared",
        EXIT,
        "return an object whose comparison ends the process",
        "import os\nclass Quitter(str):\n    def __eq__(self, other):\n        os._exit(0)\n"
        "    __ne__ = __eq__\n    __hash__ = str.__hash__\ndef f(x):\n    return Quitter()\n",
        EVERYDAY,
        ("exit_code",),
    ),
    Forgery(
        "exec_another_program",
        EXIT,
        "become another program, which ends with status 0",
        "import os, sys\ndef f(x):\n    for path in ('/bin/true', '/usr/bin/true', sys.executable):\n        try:\n"
        "            os.execv(path, [path, '-c', 'pass'])\n        except OSError:\n            pass\n",
        EVERYDAY,
        ("exit_code",),
    ),
    Forgery(
        "exec_a_printing_program",
        EXIT,
        "become another program that prints the word of success on every descriptor it kept",
        "import os, sys\n"
        "CODE = 'import os\\nfor fd in range(1, 256):\\n try:\\n  os.write(fd, b\"PASSED\")\\n except OSError:\\n  pass'\n"
        "SHELL = 'for fd in 1 2 3 4 5 6 7 8 9; do echo PASSED >&$fd; done 2>/dev/null; exit 0'\n"
        "def f(x):\n    for fd in range(3, 256):\n        try:\n            os.set_inheritable(fd, True)\n"
        "        except OSError:\n            pass\n"
        "    for path, text in ((sys.executable, CODE), ('/bin/sh', SHELL), ('/usr/bin/python3', CODE)):\n        try:\n"
        "            os.execv(path, [path, '-c', text])\n        except OSError:\n            pass\n",
        EVERYDAY,
        ("exit_code", "printed"),
    ),
    Forgery(
        "kill_self",
        EXIT,
        "SIGKILL to itself",
        "import os, signal\ndef f(x):\n    os.kill(os.getpid(), signal.SIGKILL)\n",
        EVERYDAY,
        not_plain=_NO_ANSWER,
    ),
    Forgery(
        "stop_self",
        EXIT,
        "SIGSTOP to itself: never ends, never uses CPU time",
        "import os, signal\ndef f(x):\n    os.kill(os.getpid(), signal.SIGSTOP)\n",
        EVERYDAY,
        not_plain=_NO_ANSWER,
    ),
    Forgery(
        "abort",
        EXIT,
        "os.abort(), which should also leave no core",
        "import os\ndef f(x):\n    os.abort()\n",
        EVERYDAY,
        not_plain=_NO_ANSWER,
    ),
    Forgery(
        "alarm",
        EXIT,
        "die of SIGALRM",
        "import signal, time\ndef f(x):\n    signal.setitimer(signal.ITIMER_REAL, 0.01)\n    time.sleep(0.5)\n",
        EVERYDAY,
        not_plain=_NO_ANSWER,
    ),
    Forgery(
        "every_signal",
        EXIT,
        "send itself every signal there is, in turn",
        "import os, signal\ndef f(x):\n    for number in range(1, signal.NSIG):\n"
        "        if number not in (signal.SIGKILL, signal.SIGSTOP):\n"
        "            try:\n                os.kill(os.getpid(), number)\n            except OSError:\n                pass\n",
        EVERYDAY,
        not_plain=_NO_ANSWER,
    ),
    Forgery(
        "cpu_limit_zero",
        EXIT,
        "lower its own CPU limit to nothing, to die early of SIGXCPU",
        "import resource\ndef f(x):\n    resource.setrlimit(resource.RLIMIT_CPU, (0, 0))\n    while True:\n        pass\n",
        EVERYDAY,
        not_plain=_NO_ANSWER,
    ),
    Forgery(
        "close_all_descriptors",
        EXIT,
        "close every descriptor early, so that no failure can be reported",
        "import os\nos.closerange(0, 4096)\ndef f(x):\n    return None\n",
        EVERYDAY,
        not_plain="silence is not success there either; here the worker must get over it",
    ),
    Forgery(
        "close_then_exit",
        EXIT,
        "close every descriptor and exit with status 0",
        "import os\ndef f(x):\n    os.closerange(0, 4096)\n    os._exit(0)\n",
        EVERYDAY,
        ("exit_code",),
    ),
    Forgery(
        "close_then_spin",
        EXIT,
        "close every descriptor and keep the processor busy",
        "import os\ndef f(x):\n    os.closerange(0, 4096)\n    while True:\n        pass\n",
        EVERYDAY,
        not_plain=_NO_ANSWER,
    ),
    Forgery(
        "shut_down_sockets",
        EXIT,
        "shut down every socket it holds and go on",
        "import os, socket\ndef f(x):\n    for fd in range(3, 256):\n        try:\n"
        "            socket.socket(fileno=os.dup(fd)).shutdown(socket.SHUT_RDWR)\n        except OSError:\n            pass\n"
        "    return None\n",
        EVERYDAY,
        not_plain="aimed at the control socket of a player",
    ),
    Forgery(
        "exit_as_assertion",
        EXIT,
        "raise an exception that is a SystemExit and looks like the test's own",
        "class Leave(SystemExit):\n    code = 0\ndef f(x):\n    raise Leave(0)\n",
        EVERYDAY,
        ("exit_code",),
    ),
    Forgery(
        "keyboard_interrupt",
        EXIT,
        "raise KeyboardInterrupt, as if a person had stopped the judge",
        "def f(x):\n    raise KeyboardInterrupt\n",
        EVERYDAY,
        not_plain=_NO_ANSWER,
    ),
    Forgery(
        "interrupt_main",
        EXIT,
        "KeyboardInterrupt thrown into the main thread by another one",
        "import _thread, threading, time\ndef f(x):\n    threading.Timer(0.01, _thread.interrupt_main).start()\n"
        "    time.sleep(0.3)\n",
        EVERYDAY,
        not_plain=_NO_ANSWER,
    ),
    Forgery(
        "generator_exit",
        EXIT,
        "raise GeneratorExit, which `except Exception` does not catch",
        "def f(x):\n    raise GeneratorExit\n",
        EVERYDAY,
        not_plain=_NO_ANSWER,
    ),
    Forgery(
        "script_exits_silently",
        EXIT,
        "a script that ends with status 0 without reading or printing",
        "raise SystemExit(0)\n",
        (STDIO,),
        ("stdio_zip",),
    ),
    Forgery(
        "script_closes_its_output",
        EXIT,
        "a script that closes its output and exits, so that nothing can be compared",
        "import os\nos.close(1)\nos.close(2)\nos._exit(0)\n",
        (STDIO,),
        ("stdio_zip",),
    ),
)
