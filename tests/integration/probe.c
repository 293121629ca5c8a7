/* Makes system calls as its arguments say, NUMBER[:ARGUMENT]... with all other arguments -1, and prints for each one the
 * errno, or 0. A number with an x in front is called by the 32-bit interface of x86. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static long narrow(long number, long *a) {
#ifdef __x86_64__
	long result;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4])
	                 : "memory", "r8", "r9", "r10", "r11");
	if ((int)result < 0) { errno = -(int)result; return -1; }
	return result;
#else
	errno = ENOSYS;
	return -1;
#endif
}

int main(int count, char **calls) {
	for (int i = 1; i < count; i++) {
		char *rest = calls[i];
		int is_narrow = *rest == 'x';
		long number = strtol(rest + is_narrow, &rest, 10);
		long a[6] = {-1, -1, -1, -1, -1, -1};
		for (int n = 0; *rest == ':' && n < 6; n++) a[n] = strtol(rest + 1, &rest, 0);
		errno = 0;
		long result = is_narrow ? narrow(number, a) : syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
		printf("%d\n", result == -1 ? errno : 0);
		fflush(stdout);
	}
	return 0;
}
