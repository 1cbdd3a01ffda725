"""Runs a command under a container's seccomp profile: confine.py PROFILE WITHOUT,CALLS COMMAND…

What a container runtime does with the profile, as far as this machine's architecture and libseccomp
go. Only for tests.
"""

import json
import os
import sys

import seccomp

OPERATORS = {"SCMP_CMP_EQ": seccomp.EQ, "SCMP_CMP_MASKED_EQ": seccomp.MASKED_EQ}


def action(rule, default_error=1):
    return {
        "SCMP_ACT_ALLOW": seccomp.ALLOW,
        "SCMP_ACT_ERRNO": seccomp.ERRNO(rule.get("errnoRet", default_error)),
    }[rule["action"]]


def conditions(rule):
    for argument in rule.get("args", ()):
        values = [argument["value"]]
        if argument["op"] == "SCMP_CMP_MASKED_EQ":
            values.append(argument["valueTwo"])
        yield seccomp.Arg(argument["index"], OPERATORS[argument["op"]], *values)


def main():
    profile, without, command = sys.argv[1], sys.argv[2].split(","), sys.argv[3:]
    with open(profile) as file:
        profile = json.load(file)
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    confinement = seccomp.SyscallFilter(seccomp.ERRNO(profile["defaultErrnoRet"]))
    for rule in profile["syscalls"]:
        for name in rule["names"]:
            # A call that this architecture does not have is passed over, as runtimes do.
            known = seccomp.resolve_syscall(seccomp.Arch(), name) >= 0
            if known and name not in without:
                confinement.add_rule(action(rule), name, *conditions(rule))
    confinement.load()
    os.execvp(command[0], command)


main()
