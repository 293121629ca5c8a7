/* The oracle of tests/seccomp.rs: builds a filter with libseccomp, and writes its program to standard output.
 *
 * Standard input, one item a line:
 *   default ACTION
 *   arch NAME
 *   rule ACTION NAME [INDEX OPERATOR VALUE VALUE_TWO]...
 * Actions and operators are numbers of libseccomp. A name that libseccomp does not know is passed over,
 * and written to standard error.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
	char line[4096];
	scmp_filter_ctx ctx = NULL;
	while (fgets(line, sizeof line, stdin)) {
		char *word = strtok(line, " \n");
		if (strcmp(word, "default") == 0) {
			ctx = seccomp_init(strtoul(strtok(NULL, " \n"), NULL, 0));
			if (ctx == NULL) return 2;
		} else if (strcmp(word, "arch") == 0) {
			int rc = seccomp_arch_add(ctx, seccomp_arch_resolve_name(strtok(NULL, " \n")));
			if (rc != 0 && rc != -EEXIST) return 3;
		} else {
			struct scmp_arg_cmp args[6];
			unsigned count = 0;
			uint32_t action = strtoul(strtok(NULL, " \n"), NULL, 0);
			char *name = strtok(NULL, " \n");
			int number = seccomp_syscall_resolve_name(name);
			if (number == __NR_SCMP_ERROR) {
				fprintf(stderr, "unknown %s\n", name);
				continue;
			}
			for (char *index; (index = strtok(NULL, " \n")) != NULL; count++) {
				args[count].arg = strtoul(index, NULL, 0);
				args[count].op = strtoul(strtok(NULL, " \n"), NULL, 0);
				args[count].datum_a = strtoull(strtok(NULL, " \n"), NULL, 0);
				args[count].datum_b = strtoull(strtok(NULL, " \n"), NULL, 0);
			}
			int rc = seccomp_rule_add_array(ctx, action, number, count, args);
			if (rc != 0 && rc != -EEXIST && rc != -EDOM) {
				fprintf(stderr, "rule: %s\n", strerror(-rc));
				return 4;
			}
		}
	}
	return seccomp_export_bpf(ctx, 1) == 0 ? 0 : 5;
}
