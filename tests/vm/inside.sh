#!/bin/sh
# The first program of run.sh's virtual machine: makes an ordinary host with control groups of version 2 out of it, runs
# the steps asked for, says which held, and switches the machine off.
#
#     inside.sh VENV [STEP...]
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp
export PYTHONPATH=src PYTHONDONTWRITEBYTECODE=1
cd "$(dirname "$0")/../.." || exit 1
python=$1/bin/python
shift
cgroups=/sys/fs/cgroup

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t securityfs securityfs /sys/kernel/security
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t tmpfs -o mode=755 run /run
mount -t cgroup2 -o nsdelegate cgroup2 $cgroups
ln -sfn /proc/self/fd /dev/fd

# Others than root must reach the interpreter and the checkout: the folders above them may be root's alone.
for path in "$(realpath "$python")" "$PWD/."; do
    while path=$(dirname "$path") && [ "$path" != / ]; do chmod a+x "$path"; done
done

# One cgroup for root, one given to a user, both with a child to be in: a cgroup that holds processes has no others
# below it that limit memory.
user=1000
echo "+memory +pids" > $cgroups/cgroup.subtree_control
mkdir -p $cgroups/root/leaf $cgroups/user/leaf
chown $user $cgroups/user $cgroups/user/leaf
for name in cgroup.procs cgroup.threads cgroup.subtree_control; do
    chown $user $cgroups/user/$name $cgroups/user/leaf/$name
done

as_root() { setsid -w sh -c 'echo 0 > /sys/fs/cgroup/root/leaf/cgroup.procs && exec "$@"' sh "$@"; }
as_user() { setsid -w setpriv --reuid $user --regid $user --clear-groups "$@"; }
as_owner() {
    setsid -w sh -c 'echo 0 > /sys/fs/cgroup/user/leaf/cgroup.procs && exec "$@"' sh \
        setpriv --reuid $user --regid $user --clear-groups "$@"
}
tests="$python -m pytest -q -n 0 --color=no -p no:cacheprovider -o timeout=0 $VM_PYTEST"

# What the machine offers: to root, to a user who owns a cgroup, to one who does not.
doctor() {
    as_root "$python" -m acesandbox doctor && as_owner "$python" -m acesandbox doctor &&
        as_user "$python" -m acesandbox doctor
}
cgroups() { as_root $tests tests/vm/cgroups.py; }
settings() { as_root $tests tests/vm/settings.py; }
native() { as_root $tests tests/native; }
native_user() { as_owner $tests tests/native; }
check() { as_root "$python" -m acesandbox check $VM_CHECK; }
check_user() { as_owner "$python" -m acesandbox check $VM_CHECK; }
sandbox() { as_root $tests tests/sandbox; }

uname -a
broken=
for step in ${*:-doctor cgroups settings native native_user check check_user sandbox}; do
    echo "---- $step"
    $step || broken="$broken $step"
done
left=$(find $cgroups -name 'acesandbox-*')
[ -z "$left" ] || broken="$broken left-over-groups"
if [ -z "$broken" ]; then echo "every step held"; else echo "did not hold:$broken" $left; fi
sync
echo o > /proc/sysrq-trigger
sleep 5
