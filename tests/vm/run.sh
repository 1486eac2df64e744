#!/bin/sh
# Boots a virtual machine with Debian's own kernel and control groups of version 2, and runs the sandbox's tests in it.
#
#     sh tests/vm/run.sh [STEP...]          steps are the functions of inside.sh; without any: all of them
#
# The machine has no disk. It sees this host's file system read-only, with everything it writes kept in memory (9p and
# overlayfs): so it has this host's Python, virtual environment and checkout. The kernel is Debian's current one,
# unpacked, not installed. Needs qemu-system-x86, apt-get (or VM_KERNEL), `make native` and the virtual environment that
# `make test` makes. Being root is not needed; what root alone may read on this host is missing in the machine.
#
# Without hardware virtualization the processor is emulated, some twenty times slower, and its clock then counts
# instructions (a nanosecond each), so that CPU limits mean in there what they mean elsewhere. That takes one processor:
# with more, the clock is the wall's, and tests that race against time lose.
#
#     VENV           the virtual environment (.venv)
#     VM_FOLDER      where kernel and initramfs are kept (build-vm)
#     VM_KERNEL      a folder into which a kernel package was unpacked (boot/vmlinuz-*, lib/modules/*)
#     VM_PYTEST      more options for pytest (-x)
#     VM_CHECK       options and attacks for acesandbox check (all attacks)
#     VM_CPUS, VM_MB cores and memory (1, 2048)
set -eu
repository=$(cd "$(dirname "$0")/../.." && pwd)
venv=$(cd "${VENV:-$repository/.venv}" && pwd)
folder=${VM_FOLDER:-$repository/build-vm}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
kernel=${VM_KERNEL:-$folder/kernel}

fetch() { # package, folder
    [ -d "$2" ] && return
    (cd "$folder" && rm -f "$1"_*.deb && apt-get download "$1" && dpkg-deb -x "$1"_*.deb "$2.part" && mv "$2.part" "$2")
}

fetch busybox-static "$folder/busybox"
if [ ! -d "$kernel" ]; then
    # the meta package's dependency; the cloud flavour has no 9p
    fetch "$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)" "$kernel"
fi
image=$(ls "$kernel"/boot/vmlinuz-* | head -n 1)
version=${image##*/vmlinuz-}

# The initramfs: busybox, the modules that it takes to see the host's files, and the script that mounts them.
busybox=$folder/busybox/bin/busybox
root=$folder/root
rm -rf "$root"
mkdir -p "$root/bin" "$root/lib/modules" "$root/proc" "$root/sys" "$root/dev" "$root/host" "$root/memory" "$root/new"
cp "$busybox" "$root/bin/busybox"
modules=$kernel/lib/modules/$version
[ -e "$modules/modules.dep" ] || "$busybox" depmod -b "$kernel" "$version"
wanted="virtio_pci 9pnet_virtio 9p overlay"
for name in $wanted; do
    sed -n "s|^\([^:]*/$name\.ko\): *\(.*\)|\1 \2|p" "$modules/modules.dep"
done | tr ' ' '\n' | sort -u | while read -r path; do
    [ -n "$path" ] || continue
    mkdir -p "$root/lib/modules/$version/${path%/*}"
    cp "$modules/$path" "$root/lib/modules/$version/$path"
done
"$busybox" depmod -b "$root" "$version"
cat > "$root/init" << END
#!/bin/busybox sh
busybox=/bin/busybox
\$busybox mount -t proc proc /proc
\$busybox mount -t devtmpfs dev /dev
for name in $wanted; do \$busybox modprobe \$name; done
\$busybox mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000 host /host
\$busybox mount -t tmpfs -o size=75% memory /memory
\$busybox mkdir /memory/upper /memory/work
\$busybox chmod 755 /memory/upper
\$busybox mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work root /new
\$busybox umount /proc
export VM_PYTEST="${VM_PYTEST:-}" VM_CHECK="${VM_CHECK:-}"
exec \$busybox switch_root /new /bin/sh "$repository/tests/vm/inside.sh" "$venv" $*
END
chmod 755 "$root/init"
(cd "$root" && find . | "$busybox" cpio -o -H newc 2> /dev/null) | gzip -1 > "$folder/initramfs.gz"

cpus=${VM_CPUS:-1}
if [ -w /dev/kvm ] && grep -qwE 'vmx|svm' /proc/cpuinfo; then
    processor="-accel kvm -cpu host"
elif [ "$cpus" = 1 ]; then
    processor="-accel tcg -cpu max -icount shift=0"
else
    processor="-accel tcg -cpu max"
fi
log=$folder/console.log
qemu-system-x86_64 $processor -smp "$cpus" -m "${VM_MB:-2048}" -nodefaults -nographic -no-reboot \
    -serial stdio -kernel "$image" -initrd "$folder/initramfs.gz" \
    -append "console=ttyS0 quiet panic=-1 oops=panic" \
    -fsdev local,id=host,path=/,security_model=none,readonly=on,multidevs=remap \
    -device virtio-9p-pci,fsdev=host,mount_tag=host < /dev/null | tee "$log"
tail -n 5 "$log" | grep -q "every step held"
