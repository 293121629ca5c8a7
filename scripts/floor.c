/* What the kernel charges for a container: as few calls as make the one that `rootlet spec` describes, with nothing read, looked
 * at, kept or said. It trusts its root file system, which no runtime may: it is a measure and nothing to use.
 *
 *     floor run ROOTFS             the container, and /bin/true in it
 *     floor binds ROOTFS SOURCE N  the same, with SOURCE bound at /data/0 to /data/N-1, each looked up inside the root
 *     floor exec PID               /bin/true in the container of PID
 *
 * Built without a C library, whose start would count: cc -O2 -static -nostdlib -ffreestanding. */
#include <asm/unistd.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/sched.h>

typedef unsigned long word;

static long call6(long number, word a, word b, word c, word d, word e, word f)
{
#if defined(__x86_64__)
    register word r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register word x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    register word x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
#else
#error "no system calls for this architecture"
#endif
}
#define CALL_(number, a, b, c, d, e, f, ...) call6(number, (word)(a), (word)(b), (word)(c), (word)(d), (word)(e), (word)(f))
#define CALL(name, ...) CALL_(__NR_##name, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
/* A call that must succeed: its line is the exit code. */
#define MUST(name, ...) must(CALL(name, __VA_ARGS__), __LINE__)

#define CWD (-100)
#define RDONLY 0
#define WRONLY 1
#define CLOEXEC 02000000
#if defined(__aarch64__)
#define DIRECTORY 040000
#else
#define DIRECTORY 0200000
#endif
#define PATH 010000000
#define EMPTY_PATH 0x1000
#define RECURSIVE 0x8000
#define SIGCHLD 17
#define S_IFREG 0100000

static long must(long result, int line)
{
    if (result < 0)
        CALL(exit_group, line & 127 ? line & 127 : 1);
    return result;
}

static word length(const char *text)
{
    word count = 0;
    while (text[count])
        count++;
    return count;
}

static char *append_number(char *end, word number)
{
    char digits[20];
    int count = 0;
    do
        digits[count++] = '0' + number % 10;
    while (number /= 10);
    while (count)
        *end++ = digits[--count];
    *end = 0;
    return end;
}

static void write_file(const char *path, const char *text)
{
    long fd = MUST(openat, CWD, path, WRONLY | CLOEXEC);
    MUST(write, fd, text, length(text));
    CALL(close, fd);
}

static void map_id(const char *path, word id)
{
    char line[32] = "0 ";
    char *end = append_number(line + 2, id);
    end[0] = ' ', end[1] = '1', end[2] = '\n', end[3] = 0;
    write_file(path, line);
}

static void drop_privileges(void)
{
    const word kept = 1u << CAP_AUDIT_WRITE | 1u << CAP_KILL | 1u << CAP_NET_BIND_SERVICE;
    for (word capability = 0; capability <= CAP_LAST_CAP; capability++)
        if (!(kept >> capability & 1))
            CALL(prctl, PR_CAPBSET_DROP, capability);
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct data[2] = { { kept, kept, 0 }, { 0, 0, 0 } };
    MUST(capset, &header, data);
    MUST(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static void execute(void)
{
    char *arguments[] = { "/bin/true", 0 };
    char *environment[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", "HOME=/root", 0 };
    MUST(execve, "/bin/true", arguments, environment);
}

static void bind_many(const char *source, word count)
{
    long root = MUST(openat, CWD, ".", PATH | DIRECTORY | CLOEXEC);
    struct open_how how = { .flags = PATH | CLOEXEC, .resolve = RESOLVE_IN_ROOT };
    for (word number = 0; number < count; number++) {
        char path[32] = "/data/", magic[32] = "/proc/self/fd/";
        append_number(path + 6, number);
        long place = MUST(openat2, root, path, &how, sizeof how);
        append_number(magic + 14, place);
        MUST(mount, source, magic, 0, MS_BIND | MS_REC, 0);
        CALL(close, place);
    }
}

static void make_root(const char *rootfs, const char *source, word count)
{
    static const char *const devices[] = { "null", "zero", "full", "random", "urandom", "tty" };
    static const char *const links[][2] = { { "pts/ptmx", "ptmx" }, { "/proc/self/fd", "fd" }, { "/proc/self/fd/0", "stdin" }, { "/proc/self/fd/1", "stdout" }, { "/proc/self/fd/2", "stderr" } };
    static const char *const readonly[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };
    static const char *const masked_files[] = { "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug" };
    static const char *const masked_directories[] = { "/proc/acpi", "/proc/asound", "/sys/firmware", "/proc/scsi" };

    MUST(mount, 0, "/", 0, MS_REC | MS_PRIVATE, 0);
    MUST(mount, rootfs, rootfs, 0, MS_BIND | MS_REC, 0);
    MUST(chdir, rootfs);
    MUST(mount, "proc", "proc", "proc", 0, 0);
    MUST(mount, "tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k");
    MUST(mkdirat, CWD, "dev/pts", 0755);
    MUST(mount, "devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620");
    MUST(mkdirat, CWD, "dev/shm", 0755);
    MUST(mount, "shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=65536k");
    MUST(mkdirat, CWD, "dev/mqueue", 0755);
    MUST(mount, "mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0);
    MUST(mount, "/sys", "sys", 0, MS_BIND | MS_REC, 0);
    struct mount_attr set = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC };
    MUST(mount_setattr, CWD, "sys", RECURSIVE, &set, sizeof set);
    for (word index = 0; index < sizeof devices / sizeof *devices; index++) {
        char to[32] = "dev/", from[32] = "/dev/";
        for (word at = 0; devices[index][at]; at++)
            to[4 + at] = from[5 + at] = devices[index][at];
        MUST(mknodat, CWD, to, S_IFREG | 0644, 0);
        MUST(mount, from, to, 0, MS_BIND, 0);
    }
    long dev = MUST(openat, CWD, "dev", PATH | CLOEXEC);
    for (word index = 0; index < sizeof links / sizeof *links; index++)
        MUST(symlinkat, links[index][0], dev, links[index][1]);
    if (count)
        bind_many(source, count);
    MUST(pivot_root, ".", ".");
    MUST(umount2, ".", 2 /* MNT_DETACH */);
    MUST(mount, 0, "/", 0, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NODEV, 0);
    for (word index = 0; index < sizeof readonly / sizeof *readonly; index++)
        if (CALL(mount, readonly[index], readonly[index], 0, MS_BIND | MS_REC, 0) == 0)
            MUST(mount, 0, readonly[index], 0, MS_REMOUNT | MS_BIND | MS_RDONLY, 0);
    for (word index = 0; index < sizeof masked_files / sizeof *masked_files; index++)
        CALL(mount, "/dev/null", masked_files[index], 0, MS_BIND, 0);
    const char *first = 0;
    for (word index = 0; index < sizeof masked_directories / sizeof *masked_directories; index++)
        if (first)
            CALL(mount, first, masked_directories[index], 0, MS_BIND, 0);
        else if (CALL(mount, "tmpfs", masked_directories[index], "tmpfs", MS_RDONLY, "nr_blocks=1,nr_inodes=1") == 0)
            first = masked_directories[index];
}

static long wait_for(long pid)
{
    int status = 0;
    MUST(wait4, pid, &status, 0, 0);
    return status & 127 ? 128 + (status & 127) : status >> 8;
}

/* fork, with namespaces. */
static long clone(word flags)
{
    return MUST(clone, flags | SIGCHLD, 0, 0, 0, 0);
}

static long run(const char *rootfs, const char *source, word count)
{
    word uid = CALL(geteuid, 0), gid = CALL(getegid, 0);
    long pid = clone(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS);
    if (pid)
        return wait_for(pid);
    write_file("/proc/self/setgroups", "deny");
    map_id("/proc/self/gid_map", gid);
    map_id("/proc/self/uid_map", uid);
    MUST(keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, 0);
    make_root(rootfs, source, count);
    MUST(sethostname, "rootlet", 7);
    MUST(setsid, 0);
    word limit[2] = { 1024, 1024 };
    MUST(prlimit64, 0, 7 /* RLIMIT_NOFILE */, limit, 0);
    drop_privileges();
    execute();
    return 1;
}

static long enter(word target)
{
    long pidfd = MUST(pidfd_open, target, 0);
    MUST(setns, pidfd, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS);
    long pid = clone(0);
    if (pid)
        return wait_for(pid);
    MUST(keyctl, 1, 0);
    MUST(setsid, 0);
    drop_privileges();
    execute();
    return 1;
}

static word number_of(const char *text)
{
    word number = 0;
    while (*text)
        number = number * 10 + (*text++ - '0');
    return number;
}

__attribute__((used)) static void begin(word *stack)
{
    word count = stack[0];
    char **arguments = (char **)(stack + 1);
    char verb = count > 2 ? arguments[1][0] : 0;
    long code = 2;
    if (verb == 'r')
        code = run(arguments[2], 0, 0);
    else if (verb == 'b' && count > 4)
        code = run(arguments[2], arguments[3], number_of(arguments[4]));
    else if (verb == 'e')
        code = enter(number_of(arguments[2]));
    CALL(exit_group, code);
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n mov %rsp, %rdi\n and $-16, %rsp\n call begin\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n mov x0, sp\n bl begin\n");
#endif
