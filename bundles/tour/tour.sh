# A short tour of the inside of a container.

first() { # the first of these files that is there
	for file; do
		if [ -r "$file" ]; then
			cat "$file"
			return
		fi
	done
	echo "-"
}

echo "Process 1 is $(tr '\0' ' ' </proc/1/cmdline)and these are all:"
ps -o pid,user,args | sed 's/^/  /'

echo "Its host name is $(hostname), its network:"
ip -o link | cut -d ' ' -f 2,3 | sed 's/^/  /'

echo "Its file systems:"
while read -r _ _ _ _ where options _ _ _; do
	echo "  $where $options"
done </proc/self/mountinfo

cgroup=/sys/fs/cgroup
echo "Its limits:"
echo "  memory     $(first $cgroup/memory.max $cgroup/memory/memory.limit_in_bytes) bytes"
echo "  processes  $(first $cgroup/pids.max $cgroup/pids/pids.max)"
if [ -r $cgroup/cpu.max ]; then
	echo "  processor  $(sed 's, , of ,' $cgroup/cpu.max) microseconds"
else
	echo "  processor  $(first $cgroup/cpu/cpu.cfs_quota_us) of $(first $cgroup/cpu/cpu.cfs_period_us) microseconds"
fi

echo "What it may do:"
grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | sed 's/^/  /'
