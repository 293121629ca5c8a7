// A process whose first thread rests in a stop of its tracer's, for ever, while another one counts. A timer wakes the other.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <time.h>
#include <unistd.h>

static timer_t timer;

static void wake(int signal) { (void)signal; }

static void *count(void *path) {
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    const struct itimerspec soon = {.it_value = {.tv_nsec = 50000000}};
    for (long number = 0;; number++) {
        char text[32];
        int length = snprintf(text, sizeof text, "%ld", number);
        if (pwrite(file, text, length, 0) != length) return 0;
        timer_settime(timer, 0, &soon, 0);
        usleep(10000);
    }
}

int main(int argc, char **argv) {
    if (argc != 2) return 1;
    if (fork() == 0) {
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGCONT};
        pthread_t thread;
        signal(SIGCONT, wake);
        timer_create(CLOCK_MONOTONIC, &event, &timer);
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        pthread_create(&thread, 0, count, argv[1]);
        usleep(100000);
        raise(SIGUSR1);
    }
    for (;;) pause();
}
