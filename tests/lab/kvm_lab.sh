#!/bin/bash
# A machine with genuine hardware virtualization, wherever QEMU runs: Debian's kernel in a QEMU that emulates an AMD CPU with SVM
# (TCG), so that its kvm-amd makes a real /dev/kvm. The guest sees this machine's files at their own paths, with this build and
# all tools; what it writes stays in its RAM and is gone with it, but for DIRECTORY/out.
#
#   kvm_lab.sh DIRECTORY COMMAND...   runs COMMAND in there, in the current directory; its output and exit status are the script's
#   kvm_lab.sh DIRECTORY              a shell in there
#
# The variables DEJAVM_*, GTEST_* and LAB_OUT (DIRECTORY/out, empty at the start) are set for COMMAND. DIRECTORY gets the kernel
# and a RAM disk of busybox and modules, once; nothing is installed but qemu-system-x86, which the caller has.
# Exit status: 77 QEMU is absent or apt cannot reach a mirror (CTest reports a skipped test); 124 COMMAND took longer than
# LAB_SECONDS (default 600); 125 the machine ended without COMMAND's status; else COMMAND's.
set -euo pipefail
export LC_ALL=C
. "$(dirname "$0")/packages.sh"

[ $# -ge 1 ] || { echo "usage: kvm_lab.sh DIRECTORY [COMMAND...]" >&2; exit 1; }
if ! command -v qemu-system-x86_64 > /dev/null; then
  echo "skipped: qemu-system-x86_64 is absent (apt-get install qemu-system-x86)" >&2
  exit 77
fi
prepare() {
  local kernel version root=$work/root
  download linux-image-amd64 busybox-static kmod
  kernel=$(kernel_of linux-image-amd64)
  version=${kernel#linux-image-}
  download "$kernel"
  unpack "$kernel" "$work/kernel"
  unpack busybox-static "$work/guest"
  unpack kmod "$work/host"

  mkdir -p "$root"/{bin,proc,sys,dev,host,ram,all,modules}
  cp "$work/guest/bin/busybox" "$root/bin/"
  copy_modules "$work/kernel" "$version" "$root/modules" virtio_pci 9p 9pnet_virtio overlay kvm-amd
  cat > "$root/init" << 'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/modules/$module" || echo "lab: $module does not load"; done < /modules/order
share="trans=virtio,version=9p2000.L,msize=512000"
mount -t 9p -o "$share,ro,cache=loose" host /host
mount -t tmpfs -o size=80% ram /ram
mkdir /ram/changed /ram/work
mount -t overlay -o lowerdir=/host,upperdir=/ram/changed,workdir=/ram/work all /all
for there in proc sys dev; do mount --move "/$there" "/all/$there"; done
mkdir -p /all/dev/pts /all/dev/shm
mount -t devpts pts /all/dev/pts
mount -t tmpfs shm /all/dev/shm
mount -t tmpfs run /all/run
out=$(sed -n 's/.*lab_out=\([^ ]*\).*/\1/p' /all/proc/cmdline)
mkdir -p "/all$out"
mount -t 9p -o "$share,cache=none" out "/all$out"
exec switch_root /all /bin/bash "$out/.start"
INIT
  chmod 755 "$root/init"
  pack "$root" "$work/guest/bin/busybox" "$lab/initrd.gz"
  mkdir -p "$lab/boot"
  cp "$work"/kernel/boot/vmlinuz-* "$lab/boot/"
  close_lab
}
open_lab "$1" || prepare
shift
case $lab in
  *[[:space:],]*) echo "kvm_lab.sh: no blank and no comma may be in $lab: QEMU and the kernel take them for something else" >&2; exit 1 ;;
esac

out=$lab/out
rm -rf "$out" "$lab/console" "$lab/qemu.log"
mkdir -p "$out"
{
  echo "export LC_ALL=C HOME=/root TERM=${TERM:-dumb} PATH=$(printf %q "$PATH") LAB_OUT=$(printf %q "$out")"
  declare -px | grep -E '^declare -x (DEJAVM|GTEST)_[A-Z_]+=' || true
  echo "ip link set lo up 2> /dev/null"
  echo "cd $(printf %q "$PWD")"
  if [ $# -gt 0 ]; then
    # The console is a serial line that turns line ends into CR LF; a file of the share does not.
    printf '('; printf ' %q' "$@"; echo ") < /dev/null > \$LAB_OUT/.output 2>&1"
    echo "echo \$? > \$LAB_OUT/.status"
  else
    echo "setsid --ctty /bin/bash -i < /dev/ttyS0 > /dev/ttyS0 2>&1"
    echo "echo 0 > \$LAB_OUT/.status"
  fi
  echo "sync; echo o > /proc/sysrq-trigger; sleep 60"
} > "$out/.start"

serial=(-serial "file:$lab/console" -monitor none)
[ $# -gt 0 ] || serial=(-serial mon:stdio)
# One CPU: with two, QEMU 7.2 now and then leaves one of them inside the nested guest for good.
machine=(qemu-system-x86_64 -accel tcg -cpu max -m 3072 -nodefaults -display none -no-reboot
  -kernel "$(ls "$lab"/boot/vmlinuz-*)" -initrd "$lab/initrd.gz" -append "console=ttyS0 quiet panic=-1 mitigations=off lab_out=$out"
  -fsdev local,id=host,path=/,security_model=none,readonly=on,multidevs=remap -device virtio-9p-pci,fsdev=host,mount_tag=host
  -fsdev "local,id=out,path=$out,security_model=none" -device virtio-9p-pci,fsdev=out,mount_tag=out "${serial[@]}")

status=0
if [ $# = 0 ]; then
  "${machine[@]}" || status=$?
else
  : > "$out/.output"
  timeout "${LAB_SECONDS:-600}" "${machine[@]}" < /dev/null > "$lab/qemu.log" 2>&1 &
  machine_pid=$!
  tail -c +1 -f --pid=$machine_pid "$out/.output" &
  wait $machine_pid || status=$?
  wait
  [ $status != 124 ] || { echo "lab: not done after ${LAB_SECONDS:-600} s" >&2; exit 124; }
fi
if [ ! -f "$out/.status" ]; then
  echo "lab: the machine ended early (QEMU: exit status $status):" >&2
  tail -n 15 "$lab/qemu.log" "$lab/console" >&2 || true
  exit 125
fi
exit "$(cat "$out/.status")"
