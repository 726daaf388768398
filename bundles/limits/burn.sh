# Burn processor time for three seconds, then tell how much of it we got; then ask for more memory and more processes
# than we may have.

now() { # in hundredths of a second, which are the clock ticks of a process too
	read -r seconds _ </proc/uptime
	echo "${seconds%.*}${seconds#*.}"
}

used() {
	read -r _ _ _ _ _ _ _ _ _ _ _ _ _ user system _ </proc/$$/stat
	echo $((user + system))
}

begin=$(now)
while [ $(($(now) - begin)) -lt 300 ]; do
	i=0
	while [ $i -lt 10000 ]; do i=$((i + 1)); done
done
echo "processor: $((100 * $(used) / ($(now) - begin))) % of one (the limit is 20 %)"

if sh -c 'dd if=/dev/zero of=/dev/null bs=64M count=1; exit $?' >/dev/null 2>&1; then
	echo "memory: 64 MiB at once were granted"
else
	echo "memory: 64 MiB at once were refused (the limit is 32 MiB)"
fi

processes=$(sh -c 'i=0; while [ $i -lt 64 ]; do sleep 2 & i=$((i + 1)); echo $i; done' 2>/dev/null | wc -l)
echo "processes: $processes more were started (the limit is 16 in all)"
