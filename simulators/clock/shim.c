/* Bends the wall clock of a program and of its children, and what the kernel says about it.
 *
 * LD_PRELOAD this, with BENT_CLOCK naming a file of two 64-bit numbers in the machine's order: nanoseconds that are
 * added to the wall clock, and whether somebody disciplines it (0: nobody). Both are read at each call, so they can be
 * changed while the program runs. Monotonic clocks, sleeps and file times stay true, as on a board whose clock is set.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#define NS 1000000000LL
static const char flag[] = "/run/systemd/timesync/synchronized"; /* timesyncd's: not there, as far as we say */
static const volatile int64_t *bent;

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("BENT_CLOCK");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *found = mmap(NULL, 2 * sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (found != MAP_FAILED)
        bent = found;
}

int clock_gettime(clockid_t id, struct timespec *now)
{
    int failed = (int)syscall(SYS_clock_gettime, id, now);
    if (!failed && bent && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        int64_t wall = now->tv_sec * NS + now->tv_nsec + bent[0];
        now->tv_sec = wall / NS;
        now->tv_nsec = wall % NS;
    }
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *where)
{
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (where)
        *where = exact.tv_sec;
    return exact.tv_sec;
}

int adjtimex(struct timex *asked)
{
    int state = (int)syscall(SYS_adjtimex, asked);
    if (!bent)
        return state;
    asked->status = bent[1] ? asked->status & ~STA_UNSYNC : asked->status | STA_UNSYNC;
    return bent[1] ? TIME_OK : TIME_ERROR;
}

int fstatat(int folder, const char *restrict path, struct stat *restrict found, int how)
{
    if (bent && path && !strcmp(path, flag)) {
        errno = ENOENT;
        return -1;
    }
    return (int)syscall(SYS_newfstatat, folder, path, found, how);
}

int stat(const char *restrict path, struct stat *restrict found)
{
    return fstatat(AT_FDCWD, path, found, 0);
}
