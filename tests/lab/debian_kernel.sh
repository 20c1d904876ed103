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
. "$(dirname "$0")/packages.sh"

architecture=${2:-amd64}
case $#-$architecture in
  [12]-amd64) kernels=linux-image-cloud-amd64 ;;
  2-i386) kernels=linux-image-686-pae ;;
  *) echo "usage: debian_kernel.sh DIRECTORY [amd64|i386]" >&2; exit 1 ;;
esac

print_paths() { ls "$lab"/boot/vmlinuz-*; echo "$lab/initrd.gz"; }
open_lab "$1" && { print_paths; exit 0; }

download busybox-static  # the host's, which packs the RAM disk
unpack busybox-static "$work/host"
rm "$work"/busybox-static_*.deb
if [ "$architecture" != amd64 ]; then
  mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial"
  apt_options=(-o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture" -o "Dir::State::lists=$work/apt/lists"
    -o "Dir::Cache=$work/apt" -o Dir::State::status=/dev/null)
fi
download busybox-static "$kernels"  # it depends on the kernel of today
kernel=$(kernel_of "$kernels")
download "$kernel"
unpack "$kernel" "$work/kernel"
unpack busybox-static "$work/guest"

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
pack "$root" "$work/host/bin/busybox" "$lab/initrd.gz"

mkdir -p "$lab/boot"
cp "$work"/kernel/boot/vmlinuz-* "$lab/boot/"
# No ACPI, APIC or PCI is needed; a panic and the end of /init reboot by the keyboard controller.
echo "console=ttyS0 acpi=off noapic nolapic pci=off nokaslr mitigations=off panic=-1 reboot=k no_timer_check rdinit=/init" \
  > "$lab/cmdline"
(cd "$root" && echo "lab-init: Linux ${kernel#linux-image-}" && sha256sum etc/known | sed 's|  |  /|') > "$lab/expected"
echo "lab-init: done" >> "$lab/expected"
close_lab
print_paths
