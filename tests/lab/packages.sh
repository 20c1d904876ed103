# For the lab's scripts, to be sourced: a directory for what they make; Debian packages fetched with apt, installing nothing; RAM disks
# packed of them. The caller may put options of apt into apt_options.
apt_options=()

# open_lab DIRECTORY [FILE...]: sets `lab` to it, for this script alone until it ends. Fails where it does not hold what the calling
# script makes, as the script and the FILEs are now: `work` is then a directory to work in, gone at the end of the script, and
# close_lab says that all is made. Callers ask for its status, so that errors end the script by hand here.
open_lab() {
  [ -n "$1" ] && mkdir -p "$1" && lab=$(cd "$1" && pwd) && exec {lab_lock}< "$lab" && flock "$lab_lock" ||
    { echo "${0##*/}: '$1' cannot be used as a directory" >&2; exit 1; }
  shift
  made_by=$(cat "$0" "${BASH_SOURCE[0]}" "$@" | sha256sum)
  [ "$(cat "$lab/complete" 2> /dev/null)" != "$made_by" ] || return 0
  rm -rf "${lab:?}/boot" "${lab:?}/complete"
  work=$(mktemp -d "$lab/work.XXXXXX") || exit 1
  trap 'rm -rf "$work"' EXIT
  return 1
}
close_lab() { echo "$made_by" > "$lab/complete"; }

# download PACKAGE...: their .deb files into $work. apt's sandbox user cannot write there, so apt warns; that is no error. Nor is an
# update that fails: sources that are not Debian's may not have the architecture. Ends the script with 77 (CTest reports a skipped
# test) where apt reaches no mirror.
download() {
  (cd "$work" && apt-get "${apt_options[@]}" download "$@" > "$work/apt.log" 2>&1) && return
  { apt-get "${apt_options[@]}" update || sudo -n apt-get "${apt_options[@]}" update || true; } > "$work/update.log" 2>&1
  (cd "$work" && apt-get "${apt_options[@]}" download "$@" > "$work/apt.log" 2>&1) && return
  echo "skipped: apt cannot fetch $* (offline?): $(grep -m1 '^E:' "$work/apt.log" || tail -n 1 "$work/apt.log")" >&2
  exit 77
}

# unpack PACKAGE DIRECTORY
unpack() { dpkg -x "$work/$1"_*.deb "$2"; }

# kernel_of META_PACKAGE: the kernel's package that this one, downloaded before, depends on.
kernel_of() { dpkg-deb -f "$work/$1"_*.deb Depends | grep -o 'linux-image-[0-9][^ ,]*' | head -n 1; }

# copy_modules KERNEL_ROOT VERSION DIRECTORY MODULE...: the modules and what they need, with DIRECTORY/order naming the files in an
# order in which they can be inserted. Wants kmod unpacked in $work/host.
copy_modules() {
  local root=$1 version=$2 into=$3 name line module needs file base
  shift 3
  [ -e "$work/host/bin/depmod" ] || ln -s kmod "$work/host/bin/depmod"  # depmod is kmod under another name
  "$work/host/bin/depmod" -b "$root" "$version"
  for name in "$@"; do
    # A line of modules.dep: MODULE: what it needs, the last first. What is built into the kernel has none.
    line=$(grep -E "(^|/)$name\.ko:" "$root/lib/modules/$version/modules.dep" || true)
    module=${line%%:*}
    needs=$(echo "${line#*:}" | tr ' ' '\n' | tac | tr '\n' ' ')
    for file in $needs $module; do
      base=$(basename "$file")
      [ -f "$into/$base" ] && continue
      cp "$root/lib/modules/$version/$file" "$into/$base"
      echo "$base" >> "$into/order"
    done
  done
}

# pack ROOT BUSYBOX FILE: the RAM disk of ROOT. Names sorted, times and inodes fixed: the same packages give the same bytes.
pack() {
  find "$1" -exec touch -h -d @0 {} +
  (cd "$1" && find . | LC_ALL=C sort | "$2" cpio -o -H newc -R 0:0 --ignore-devno --renumber-inodes 2> "$work/cpio.log") |
    gzip -9n > "$3"
}
