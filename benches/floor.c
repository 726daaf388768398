/* The floor: the shortest sequence of system calls that makes the container of `runc spec`. Nothing is parsed, checked,
 * written down, or undone, no path is held against a malicious image: no runtime may do so little. It is what the kernel
 * itself takes, and what the ratios of docs/performance.md are ratios to.
 *
 *   floor run  v1|v2 ROOTFS CGROUP [BINDS SOURCES]   make it, run /bin/true in it, wait, remove its cgroup
 *   floor exec v1|v2 PID CGROUP                      run /bin/true in the container of init PID
 *
 * MEMORY_LIMIT in the environment is written to v1's memory.limit_in_bytes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define TRY(call) do { if ((call) < 0) { perror(#call); _exit(111); } } while (0)

static const char *rootfs, *cgroup, *controllers[16];
static int v2, controller_count;

/* Four results live at a time. */
static const char *join(const char *a, const char *b, const char *c, const char *d)
{
	static char paths[4][512];
	static int next;
	char *path = paths[next++ & 3];
	snprintf(path, sizeof *paths, "%s%s%s%s", a, b, c, d);
	return path;
}

static const char *in_rootfs(const char *path) { return join(rootfs, path, "", ""); }

static const char *in_cgroup(int index, const char *file)
{
	static char paths[4][512];
	static int next;
	char *path = paths[next++ & 3];
	const char *tree = v2 ? "" : controllers[index];
	snprintf(path, sizeof *paths, "/sys/fs/cgroup/%s/%s%s%s", tree, cgroup, *file ? "/" : "", file);
	return path;
}

static int try_write(const char *path, const char *value)
{
	int file = open(path, O_WRONLY | O_CLOEXEC), written;
	TRY(file);
	written = write(file, value, strlen(value));
	close(file);
	return written;
}

static void write_to(const char *path, const char *value) { TRY(try_write(path, value)); }

/* The trees that the machine has, of those that every runtime uses. */
static void find_controllers(void)
{
	static const char *all[] = { "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids",
		"hugetlb", "perf_event", "net_cls", "net_prio", "systemd" };
	for (unsigned i = 0; i < COUNT(all); i++)
		if (access(join("/sys/fs/cgroup/", all[i], "/tasks", ""), F_OK) == 0)
			controllers[controller_count++] = all[i];
}

static int has(const char *name, int index) { return strcmp(controllers[index], name) == 0; }

static void make_cgroup(void)
{
	static const char *allowed[] = { "c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm",
		"c 1:9 rwm", "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm" };
	static const char *inherited[] = { "cpuset.cpus", "cpuset.mems" };
	if (v2) {
		TRY(mkdir(in_cgroup(0, ""), 0755));
		return;
	}
	for (int i = 0; i < controller_count; i++) {
		TRY(mkdir(in_cgroup(i, ""), 0755));
		if (has("cpuset", i))
			for (unsigned k = 0; k < COUNT(inherited); k++) {
				char value[256] = "";
				int file = open(join("/sys/fs/cgroup/cpuset/", inherited[k], "", ""), O_RDONLY | O_CLOEXEC);
				TRY(file);
				TRY(read(file, value, sizeof value - 1));
				close(file);
				write_to(in_cgroup(i, inherited[k]), value);
			}
		if (has("memory", i) && getenv("MEMORY_LIMIT"))
			write_to(in_cgroup(i, "memory.limit_in_bytes"), getenv("MEMORY_LIMIT"));
		if (has("devices", i)) {
			int file = open(in_cgroup(i, "devices.allow"), O_WRONLY | O_CLOEXEC);
			write_to(in_cgroup(i, "devices.deny"), "a");
			for (unsigned k = 0; k < COUNT(allowed); k++)
				TRY(write(file, allowed[k], strlen(allowed[k])));
			close(file);
		}
	}
}

static void remove_cgroup(void)
{
	for (int i = 0; i < (v2 ? 1 : controller_count); i++)
		TRY(rmdir(in_cgroup(i, "")));
}

/* By the thread itself, and into `tasks`: this alone does not wait for an RCU grace period. */
static void enter_v1(void)
{
	for (int i = 0; !v2 && i < controller_count; i++)
		write_to(in_cgroup(i, "tasks"), "0");
}

static void mount_all(int binds, const char *sources)
{
	const int plain = MS_NOSUID | MS_NOEXEC | MS_NODEV;
	TRY(mount(0, "/", 0, MS_REC | MS_SLAVE, 0));
	TRY(mount(rootfs, rootfs, 0, MS_BIND | MS_REC, 0));
	TRY(mount("proc", in_rootfs("/proc"), "proc", 0, 0));
	TRY(mount("tmpfs", in_rootfs("/dev"), "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"));
	TRY(mkdir(in_rootfs("/dev/pts"), 0755));
	TRY(mount("devpts", in_rootfs("/dev/pts"), "devpts", MS_NOSUID | MS_NOEXEC,
		"newinstance,ptmxmode=0666,mode=0620,gid=5"));
	TRY(mkdir(in_rootfs("/dev/shm"), 0755));
	TRY(mount("shm", in_rootfs("/dev/shm"), "tmpfs", plain, "mode=1777,size=65536k"));
	TRY(mkdir(in_rootfs("/dev/mqueue"), 0755));
	TRY(mount("mqueue", in_rootfs("/dev/mqueue"), "mqueue", plain, 0));
	TRY(mount("sysfs", in_rootfs("/sys"), "sysfs", plain | MS_RDONLY, 0));
	if (v2) {
		TRY(mount("cgroup", in_rootfs("/sys/fs/cgroup"), "cgroup2", plain | MS_RELATIME | MS_RDONLY, 0));
	} else {
		TRY(mount("tmpfs", in_rootfs("/sys/fs/cgroup"), "tmpfs", plain, "mode=755"));
		for (int i = 0; i < controller_count; i++) {
			const char *target = join(rootfs, "/sys/fs/cgroup/", controllers[i], "");
			TRY(mkdir(target, 0755));
			TRY(mount(in_cgroup(i, ""), target, 0, MS_BIND, 0));
			TRY(mount(0, target, 0, MS_BIND | MS_REMOUNT | MS_RDONLY | plain, 0));
		}
		TRY(mount(0, in_rootfs("/sys/fs/cgroup"), 0, MS_BIND | MS_REMOUNT | MS_RDONLY | plain, 0));
	}
	for (int i = 0; i < binds; i++) {
		char number[16];
		snprintf(number, sizeof number, "%d", i);
		const char *target = join(rootfs, "/mnt/", number, "");
		TRY(mount(join(sources, "/", number, ""), target, 0, MS_BIND | MS_REC, 0));
		TRY(mount(0, target, 0, MS_PRIVATE | MS_REC, 0));
	}
}

static void make_nodes(void)
{
	static const struct { const char *path; int major, minor; } nodes[] = { { "/dev/null", 1, 3 },
		{ "/dev/zero", 1, 5 }, { "/dev/full", 1, 7 }, { "/dev/random", 1, 8 }, { "/dev/urandom", 1, 9 },
		{ "/dev/tty", 5, 0 } };
	static const char *links[][2] = { { "/proc/self/fd", "/dev/fd" }, { "/proc/self/fd/0", "/dev/stdin" },
		{ "/proc/self/fd/1", "/dev/stdout" }, { "/proc/self/fd/2", "/dev/stderr" },
		{ "/proc/kcore", "/dev/core" }, { "pts/ptmx", "/dev/ptmx" } };
	umask(0);
	for (unsigned i = 0; i < COUNT(nodes); i++)
		TRY(mknod(in_rootfs(nodes[i].path), S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)));
	for (unsigned i = 0; i < COUNT(links); i++)
		TRY(symlink(links[i][0], in_rootfs(links[i][1])));
	umask(022);
}

static void enter_root(void)
{
	TRY(chdir(rootfs));
	TRY(syscall(SYS_pivot_root, ".", "."));
	TRY(umount2(".", MNT_DETACH));
	TRY(chdir("/"));
	TRY(mount(0, "/", 0, MS_BIND | MS_REMOUNT | MS_RDONLY, 0));
}

static void cover(void)
{
	static const char *readonly[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };
	static const char *masked[] = { "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys",
		"/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
		"/proc/scsi" };
	for (unsigned i = 0; i < COUNT(readonly); i++) {
		if (mount(readonly[i], readonly[i], 0, MS_BIND | MS_REC, 0) < 0 && errno == ENOENT)
			continue;
		TRY(mount(0, readonly[i], 0, MS_BIND | MS_REMOUNT | MS_RDONLY, 0));
	}
	for (unsigned i = 0; i < COUNT(masked); i++)
		if (mount("/dev/null", masked[i], 0, MS_BIND, 0) < 0 && errno == ENOTDIR)
			TRY(mount("tmpfs", masked[i], "tmpfs", MS_RDONLY, 0));
}

static void become_true(void)
{
	struct rlimit limit = { 1024, 1024 };
	uint32_t kept = 1u << CAP_KILL | 1u << CAP_NET_BIND_SERVICE | 1u << CAP_AUDIT_WRITE;
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct sets[2] = { { kept, kept, 0 }, { 0, 0, 0 } };
	char *args[] = { "/bin/true", 0 };
	char *env[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", 0 };
	TRY(setrlimit(RLIMIT_NOFILE, &limit));
	setsid();
	for (int i = 0; i <= CAP_LAST_CAP; i++)
		if (i >= 32 || !(kept >> i & 1))
			prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
	TRY(syscall(SYS_capset, &header, sets));
	TRY(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	execve(args[0], args, env);
	TRY(-1);
}

static int born(struct clone_args *args)
{
	if (v2) {
		args->cgroup = open(in_cgroup(0, ""), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		TRY((int)args->cgroup);
		args->flags |= CLONE_INTO_CGROUP;
	}
	args->exit_signal = SIGCHLD;
	return syscall(SYS_clone3, args, sizeof *args);
}

static int run(int binds, const char *sources)
{
	struct clone_args args = { .flags =
		CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET };
	int status, pid;
	make_cgroup();
	TRY(pid = born(&args));
	if (pid == 0) {
		enter_v1();
		if (v2)
			TRY(unshare(CLONE_NEWCGROUP));
		TRY(sethostname("runc", 4));
		mount_all(binds, sources);
		make_nodes();
		enter_root();
		cover();
		become_true();
	}
	TRY(waitpid(pid, &status, 0));
	remove_cgroup();
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int join_init(int init)
{
	struct clone_args args = { 0 };
	int tasks[COUNT(controllers)], status, pid, pidfd = syscall(SYS_pidfd_open, init, 0);
	TRY(pidfd);
	for (int i = 0; !v2 && i < controller_count; i++)
		TRY(tasks[i] = open(in_cgroup(i, "tasks"), O_WRONLY | O_CLOEXEC));
	if (v2) {
		args.cgroup = open(in_cgroup(0, ""), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		args.flags = CLONE_INTO_CGROUP;
	}
	TRY(setns(pidfd, CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
		(v2 ? CLONE_NEWCGROUP : 0)));
	args.exit_signal = SIGCHLD;
	TRY(pid = syscall(SYS_clone3, &args, sizeof args));
	if (pid == 0) {
		for (int i = 0; !v2 && i < controller_count; i++)
			TRY(write(tasks[i], "0", 1));
		TRY(chdir("/"));
		become_true();
	}
	TRY(waitpid(pid, &status, 0));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	if (argc < 5)
		return 2;
	v2 = strcmp(argv[2], "v2") == 0;
	cgroup = argv[4];
	if (!v2)
		find_controllers();
	if (strcmp(argv[1], "exec") == 0)
		return join_init(atoi(argv[3]));
	rootfs = argv[3];
	return run(argc > 6 ? atoi(argv[5]) : 0, argc > 6 ? argv[6] : "");
}
