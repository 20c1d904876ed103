#!/bin/bash
# Fetches Debian's GRUB and memtest86+ with apt for tests that start what a user's machine starts: nothing is installed and nothing of
# it is committed.
#
#   boot_lab.sh DIRECTORY KERNEL_LAB
#
# Leaves in DIRECTORY (for tests: build/lab-boot), once; a second call takes what is there:
#   grub.img      a disk with a partition table, GRUB in front of its one ext2 partition, and on that the kernel and RAM disk of
#                 KERNEL_LAB (filled by debian_kernel.sh). GRUB speaks on the first serial port, shows its menu for a second and says
#                 `lab-grub: starting` before it starts the kernel, with a command line that keeps it from no part of the machine.
#   memtest.bin   memtest86+ for 64 bits, for -kernel
# and prints the two paths, a line each.
# Exit status: 0 done; 77 apt cannot reach a mirror, or mke2fs is absent (CTest reports a skipped test); 1 anything else.
set -euo pipefail
export LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin

[ $# -eq 2 ] || { echo "usage: boot_lab.sh DIRECTORY KERNEL_LAB" >&2; exit 1; }
here=$(cd "$(dirname "$0")" && pwd)
. "$here/packages.sh"
kernel_lab=$2

print_paths() { echo "$lab/grub.img"; echo "$lab/memtest.bin"; }
files=$("$here/debian_kernel.sh" "$kernel_lab") || exit
{ read -r kernel; read -r initrd; } <<< "$files"
open_lab "$1" "$kernel_lab/complete" && { print_paths; exit 0; }
command -v mke2fs > /dev/null || { echo "skipped: mke2fs is absent (apt-get install e2fsprogs)" >&2; exit 77; }

# grub-mkimage wants a library that Debian installs with LVM only.
download grub-pc-bin grub-common libdevmapper1.02.1 memtest86+
for package in grub-pc-bin grub-common libdevmapper1.02.1 memtest86+; do unpack "$package" "$work/debian"; done
cp "$work/debian/boot/memtest86+x64.bin" "$lab/memtest.bin"

# The partition: files and times fixed, so that the same packages give the same bytes.
tree=$work/tree grub=$work/debian/usr/lib/grub/i386-pc disk=$work/grub.img
mkdir -p "$tree/boot/grub"
cp "$kernel" "$tree/boot/vmlinuz"
cp "$initrd" "$tree/boot/initrd.gz"
cat > "$tree/boot/grub/grub.cfg" << 'CONFIG'
set timeout=1
menuentry 'lab' {
  linux /boot/vmlinuz console=ttyS0 panic=-1 rdinit=/init
  initrd /boot/initrd.gz
  echo 'lab-grub: starting'
}
CONFIG
find "$tree" -exec touch -h -d @0 {} +
sectors=65536 start=2048
truncate -s $((sectors * 512)) "$disk"
uuid=6c61622d-6772-7562-2d64-69736b000000
E2FSPROGS_FAKE_TIME=1 mke2fs -q -F -t ext2 -m 0 -U $uuid -E "offset=$((start * 512)),root_owner=0:0,hash_seed=$uuid" \
  -d "$tree" "$disk" $(((sectors - start) / 2))  # in KiB

# GRUB's first sector with its boot code of 446 bytes, and its core behind it, where the boot code looks for it.
cat > "$work/early.cfg" << 'CONFIG'
serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
configfile /boot/grub/grub.cfg
CONFIG
LD_LIBRARY_PATH=$work/debian/lib/x86_64-linux-gnu "$work/debian/usr/bin/grub-mkimage" -d "$grub" -O i386-pc -o "$work/core.img" \
  -p '(hd0,msdos1)/boot/grub' -c "$work/early.cfg" biosdisk part_msdos ext2 serial terminal normal configfile linux echo boot
[ "$(stat -c %s "$work/core.img")" -le $(((start - 1) * 512)) ] || { echo "boot_lab.sh: GRUB's core is too large" >&2; exit 1; }
dd if="$grub/boot.img" of="$disk" bs=446 count=1 conv=notrunc status=none
dd if="$work/core.img" of="$disk" bs=512 seek=1 conv=notrunc status=none
# The partition table: one entry, active, of type Linux, from sector 2048 (0x800) on 63488 (0xf800) sectors; the signature. What works
# by cylinders, heads and sectors is told nothing.
printf '\x80\xfe\xff\xff\x83\xfe\xff\xff\x00\x08\x00\x00\x00\xf8\x00\x00' | dd of="$disk" bs=1 seek=446 conv=notrunc status=none
printf '\x55\xaa' | dd of="$disk" bs=1 seek=510 conv=notrunc status=none
mv "$disk" "$lab/grub.img"
close_lab
print_paths
