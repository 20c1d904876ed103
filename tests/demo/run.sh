#!/bin/bash
# The demo of `./dev demo`: records a guest with a driver bug, replays it without its devices, and lets two batch sessions of gdb
# walk from the symptom (a panic) to the device write that caused it.
#
#   run.sh DEJAVM GUEST_DIR WORK_DIR [ENGINE]
#
# Fails where a replay diverges or where a session does not show what it promises.
set -euo pipefail
export LC_ALL=C

dejavm=$1 guest_dir=$2 work=$3 engine=${4:-auto}
here=$(cd "$(dirname "$0")" && pwd)
guest=$guest_dir/buggy_dma
trace=$work/demo.dvt
if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi

headline() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
indent() { sed -u 's/^/    /'; }
fail() { echo "demo: $*" >&2; exit 1; }

# converted FILE: the session FILE for gdb, which prints its comments as narration and each command before its output.
converted() {
  cat <<SETUP
set confirm off
set filename-display basename
set print address off
set print entry-values no
set print frame-arguments none
target remote $work/gdb.sock
echo @begin\\n
SETUP
  awk '/^# / { printf "echo \\n%s\\n\n", substr($0, 3); next }
       { shown = $0; gsub(/\\/, "\\\\", shown); printf "echo (gdb) %s\\n\n%s\n", shown, $0 }' "$1"
  printf 'echo @end\\n\nkill\n'
}

# session NAME: replays the trace under a batch gdb with the commands of NAME.gdb; what it showed is left in NAME.out.
session() {
  rm -f "$work/gdb.sock"
  "$dejavm" replay -accel "$engine" "$trace" -S -gdb "unix:$work/gdb.sock" 2> "$work/$1.replay" &
  local replay=$! tries=100
  until [ -S "$work/gdb.sock" ]; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] && kill -0 $replay 2> /dev/null || fail "the replay does not listen: $(cat "$work/$1.replay")"
    sleep 0.05
  done
  converted "$here/$1.gdb" | sed "s/DMA_ADDRESS/$target/g" > "$work/$1.gdb"
  timeout 120 gdb -nx -q -batch -x "$work/$1.gdb" "$guest.elf" > "$work/$1.raw" 2>&1 || true
  wait $replay || fail "the replay under gdb failed: $(cat "$work/$1.replay")"
  sed -n '/^@begin/,/^@end/ { /^@/d; p }' "$work/$1.raw" > "$work/$1.out"
  grep -q '^@end' "$work/$1.raw" || fail "gdb stopped early: $(tail -n 3 "$work/$1.raw")"
  indent < "$work/$1.out"
}

# expect NAME TEXT...: what the session NAME must have shown.
expect() {
  local name=$1 text
  shift
  for text in "$@"; do
    grep -qF -- "$text" "$work/$name.out" || fail "session $name does not show \"$text\""
  done
}

mkdir -p "$work"
rm -f "$trace"
command -v gdb > /dev/null || fail "gdb is not installed (apt-get install gdb)"

headline "1. Record a guest whose driver has a bug. Something kills it:"
echo "  \$ dejavm record -o demo.dvt -m 64M -bios buggy_dma.bin -device edu -device isa-debug-exit,iobase=0x501"
"$dejavm" record -accel "$engine" -o "$trace" -m 64M -bios "$guest.bin" -device edu -device isa-debug-exit,iobase=0x501 \
  < /dev/null > "$work/record.out" 2> "$work/record.err" || fail "recording failed: $(cat "$work/record.err")"
{ tr -d '\r' < "$work/record.out"; sed -n '$p' "$work/record.err"; } | indent

headline "2. Replay it, with no devices, bit for bit:"
echo "  \$ dejavm replay demo.dvt"
"$dejavm" replay -accel "$engine" "$trace" 2> "$work/replay.err" || fail "the replay failed: $(cat "$work/replay.err")"
indent < "$work/replay.err"

# Where the guest's linker put the buffer that the damage was aimed at: what the user reads from the line before.
target=$("$dejavm" dump "$trace" | sed -n 's/.* dma 80 bytes at \(0x[0-9a-f]*\) .*/\1/p')
[ -n "$target" ] || fail "the trace holds no DMA of 80 bytes"

headline "3. The symptom, in gdb on a replay:"
echo "  \$ dejavm replay demo.dvt -S -s      \$ gdb -ex 'target remote :1234' buggy_dma.elf"
session symptom
expect symptom "completion_reap ()" "dma 80 bytes at $target" "rx_buffer in section"

headline "4. The cause, in gdb on another replay of the same run:"
session culprit
expect culprit "mmio: edu+0x90 <- 0x50 (4 bytes)" "mailbox_receive (" "sizeof(struct message_header) + payload_length"
