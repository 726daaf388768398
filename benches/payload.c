/* What runs in the containers of the benchmarks: it ends at once, or, with an argument, never by itself. */
#include <unistd.h>

int main(int argc, char **argv)
{
	(void)argv;
	while (argc > 1)
		pause();
	return 0;
}
