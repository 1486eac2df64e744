"""What this machine offers, mechanism by mechanism, and what each one is good for: `acesandbox doctor`.

The launcher itself tries the mechanisms (`acejail --probe`), with the rights it would have at work. Then a sandbox is
opened in each tier and judges one harmless program: what counts is not what should work but what does.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from time import perf_counter
from typing import Any

from . import _cpus, _interpreter
from ._errors import BadInput, IsolationUnavailable, SandboxError
from ._pool import CANARY_PROGRAM, CANARY_TESTS
from ._sandbox import PROFILES, Sandbox
from ._worker import launcher_path

# The probe's names of mechanisms, and the classes of attack that each stops.
STOPS = {
    "user namespace": "privileges on the host",
    "mount namespace": "reading and writing the host's files",
    "pid namespace": "seeing, tracing and signalling other processes; left-over processes",
    "network namespace": "the network, abstract sockets of the host",
    "ipc namespace": "shared memory and queues between programs",
    "uts namespace": "the host's name",
    "mounts in new namespaces": "(lets an ordinary user have the above)",
    "proc in a pid namespace": "(lets the supervisor measure programs; programs see no /proc)",
    "seccomp filter": "the kernel's attack surface: mount, bpf, ptrace, io_uring, keyctl, …",
    "seccomp user notification": "(names the system call a program was stopped at)",
    "Landlock": "files, and with newer versions TCP and signals, where namespaces are forbidden",
    "cgroup v2 mounted": "",
    "cgroup v1 memory mounted": "",
    "memory limit by cgroup": "memory shared among many processes",
    "pidfd": "(host death noticed without a race)",
    "pidfd of a socket's peer": "(the same, through forks)",
    "close_range": "inherited descriptors",
    "mount_setattr": "(read-only views in one step)",
}

# What a profile gives to programs, as workers name it.
GIVEN = ("loopback", "bounded_sockets", "shared_memory", "own_proc")


def examine(options: dict[str, Any]) -> dict[str, Any]:
    """Everything the command shows, ready for JSON. `options` are those of `Sandbox`, without `isolation`."""
    report: dict[str, Any] = {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "uid": os.geteuid() if hasattr(os, "geteuid") else None,
        "problems": [],
    }
    if sys.platform != "linux":
        report["problems"].append(f"programs can be judged on Linux only; this is {sys.platform}")
        return report
    report["cores"] = {"affinity": len(os.sched_getaffinity(0)), "usable": _cpus.usable()}
    try:
        report["launcher"] = launcher_path()
        report["guest"] = _interpreter.guest_directory()
    except SandboxError as error:
        report["problems"].append(str(error))
        return report
    try:
        found = _interpreter.find(options.get("python"))
        version = ".".join(map(str, found.version))
        report["jailed_python"] = {
            "executable": found.executable,
            "version": version,
            "packages": list(found.site),
        }
    except BadInput as error:
        report["problems"].append(str(error))
        return report
    report["probe"] = _probe(report["launcher"], report["problems"])
    report["tiers"] = {tier: _try(tier, options) for tier in ("namespaces", "seccomp")}
    compute, system = PROFILES
    report["profiles"] = {
        compute: report["tiers"]["namespaces"],
        system: _try("namespaces", {**options, "profile": system}),
    }
    return report


def _probe(launcher: str, problems: list[str]) -> dict[str, Any]:
    try:
        done = subprocess.run([launcher, "--probe"], capture_output=True, timeout=60, check=False)
        said = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        problems.append(f"the launcher's probe failed: {error}")
        return {}
    return said if isinstance(said, dict) else {}


def _try(tier: str, options: dict[str, Any]) -> dict[str, Any]:
    started = perf_counter()
    try:
        with Sandbox(**{**options, "workers": 1, "isolation": tier}) as sandbox:
            verdict = sandbox.judge(CANARY_PROGRAM.decode("ascii"), CANARY_TESTS)
            first = perf_counter() - started
            mechanisms = sandbox.describe().get("mechanisms", {})
    except IsolationUnavailable as error:
        return {"works": False, "reason": error.reason, "remedies": list(error.remedies)}
    except SandboxError as error:
        return {"works": False, "reason": str(error), "remedies": []}
    if not verdict.passed:
        reason = f"a right program was judged {verdict.status.value}: {verdict.tests[0].message}"
        return {"works": False, "reason": reason, "remedies": []}
    return {
        "works": True,
        "first_verdict_s": round(first, 3),
        "sealed": verdict.sealed,
        "mechanisms": mechanisms,
    }


def text(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = [f"machine      {report['platform']}, uid {report['uid']}", f"python       {report['python']}"]
    if "cores" in report:
        usable, affinity = report["cores"]["usable"], report["cores"]["affinity"]
        cut = "" if usable == affinity else f" (of {affinity}: a CPU quota)"
        lines.append(f"workers      {usable}{cut}")
    if "jailed_python" in report:
        jailed = report["jailed_python"]
        packages = ", ".join(jailed["packages"]) or "none: the standard library only"
        lines += [f"jailed       {jailed['version']}, {jailed['executable']}", f"packages     {packages}"]
    mechanisms = report.get("probe", {}).get("mechanisms", [])
    if mechanisms:
        lines += ["", "mechanism                    here  what it keeps from a program"]
        for each in mechanisms:
            name, why = str(each.get("name")), str(each.get("why") or "")
            stops = STOPS.get(name, "")
            lines.append(f"{name:<28} {'yes ' if each.get('available') else 'no  '}  {stops}".rstrip())
            if why:
                lines.append(f"{'':<35}{why}")
    for tier, found in report.get("tiers", {}).items():
        lines.append("")
        if found["works"]:
            lines.append(f"{tier}: works; first verdict after {found['first_verdict_s']} s")
            lines += [
                f"    {name}: {value}"
                for name, value in found["mechanisms"].items()
                if value not in ("", None)
            ]
        else:
            lines.append(f"{tier}: cannot be had: {found['reason']}")
            lines += [f"    remedy: {remedy}" for remedy in found["remedies"]]
    for profile, found in report.get("profiles", {}).items():
        said = "works" if found["works"] else f"cannot be had: {found['reason']}"
        lines.append(("\n" if profile == PROFILES[0] else "") + f"profile {profile}: {said}")
        if found["works"] and profile != PROFILES[0]:
            lines += [f"    {name}: {found['mechanisms'][name]}" for name in GIVEN]
        lines += [f"    remedy: {remedy}" for remedy in found.get("remedies", ())]
    lines += [f"problem: {problem}" for problem in report["problems"]]
    return "\n".join(lines)


def works(report: dict[str, Any]) -> bool:
    """Whether the default tier can be had."""
    return not report["problems"] and bool(report.get("tiers", {}).get("namespaces", {}).get("works"))
