# What each of the four volumes allows.

try() {
	if "$@" 2>/dev/null; then echo "  yes: $*"; else echo "  no:  $*"; fi
}

echo "/readonly, a directory of the bundle:"
try cat /readonly/greeting
try touch /readonly/new

echo "/writable, a directory of the bundle:"
try touch /writable/from-the-container

echo "/scratch, memory of at most 1 MiB:"
try dd if=/dev/zero of=/scratch/small bs=1024 count=512
try dd if=/dev/zero of=/scratch/large bs=1024 count=2048

echo "/shared, the /dev/shm of the host, with what the host mounts there later:"
grep -q ' /shared .* master:' /proc/self/mountinfo && echo "  yes: mounts of the host arrive here" || echo "  no:  the host does not share it"
