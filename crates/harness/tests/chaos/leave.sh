# A command that leaves more of itself behind than its process group, and hangs every third time.
#
#   leave.sh WHO
echo "$1 $$" >>w/commands
setsid sh -c 'exec sleep 1000' </dev/null >/dev/null 2>&1 &
(env -i setsid -f /bin/sh -c 'trap "" TERM HUP; /bin/sleep 1000 & wait' </dev/null >/dev/null 2>&1 &)
[ $(($(wc -l <w/commands) % 3)) -ne 0 ] || sleep 1000
