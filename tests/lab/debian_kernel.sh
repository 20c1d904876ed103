#!/bin/bash
# Fetches Debian's cloud kernel and a static busybox with apt and builds a small initial RAM disk, for tests that boot Linux.
# Nothing is installed and nothing of it is committed.
#
#   debian_kernel.sh DIRECTORY
#
# Leaves in DIRECTORY (for tests: build/lab), once; a second call takes what is there:
#   boot/vmlinuz-VERSION   the kernel            initrd.gz       its initial RAM disk
#   cmdline                a command line        expected        lines that a boot prints
# and prints the paths of kernel and RAM disk, a line each. /init mounts proc and devtmpfs, prints a marker, hashes a file,
# and reboots the machine, which ends a run with -no-reboot.
# Exit status: 0 done; 77 apt cannot reach a mirror (CTest reports a skipped test); 1 anything else.
set -euo pipefail
export LC_ALL=C

[ $# = 1 ] || { echo "usage: debian_kernel.sh DIRECTORY" >&2; exit 1; }
mkdir -p "$1"
lab=$(cd "$1" && pwd)

print_paths() { ls "$lab"/boot/vmlinuz-*; echo "$lab/initrd.gz"; }
[ -f "$lab/complete" ] && { print_paths; exit 0; }

work=$(mktemp -d "$lab/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

# download PACKAGE: its .deb into $work. apt's sandbox user cannot write there, so apt warns; that is no error.
download() {
  (cd "$work" && apt-get download "$1" > "$work/apt.log" 2>&1) && return
  { (apt-get update || sudo -n apt-get update) && cd "$work" && apt-get download "$1"; } > "$work/apt.log" 2>&1 && return
  echo "skipped: apt cannot fetch $1 (offline?): $(grep -m1 '^E:' "$work/apt.log" || tail -n 1 "$work/apt.log")" >&2
  exit 77
}

download linux-image-cloud-amd64  # it depends on the kernel of today
kernel=$(dpkg-deb -f "$work"/linux-image-cloud-amd64_*.deb Depends | grep -o 'linux-image-[0-9][^ ,]*' | head -n 1)
download "$kernel"
download busybox-static
dpkg -x "$work/${kernel}"_*.deb "$work/kernel"
dpkg -x "$work"/busybox-static_*.deb "$work/busybox"

root=$work/root
mkdir -p "$root/bin" "$root/proc" "$root/dev" "$root/etc"
cp "$work/busybox/bin/busybox" "$root/bin/busybox"
yes 'what the guest hashes' | head -n 50000 > "$root/etc/known" || true
cat > "$root/init" << 'INIT'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
echo "lab-init: Linux $(/bin/busybox uname -r)"
/bin/busybox sha256sum /etc/known
echo "lab-init: done"
/bin/busybox reboot -f
INIT
chmod 755 "$root/init"
# Names sorted and times fixed: the same packages give the same bytes.
find "$root" -exec touch -h -d @0 {} +
(cd "$root" && find . | LC_ALL=C sort | "$work/busybox/bin/busybox" cpio -o -H newc -R 0:0 2> "$work/cpio.log") |
  gzip -9n > "$lab/initrd.gz"

mkdir -p "$lab/boot"
cp "$work"/kernel/boot/vmlinuz-* "$lab/boot/"
# No ACPI, APIC or PCI is needed; a panic and the end of /init reboot by the keyboard controller.
echo "console=ttyS0 acpi=off noapic nolapic pci=off nokaslr mitigations=off panic=-1 reboot=k no_timer_check rdinit=/init" \
  > "$lab/cmdline"
(cd "$root" && echo "lab-init: Linux ${kernel#linux-image-}" && sha256sum etc/known | sed 's|  |  /|') > "$lab/expected"
echo "lab-init: done" >> "$lab/expected"
touch "$lab/complete"
print_paths
