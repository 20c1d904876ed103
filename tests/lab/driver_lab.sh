#!/bin/bash
# Fetches Debian's kernel of the -amd64 flavour with apt and builds initial RAM disks for tests that let Linux's own drivers
# work: nothing is installed and nothing of it is committed.
#
#   driver_lab.sh DIRECTORY
#
# Leaves in DIRECTORY (for tests: build/lab-drivers), once; a second call takes what is there:
#   boot/vmlinuz-VERSION   the kernel
#   initrd.gz              its modules and a static busybox
#   initrd-dynamic.gz      the same, with Debian's dash, coreutils and libc, dynamically linked, in front of busybox
# and prints the three paths, a line each. /init loads virtio_pci, virtio_blk, virtio_rng, e1000, af_packet and what they
# need (order: modules.dep), does the jobs of the kernel command line, and ends the run. The command line knows:
#   job=A,B,...  what to do, in this order:
#     blk        for each virtio disk: size, sector size, features, serial number, the first MiB's sum
#     dd         64 MiB of /dev/vda by dd, and their SHA-256
#     ddwrite    writes 4 MiB to /dev/vda (a pattern of ours), flushes, reads them again, both sums
#     rng        the name of the hardware RNG and 64 bytes of it
#     net        eth0: MAC address, DHCP, an address, PINGS pings to the gateway (pings=N, default 100)
#     hwclock    the time of the RTC
#     dmesg      the lines of the kernel's log that name the drivers
#     interrupts /proc/interrupts
#   end=E        how the run ends: reboot (default; for -no-reboot) or poweroff (needs ACPI)
# Every job prints `job NAME: begin` and `job NAME: done`; the last line is `lab-init: done`.
#
# A guest:
#   -kernel boot/vmlinuz-* -initrd initrd.gz -append "console=ttyS0 panic=-1 rdinit=/init job=blk,dd end=poweroff"
# The same without ACPI and APICs:
#   -append "console=ttyS0 acpi=off noapic nolapic nokaslr mitigations=off panic=-1 reboot=k no_timer_check rdinit=/init job=blk,dd"
# Exit status: 0 done; 77 apt cannot reach a mirror (CTest reports a skipped test); 1 anything else.
set -euo pipefail
export LC_ALL=C
. "$(dirname "$0")/packages.sh"

[ $# -eq 1 ] || { echo "usage: driver_lab.sh DIRECTORY" >&2; exit 1; }

print_paths() { ls "$lab"/boot/vmlinuz-*; echo "$lab/initrd.gz"; echo "$lab/initrd-dynamic.gz"; }
open_lab "$1" && { print_paths; exit 0; }

userland=(coreutils dash libc6 libacl1 libattr1 libgmp10 libselinux1 libpcre2-8-0 libssl3)
download linux-image-amd64 busybox-static kmod "${userland[@]}"
kernel=$(kernel_of linux-image-amd64)
download "$kernel"
version=${kernel#linux-image-}
unpack "$kernel" "$work/kernel"
unpack busybox-static "$work/guest"
unpack kmod "$work/host"
busybox=$work/guest/bin/busybox

root=$work/root
mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/tmp" "$root/lib/drivers" "$root/etc"
copy_modules "$work/kernel" "$version" "$root/lib/drivers" virtio_pci virtio_blk virtio-rng e1000 af_packet
cp "$busybox" "$root/bin/busybox"
cat > "$root/etc/dhcp" << 'DHCP'
#!/bin/busybox sh
case $1 in
  bound|renew)
    /bin/busybox ifconfig "$interface" "$ip" netmask "$subnet"
    /bin/busybox route add default gw $router
    echo "dhcp: $interface $ip/$subnet router $router dns $dns" ;;
esac
DHCP
cat > "$root/init" << 'INIT'
#!/bin/busybox sh
# Debian's own programs come first where the RAM disk has them; busybox does the rest.
PATH=/usr/bin:/bin
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
[ -x /usr/bin/dash ] && [ "$1" != again ] && exec /usr/bin/dash /init again
echo "lab-init: Linux $(uname -r)"
while read -r module; do insmod "/lib/drivers/$module" || echo "lab-init: $module does not load"; done < /lib/drivers/order
jobs='' end=reboot pings=100
for word in $(cat /proc/cmdline); do
  case $word in
    job=*) jobs=$(echo "${word#job=}" | tr , ' ') ;;
    end=*) end=${word#end=} ;;
    pings=*) pings=${word#pings=} ;;
  esac
done
sum() { sha256sum | cut -d ' ' -f 1; }

job_blk() {
  for disk in /sys/block/vd*; do
    [ -e "$disk" ] || continue
    name=${disk##*/}
    echo "$name: size $(cat "$disk/size") sectors, block $(cat "$disk/queue/logical_block_size"), read-only $(cat "$disk/ro")"
    echo "$name: features $(cat "$disk/device/features")"
    echo "$name: serial $(cat "$disk/serial")"
    echo "$name: segments $(cat "$disk/queue/max_segments"), cache $(cat "$disk/queue/write_cache")"
    echo "$name: discard $(cat "$disk/queue/discard_max_hw_bytes"), zeroes $(cat "$disk/queue/write_zeroes_max_bytes")"
    echo "$name: first MiB $(dd "if=/dev/$name" bs=1M count=1 2> /dev/null | sum)"
  done
}
job_dd() { echo "vda: 64 MiB $(dd if=/dev/vda bs=1M count=64 2> /dev/null | sum)"; }
pattern() { yes 'what the guest writes' | head -c 4194304; }
job_ddwrite() {
  echo "vda: writes $(pattern | sum)"
  pattern | dd of=/dev/vda bs=64k iflag=fullblock conv=fsync 2> /dev/null || echo "vda: dd fails"
  sync
  echo 3 > /proc/sys/vm/drop_caches
  echo "vda: reads $(dd if=/dev/vda bs=64k count=64 2> /dev/null | sum)"
}
job_rng() {
  echo "rng: $(cat /sys/class/misc/hw_random/rng_current)"
  dd if=/dev/hwrng bs=64 count=1 2> /dev/null | wc -c
}
job_net() {
  echo "eth0: MAC $(cat /sys/class/net/eth0/address)"
  ifconfig eth0 up
  udhcpc -i eth0 -s /etc/dhcp -n -q -t 5
  ping -c "$pings" -i 0.1 -q "$(route -n | grep '^0\.0\.0\.0' | tr -s ' ' | cut -d ' ' -f 2)"
  ifconfig eth0
}
job_hwclock() { hwclock -r -u -f /dev/rtc0; }
job_dmesg() { dmesg | grep -iE 'virtio|e1000|vd[a-z]|rng|pci 0000' || true; }
job_interrupts() { cat /proc/interrupts; }

for job in $jobs; do
  echo "job $job: begin"
  "job_$job"
  echo "job $job: done"
done
echo "lab-init: done"
case $end in
  poweroff) exec /bin/busybox poweroff -f ;;
  *) exec /bin/busybox reboot -f ;;
esac
INIT
chmod 755 "$root/init" "$root/etc/dhcp"

pack "$root" "$busybox" "$lab/initrd.gz"

# The dynamic userland: programs and the libraries that they name, where Debian has them with merged /usr.
mkdir -p "$work/debian" "$root/usr/bin" "$root/usr/lib" "$root/lib64" "$root/lib/x86_64-linux-gnu"
for package in "${userland[@]}"; do unpack "$package" "$work/debian"; done
for program in dash dd cat sha256sum cut tr head wc yes uname sync ls; do
  cp "$work"/debian/{usr/,}bin/"$program" "$root/usr/bin/" 2> /dev/null || [ -f "$root/usr/bin/$program" ]
done
find "$work/debian/lib" "$work/debian/usr/lib" -name '*.so*' \( -type f -o -type l \) ! -path '*/gconv/*' ! -path '*/audit/*' \
  \( -name 'libc.so.6' -o -name 'ld-linux*' -o -name 'libm.so.6' -o -name 'libacl*' -o -name 'libattr*' -o -name 'libgmp*' \
  -o -name 'libselinux*' -o -name 'libpcre2-8*' -o -name 'libcrypto*' \) -path '*x86_64-linux-gnu/*' \
  -exec cp -P {} "$root/lib/x86_64-linux-gnu/" \;
ln -sf /lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 "$root/lib64/ld-linux-x86-64.so.2"
pack "$root" "$busybox" "$lab/initrd-dynamic.gz"

mkdir -p "$lab/boot"
cp "$work"/kernel/boot/vmlinuz-* "$lab/boot/"
close_lab
print_paths
