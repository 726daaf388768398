/* Run a command and tell what it took: a program this small adds nothing to the peak memory that the kernel counts for
 * its children, as the driver would.
 *
 *   spawn [-n COUNT] [-j JOBS] COMMAND ARGUMENT…
 *
 * Runs it COUNT times, at most JOBS at a time, with `%` in an argument replaced by the number of the run. Prints
 * nanoseconds, microseconds of CPU, KiB of the largest process, page faults, context switches, failures. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static long long now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* The arguments of one run. */
static char **numbered(char **argv, int number)
{
	static char *args[64], texts[64][256];
	int i;
	for (i = 0; argv[i] && i < 63; i++) {
		char *place = strchr(argv[i], '%');
		args[i] = argv[i];
		if (place) {
			snprintf(texts[i], sizeof texts[i], "%.*s%d%s", (int)(place - argv[i]), argv[i], number, place + 1);
			args[i] = texts[i];
		}
	}
	args[i] = 0;
	return args;
}

int main(int argc, char **argv)
{
	int option, count = 1, jobs = 1, running = 0, failures = 0, status;
	posix_spawn_file_actions_t actions;
	struct rusage usage;
	while ((option = getopt(argc, argv, "+n:j:")) > 0) {
		if (option == 'n')
			count = atoi(optarg);
		else if (option == 'j')
			jobs = atoi(optarg);
		else
			return 2;
	}
	argv += optind;
	alarm(60);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	long long start = now();
	for (int i = 0; i < count || running; ) {
		if (i < count && running < jobs) {
			pid_t pid;
			if (posix_spawn(&pid, argv[0], &actions, 0, count > 1 ? numbered(argv, i) : argv, environ))
				return 3;
			i++, running++;
		} else if (wait(&status) > 0) {
			running--;
			failures += status != 0;
		}
	}
	long long end = now();
	getrusage(RUSAGE_CHILDREN, &usage);
	printf("%lld %lld %ld %ld %ld %d\n", end - start,
		(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000LL + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec,
		usage.ru_maxrss, usage.ru_minflt, usage.ru_nvcsw + usage.ru_nivcsw, failures);
	return 0;
}
