#!/bin/bash
# Fetches one of Debian's kernels and a static busybox with apt and builds a small initial RAM disk, for tests that boot Linux:
# the cloud kernel of amd64, or the kernel of i386 with PAE and its 32-bit busybox. Nothing is installed and nothing of it is
# committed; for i386 apt keeps its lists in a place of its own, so that the host's apt does not learn of that architecture.
#
#   debian_kernel.sh DIRECTORY [amd64|i386]
#
# Leaves in DIRECTORY (for tests: build/lab, build/lab/i386), once; a second call takes what is there:
#   boot/vmlinuz-VERSION   the kernel            initrd.gz       its initial RAM disk
#   cmdline                a command line        expected        lines that a boot prints
# and prints the paths of kernel and RAM disk, a line each. /init mounts proc and devtmpfs, prints a marker, hashes a file,
# and reboots the machine, which ends a run with -no-reboot.
# Exit status: 0 done; 77 apt cannot reach a mirror (CTest reports a skipped test); 1 anything else.
set -euo pipefail
export LC_ALL=C

architecture=${2:-amd64}
case $#-$architecture in
  [12]-amd64) kernels=linux-image-cloud-amd64 ;;
  2-i386) kernels=linux-image-686-pae ;;
  *) echo "usage: debian_kernel.sh DIRECTORY [amd64|i386]" >&2; exit 1 ;;
esac
mkdir -p "$1"
lab=$(cd "$1" && pwd)

print_paths() { ls "$lab"/boot/vmlinuz-*; echo "$lab/initrd.gz"; }
[ -f "$lab/complete" ] && { print_paths; exit 0; }

work=$(mktemp -d "$lab/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

# apt's options for packages of the guest, when they are of another architecture than the host's.
foreign=()
if [ "$architecture" != amd64 ]; then
  mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial"
  foreign=(-o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture" -o "Dir::State::lists=$work/apt/lists"
    -o "Dir::Cache=$work/apt" -o Dir::State::status=/dev/null)
fi

# download PACKAGE [APT OPTIONS...]: its .deb into $work. apt's sandbox user cannot write there, so apt warns; that is no error.
# Nor is an update that fails: sources that are not Debian's may not have the architecture.
download() {
  local package=$1
  shift
  (cd "$work" && apt-get "$@" download "$package" > "$work/apt.log" 2>&1) && return
  { apt-get "$@" update || sudo -n apt-get "$@" update || true; } > "$work/update.log" 2>&1
  (cd "$work" && apt-get "$@" download "$package" > "$work/apt.log" 2>&1) && return
  echo "skipped: apt cannot fetch $package (offline?): $(grep -m1 '^E:' "$work/apt.log" || tail -n 1 "$work/apt.log")" >&2
  exit 77
}

download busybox-static  # the host's, which packs the RAM disk
dpkg -x "$work"/busybox-static_*.deb "$work/host"
rm "$work"/busybox-static_*.deb
download busybox-static "${foreign[@]}"
download "$kernels" "${foreign[@]}"  # it depends on the kernel of today
kernel=$(dpkg-deb -f "$work/${kernels}"_*.deb Depends | grep -o 'linux-image-[0-9][^ ,]*' | head -n 1)
download "$kernel" "${foreign[@]}"
dpkg -x "$work/${kernel}"_*.deb "$work/kernel"
dpkg -x "$work"/busybox-static_*.deb "$work/guest"

root=$work/root
mkdir -p "$root/bin" "$root/proc" "$root/dev" "$root/etc"
cp "$work/guest/bin/busybox" "$root/bin/busybox"
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
# Names sorted, times and inodes fixed: the same packages give the same bytes.
find "$root" -exec touch -h -d @0 {} +
(cd "$root" && find . | LC_ALL=C sort |
  "$work/host/bin/busybox" cpio -o -H newc -R 0:0 --ignore-devno --renumber-inodes 2> "$work/cpio.log") | gzip -9n > "$lab/initrd.gz"

mkdir -p "$lab/boot"
cp "$work"/kernel/boot/vmlinuz-* "$lab/boot/"
# No ACPI, APIC or PCI is needed; a panic and the end of /init reboot by the keyboard controller.
echo "console=ttyS0 acpi=off noapic nolapic pci=off nokaslr mitigations=off panic=-1 reboot=k no_timer_check rdinit=/init" \
  > "$lab/cmdline"
(cd "$root" && echo "lab-init: Linux ${kernel#linux-image-}" && sha256sum etc/known | sed 's|  |  /|') > "$lab/expected"
echo "lab-init: done" >> "$lab/expected"
touch "$lab/complete"
print_paths
