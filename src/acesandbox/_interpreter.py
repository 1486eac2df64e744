"""The interpreter that runs inside the jail, and the view of the file system that it needs.

Two cases. `python=None` is the interpreter we run in ourselves with its standard library and **nothing else**: the
packages installed next to a trainer may hold reference solutions (public evaluators ship theirs), and a verdict should
not depend on what else happens to be installed. `python="…/bin/python"` is that interpreter *with* its site-packages:
point it at a virtual environment made for judged programs, or at `sys.executable` to show them your own.

The view is a list of read-only binds: the interpreter's executable, its standard library, site-packages if asked for,
the directories of shared libraries with the dynamic loader and its cache, the time zone data, and our guest package at
/ace/_ace_guest. Never a directory of programs, never /etc, /home or /root.

With the profile `system` the programs of the machine come on top, /usr/bin and /bin with what they read, and `python`
and `pip` are the jailed interpreter's. Never /usr/local or /opt, which hold what somebody put there for himself; and of
/etc only `SYSTEM_FILES` and `accounts`, which are made for the jail and tell nothing of the host.

In the `namespaces` tier an interpreter outside /usr appears under /py, whatever its place on the host: its path would
tell the host's user names. CPython finds its standard library relative to its executable, so this costs nothing.
The `seccomp` tier has no mount namespace: there paths are the real ones, and package directories that lie *inside* the
standard library's (python.org's images and pyenv have them there) can be read by a program that looks for them.
"""

from __future__ import annotations

import os
import sys

from ._errors import BadInput, SandboxError

_PROBE = """
import json, os, site, sys
print(json.dumps({
    "implementation": sys.implementation.name,
    "version": list(sys.version_info[:3]),
    "executable": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "prefix": sys.base_prefix,
    "exec_prefix": sys.base_exec_prefix,
    "platlib": sys.platlibdir,
    "stdlib": os.path.dirname(os.__file__),
    "site": site.getsitepackages(),
}))
"""

OLDEST = (3, 9)
MAX_LINKED_FILES = 500
GUEST = "/ace/_ace_guest"
RELOCATED = "/py"
COMPUTE, SYSTEM = "compute", "system"
PROFILES = (COMPUTE, SYSTEM)

# What the programs in /usr/bin and /bin read, beside shared libraries: their helpers and data.
_PROGRAM_FOLDERS = (
    "/usr/bin",
    "/bin",
    "/etc/alternatives",
    "/usr/lib/file",
    "/usr/lib/gcc",
    "/usr/lib/git-core",
    "/usr/libexec/gcc",
    "/usr/libexec/git-core",
    "/usr/include",
    "/usr/share/awk",
    "/usr/share/git-core",
    "/usr/share/misc",
    "/usr/share/perl",
    "/usr/share/perl5",
    "/usr/share/python-wheels",
    "/usr/share/terminfo",
    "/lib/terminfo",
)
_PYTHON_FOLDER = "/usr/local/bin"
_DESCRIPTOR_LINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
}
_INSIDE_UID = 1000  # INNER_ID of native/jail/jail.h
# Beside every `python` there is a `pip`. Without packages of its own the interpreter still has the one it brings along;
# Debian keeps that one apart.
_PIP = f"""#!{_PYTHON_FOLDER}/python
import ensurepip, glob, importlib.util, os, runpy, sys
if importlib.util.find_spec("pip") is None:
    for folder in os.path.join(os.path.dirname(ensurepip.__file__), "_bundled"), "/usr/share/python-wheels":
        sys.path[:0] = glob.glob(os.path.join(folder, "pip-*.whl"))
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
SYSTEM_FILES = {
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 ace\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\nservices: files\n",
    f"{_PYTHON_FOLDER}/pip": _PIP,
    f"{_PYTHON_FOLDER}/pip3": _PIP,
}


class Interpreter:
    """What is known about an interpreter; the same wherever it is used."""

    __slots__ = ("exec_prefix", "executable", "platlib", "prefix", "site", "stdlib", "version")

    def __init__(
        self,
        executable: str,
        version: tuple[int, ...],
        prefix: str,
        exec_prefix: str,
        platlib: str,
        stdlib: str,
        site: tuple[str, ...],
    ) -> None:
        # Behind all symbolic links: what is bound is what was looked at.
        self.executable = os.path.realpath(executable)
        self.version = version
        self.prefix = os.path.realpath(prefix)
        self.exec_prefix = os.path.realpath(exec_prefix)
        self.platlib = platlib
        self.stdlib = os.path.realpath(stdlib)
        self.site = tuple(os.path.realpath(path) for path in site)


class View:
    """What a jail shows: the interpreter-dependent part of a worker's configuration.

    Attributes:
        ro: read-only binds, (path inside, path on the host), in the order in which they are to be made.
        links: symbolic links, (path inside, target).
        python: the interpreter's path inside.
        site: package directories inside, for the end of `sys.path`.
        env: the whole environment.
        texts: files made for the jail, (path inside, content).
    """

    __slots__ = ("env", "links", "python", "ro", "site", "texts")

    def __init__(
        self,
        ro: list[tuple[str, str]],
        links: list[tuple[str, str]],
        python: str,
        site: list[str],
        env: dict[str, str],
        texts: list[tuple[str, str]],
    ) -> None:
        self.ro = ro
        self.links = links
        self.python = python
        self.site = site
        self.env = env
        self.texts = texts


_known: dict[tuple[str, int], Interpreter] = {}


def find(python: str | None) -> Interpreter:
    """The interpreter to jail; see the module's docstring for what None means.

    Raises:
        BadInput: no such file, not an interpreter, not CPython, or too old.
    """
    if python is None:
        return _ours(with_site=False)
    import shutil

    path = shutil.which(os.path.expanduser(python))
    if path is None:
        raise BadInput(f"python={python!r}: there is no such executable")
    path = os.path.abspath(path)
    if os.path.samefile(path, sys.executable) and os.path.dirname(path) == os.path.dirname(
        os.path.abspath(sys.executable)
    ):
        return _ours(with_site=True)
    key = (path, os.stat(path).st_mtime_ns)
    if key not in _known:
        _known[key] = _probe(path)
    return _known[key]


def _ours(with_site: bool) -> Interpreter:
    site_packages: tuple[str, ...] = ()
    if with_site:
        import site

        site_packages = tuple(site.getsitepackages())
    # The base executable is the one that finds its own standard library: a virtual environment's is a link to it.
    executable = os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)
    return Interpreter(
        executable,
        tuple(sys.version_info[:3]),
        sys.base_prefix,
        sys.base_exec_prefix,
        sys.platlibdir,
        os.path.dirname(os.__file__),
        site_packages,
    )


def _probe(path: str) -> Interpreter:
    import json
    import subprocess

    try:
        # -I: neither our environment nor the current directory has a say in what it reports.
        done = subprocess.run(
            [path, "-I", "-c", _PROBE], capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BadInput(f"python={path!r} cannot be run: {error}") from None
    try:
        said = json.loads(done.stdout)
        version = tuple(said["version"])
    except (ValueError, KeyError, TypeError):
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise BadInput(
            f"python={path!r} is not a Python interpreter{': ' + last[0] if last else ''}"
        ) from None
    if said["implementation"] != "cpython":
        raise BadInput(f"python={path!r} is {said['implementation']}; only CPython can be jailed")
    if version < OLDEST:
        raise BadInput(
            f"python={path!r} is Python {version[0]}.{version[1]}; the oldest that can be jailed is "
            f"{OLDEST[0]}.{OLDEST[1]}"
        )
    return Interpreter(
        said["executable"],
        version,
        said["prefix"],
        said["exec_prefix"],
        said["platlib"],
        said["stdlib"],
        tuple(said["site"]),
    )


def guest_directory() -> str:
    """Our guest package, with its native part.

    Raises:
        SandboxError: the native part was not built.
    """
    package = os.path.dirname(os.path.abspath(__file__))
    guest = os.path.join(os.environ.get("ACESANDBOX_NATIVE_DIR") or package, "guest")
    if not os.path.isdir(guest):  # a build with sanitizers brings its own native parts and shares the rest
        guest = os.path.join(package, "guest")
    if not any(name.startswith("_native.") for name in os.listdir(guest)):
        raise SandboxError(
            f"{guest} lacks the native part (_native.abi3.so): this installation is not complete; "
            "in a source tree, run 'make native'"
        )
    return guest


def view(interpreter: Interpreter, tier: str, hash_seed: int = 0, profile: str = COMPUTE) -> View:
    """The view for one tier and profile. What does not exist on this machine is left out."""
    folder = interpreter.prefix
    relocated = (
        tier == "namespaces" and not _inside(folder, "/usr") and _inside(interpreter.executable, folder)
    )
    places = _Places(folder if relocated else "")
    if not (tier == "seccomp" and os.geteuid() == 0 and _needed_libraries(places, interpreter)):
        _system_libraries(places)
    _own_libraries(places, interpreter)
    places.show(interpreter.executable)
    hidden = _standard_library(places, interpreter)
    for path in ("/usr/share/zoneinfo", "/usr/lib/locale/C.utf8"):
        places.show(path)
    places.site = _packages(places, interpreter, tier)
    programs = profile == SYSTEM and tier == "namespaces"
    if programs:
        hidden += _programs(places, interpreter)
    if tier == "namespaces":
        for path in hidden:  # something harmless is mounted over it; last, so that nothing covers that again
            places.ro.append((places.inside(path), _nothing()))
    places.ro.append((GUEST, guest_directory()))
    python = places.inside(interpreter.executable)
    env = _environment(f"{RELOCATED}/lib" if relocated else "", hash_seed)
    texts: list[tuple[str, str]] = []
    if profile == SYSTEM:
        env["PATH"] = f"{_PYTHON_FOLDER}:/usr/bin:/bin"
    if programs:
        for name in ("python", "python3"):
            if f"{_PYTHON_FOLDER}/{name}" != python:
                places.links.append((f"{_PYTHON_FOLDER}/{name}", python))
        places.links += _DESCRIPTOR_LINKS.items()
        texts += SYSTEM_FILES.items()
    return View(ro=places.ro, links=places.links, python=python, site=places.site, env=env, texts=texts)


def accounts(uid: int | None) -> list[tuple[str, str]]:
    """Files of the profile `system` that name the worker's user: `uid` where root could not map it to another."""
    known = [_INSIDE_UID] if uid is None else [_INSIDE_UID, uid]
    return [
        ("/etc/passwd", "".join(f"ace:x:{each}:{each}::/tmp:/bin/sh\n" for each in known)),
        ("/etc/group", "".join(f"ace:x:{each}:\n" for each in known)),
    ]


class _Places:
    """Collects binds, broad ones before those inside them, and knows where a host's path lies inside."""

    def __init__(self, moved: str) -> None:
        self._moved = moved
        self._shown: list[str] = []
        self.ro: list[tuple[str, str]] = []
        self.links: list[tuple[str, str]] = []
        self.site: list[str] = []

    def inside(self, path: str) -> str:
        """Where a path of the host lies inside."""
        if self._moved and _inside(path, self._moved):
            rest = os.path.relpath(path, self._moved)
            return RELOCATED if rest == "." else f"{RELOCATED}/{rest}"
        return path

    def show(self, path: str) -> None:
        """Show `path` at its place inside, with the symbolic links on the way to it; nothing if it does not exist."""
        if not os.path.exists(path):
            return
        place = path if self._moved and _inside(path, self._moved) else self._follow(path)
        if any(_inside(place, shown) for shown in self._shown):
            return
        self._shown.append(place)
        self.ro.append((self.inside(place), os.path.realpath(place)))

    def show_at(self, dst: str, path: str) -> None:
        """Show `path` somewhere else."""
        self.ro.append((dst, os.path.realpath(path)))

    def _follow(self, path: str) -> str:
        """The path behind the system's own links (/lib -> usr/lib), each of which is recorded."""
        done = ""
        for part in path.strip("/").split("/"):
            done = f"{done}/{part}"
            if os.path.islink(done):
                target = os.readlink(done)
                if (done, target) not in self.links:
                    self.links.append((done, target))
                done = self._follow(os.path.normpath(os.path.join(os.path.dirname(done), target)))
        return done


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _system_libraries(places: _Places) -> None:
    """The dynamic loader, its cache, and the directories it searches by default."""
    multiarch = f"{os.uname().machine}-linux-gnu"
    folders = [f"/usr/lib/{multiarch}", f"/lib/{multiarch}", "/usr/lib64", "/lib64"]
    if not any(_has_libc(folder) for folder in folders):
        folders = ["/usr/lib", "/lib", "/usr/lib64", "/lib64"]  # Arch, Alpine: one directory for everything
    for folder in folders:
        places.show(folder)
    places.show("/etc/ld.so.cache")


def _needed_libraries(places: _Places, interpreter: Interpreter) -> bool:
    """Only those shared libraries that the interpreter and its packages are linked with; False if that cannot be told.

    Where a jail is a chroot, everything is copied for each worker, and a whole directory of libraries can be most of a
    gigabyte. Asking the dynamic loader takes about as long as starting the interpreter a few times; elsewhere a
    directory is bound in no time.
    """
    import glob
    import shutil
    import subprocess

    ldd = shutil.which("ldd")
    files = [interpreter.executable]
    for folder in (f"{interpreter.stdlib}/lib-dynload", *interpreter.site):
        files += glob.glob(f"{glob.escape(folder)}/**/*.so*", recursive=True)
    if ldd is None or len(files) > MAX_LINKED_FILES:
        return False
    try:
        done = subprocess.run(
            [ldd, *files], capture_output=True, timeout=120, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    found = {
        word
        for word in done.stdout.decode("utf-8", "replace").split()
        if word.startswith("/") and word[-1] != ":"
    }
    if not any("/libc." in path for path in found):
        return False
    for path in sorted(found - set(files)):
        places.show(path)
    places.show("/etc/ld.so.cache")
    return True


def _has_libc(folder: str) -> bool:
    try:
        return any(name.startswith("libc.so") for name in os.listdir(folder))
    except OSError:
        return False


def _own_libraries(places: _Places, interpreter: Interpreter) -> None:
    """Shared libraries in the interpreter's own prefix, such as libpython."""
    if _inside(interpreter.prefix, "/usr") and not _inside(interpreter.prefix, "/usr/local"):
        return
    for folder in dict.fromkeys((f"{interpreter.prefix}/lib", f"{interpreter.prefix}/{interpreter.platlib}")):
        if os.path.isdir(f"{interpreter.prefix}/conda-meta"):
            places.show(folder)  # conda's packages link to libraries all over it
        elif os.path.isdir(folder):
            for name in sorted(os.listdir(folder)):
                if ".so" in name and os.path.isfile(f"{folder}/{name}"):
                    places.show(f"{folder}/{name}")


def _programs(places: _Places, interpreter: Interpreter) -> list[str]:
    """Shows the machine's programs; returns the package directories that are not to be seen."""
    import glob

    for path in _PROGRAM_FOLDERS:
        places.show(path)
    # the machine's own interpreter, for scripts that name it in their first line
    hidden = []
    for folder in sorted(glob.glob("/usr/lib/python3.*")):
        if os.path.isdir(folder) and folder != interpreter.stdlib:
            places.show(folder)
            hidden += _package_folders(folder, interpreter)
    return hidden


def _package_folders(folder: str, interpreter: Interpreter) -> list[str]:
    """The package directories inside a standard library that nobody has asked for."""
    asked_for = {os.path.realpath(path) for path in interpreter.site}
    found = [f"{folder}/{name}" for name in ("site-packages", "dist-packages")]
    return [path for path in found if os.path.isdir(path) and os.path.realpath(path) not in asked_for]


def _standard_library(places: _Places, interpreter: Interpreter) -> list[str]:
    """Shows the standard library; returns the package directories in it that are not to be seen."""
    version = f"python{interpreter.version[0]}.{interpreter.version[1]}"
    folders = [interpreter.stdlib]
    for prefix in (interpreter.prefix, interpreter.exec_prefix):
        folders += [f"{prefix}/{name}/{version}" for name in ("lib", interpreter.platlib)]
    hidden = []
    for folder in dict.fromkeys(os.path.realpath(folder) for folder in folders if os.path.isdir(folder)):
        places.show(folder)
        hidden += _package_folders(folder, interpreter)
    return hidden


def _packages(places: _Places, interpreter: Interpreter, tier: str) -> list[str]:
    """Shows site-packages; returns where they lie inside. A virtual environment's get a place of their own."""
    found = []
    for path in interpreter.site:
        if not os.path.isdir(path):
            continue
        if tier != "namespaces" or _inside(path, "/usr") or _inside(path, interpreter.prefix):
            places.show(path)
            found.append(places.inside(path))
        else:
            dst = f"{RELOCATED}/packages-{len(found)}/site-packages"
            places.show_at(dst, path)
            found.append(dst)
    return found


def _nothing() -> str:
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "_nothing")


def _environment(libraries: str, hash_seed: int) -> dict[str, str]:
    """The whole environment of jailed processes: nothing of the host's."""
    env = {
        "PYTHONPATH": "/ace",
        "PYTHONHASHSEED": str(hash_seed),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        # One worker per core is the parallelism there is; a numerical library that starts a thread per core on top
        # of that makes everything slower, and each thread's memory arena is copied in every player.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
        # Symbols bound once in the zygote are not bound again in each player.
        "LD_BIND_NOW": "1",
    }
    if libraries:
        env["LD_LIBRARY_PATH"] = libraries
    return env
