/* Says whether the session keyring has a key that somebody else has planted. */
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void) {
	/* KEYCTL_SEARCH of KEY_SPEC_SESSION_KEYRING */
	long key = syscall(SYS_keyctl, 10, -3, "user", "planted", 0);
	puts(key > 0 ? "planted" : "not there");
	return 0;
}
