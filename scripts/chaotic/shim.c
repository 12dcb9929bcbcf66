/* Faults at the file-system calls of one process: loaded with LD_PRELOAD, armed by chaos_arm.
 *
 * It counts the calls that touch files under the watched folders, by whoever makes them: Python, SQLite, the writer of
 * safetensors. At the call that the plan names it kills the process, tears a write, or lets the call fail; a full disk
 * and lost rights last until the process ends. Calls that go straight into the kernel (mmap of SQLite's index, file
 * locks) are not seen.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { OPEN, CREATE, READ, WRITE, SYNC, RENAME, UNLINK, MKDIR, TRUNCATE, CHMOD, KINDS };
enum { NOT_OURS, A_FILE, OF_SQLITE };  /* SQLite's calls are counted apart: there are ten times as many */
enum { NOTHING, KILL, FAIL, FAIL_ON, TORN, CLOCK };

static const char *NAMES[KINDS] = {"open", "create", "read", "write", "sync", "rename", "unlink", "mkdir", "truncate",
                                   "chmod"};

static char watched[4096];
static int action, error_number, report = -1;
static unsigned mask, lasting;
static long at, shift;
static atomic_long counts[2 * KINDS], matched;
static atomic_int struck;
#define MOST 65536
static _Atomic char ours[MOST];

#define REAL(type, name) static type (*real_##name)(); if (!real_##name) real_##name = (type (*)())dlsym(RTLD_NEXT, #name)

void chaos_arm(int what, int number, long call, unsigned of, unsigned on, long seconds, const char *folders, int fd) {
    strncpy(watched, folders, sizeof watched - 1);
    action = what;
    error_number = number;
    at = call;
    mask = of;
    lasting = on;
    shift = seconds;
    report = fd;
    for (int kind = 0; kind < 2 * KINDS; kind++) counts[kind] = 0;
    matched = 0;
    struck = 0;
}

long chaos_count(int kind) { return counts[kind]; }

/* What a path is, by the folders, which stand one a line. */
static int within(int folder, const char *path) {
    if (!watched[0] || !path) return NOT_OURS;
    int kind = strstr(path, ".sqlite") ? OF_SQLITE : A_FILE;
    if (path[0] != '/') return folder >= 0 && folder < MOST && ours[folder] ? kind : NOT_OURS;
    for (const char *one = watched; *one;) {
        size_t length = strcspn(one, "\n");
        if (length && !strncmp(path, one, length) && (path[length] == '/' || !path[length])) return kind;
        one += length + (one[length] == '\n');
    }
    return NOT_OURS;
}

static int holds(int fd) { return fd >= 0 && fd < MOST ? ours[fd] : NOT_OURS; }

static void tell(int kind, const char *path, int fd) {
    char name[PATH_MAX] = "", line[PATH_MAX + 64], link[32];
    if (path) strncpy(name, path, sizeof name - 1);
    else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (readlink(link, name, sizeof name - 1) < 0) name[0] = 0;
    }
    int length = snprintf(line, sizeof line, "%s %s\n", NAMES[kind % KINDS], name);
    if (report >= 0) syscall(SYS_write, report, line, (size_t)length);
}

/* Count a call on one of our files; return the errno that it must fail with, -1 for a write to be torn, or 0. */
static int strikes(int own, int kind, const char *path, int fd) {
    if (own == OF_SQLITE) kind += KINDS;
    counts[kind]++;
    if (!action) return 0;
    if (action == FAIL_ON && struck) return lasting & (1u << kind) ? error_number : 0;
    if (!(mask & (1u << kind)) || ++matched != at) return 0;
    struck = 1;
    tell(kind, path, fd);
    if (action == KILL) kill(getpid(), SIGKILL);
    if (action == TORN) return -1;
    return action == CLOCK ? 0 : error_number;
}

#define FAILS(own, kind, path, fd) { int is = own; if (is) { int number = strikes(is, kind, path, fd); if (number > 0) { errno = number; return -1; } } }

static void keep(int fd, int own) { if (fd >= 0 && fd < MOST) ours[fd] = (char)own; }

static int opened(int folder, const char *path, int flags, mode_t mode) {
    int own = within(folder, path);
    if (own) {
        struct stat told;
        int made = (flags & O_CREAT) && fstatat(folder, path, &told, 0) < 0;
        FAILS(own, made ? CREATE : OPEN, path, -1);
    }
    int fd = (int)syscall(SYS_openat, folder, path, flags, mode);
    keep(fd, own);
    return fd;
}

#define MODE(flags) mode_t mode = 0; if ((flags) & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }
int open(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE(flags) return opened(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE(flags) return opened(folder, path, flags, mode); }

int close(int fd) { keep(fd, 0); return (int)syscall(SYS_close, fd); }
int dup(int fd) { REAL(int, dup); int made = real_dup(fd); keep(made, holds(fd)); return made; }

ssize_t read(int fd, void *to, size_t count) {
    FAILS(holds(fd), READ, NULL, fd);
    REAL(ssize_t, read); return real_read(fd, to, count);
}
ssize_t pread(int fd, void *to, size_t count, off_t from) {
    FAILS(holds(fd), READ, NULL, fd);
    REAL(ssize_t, pread); return real_pread(fd, to, count, from);
}
ssize_t pread64(int fd, void *to, size_t count, off64_t from) {
    FAILS(holds(fd), READ, NULL, fd);
    REAL(ssize_t, pread64); return real_pread64(fd, to, count, from);
}

#define TEAR(half) { int is = holds(fd), number = is ? strikes(is, WRITE, NULL, fd) : 0; if (number > 0) { errno = number; return -1; } if (number < 0) { half; kill(getpid(), SIGKILL); } }
ssize_t write(int fd, const void *from, size_t count) {
    TEAR(syscall(SYS_write, fd, from, count / 2));
    REAL(ssize_t, write); return real_write(fd, from, count);
}
ssize_t pwrite(int fd, const void *from, size_t count, off_t to) {
    TEAR(syscall(SYS_pwrite64, fd, from, count / 2, to));
    REAL(ssize_t, pwrite); return real_pwrite(fd, from, count, to);
}
ssize_t pwrite64(int fd, const void *from, size_t count, off64_t to) {
    TEAR(syscall(SYS_pwrite64, fd, from, count / 2, to));
    REAL(ssize_t, pwrite64); return real_pwrite64(fd, from, count, to);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    TEAR(syscall(SYS_writev, fd, parts, count / 2));
    REAL(ssize_t, writev); return real_writev(fd, parts, count);
}
ssize_t sendfile(int fd, int from, off_t *start, size_t count) {
    TEAR(syscall(SYS_sendfile, fd, from, start, count / 2));
    REAL(ssize_t, sendfile); return real_sendfile(fd, from, start, count);
}
ssize_t sendfile64(int fd, int from, off64_t *start, size_t count) {
    TEAR(syscall(SYS_sendfile, fd, from, start, count / 2));
    REAL(ssize_t, sendfile64); return real_sendfile64(fd, from, start, count);
}

int fsync(int fd) { FAILS(holds(fd), SYNC, NULL, fd); REAL(int, fsync); return real_fsync(fd); }
int fdatasync(int fd) { FAILS(holds(fd), SYNC, NULL, fd); REAL(int, fdatasync); return real_fdatasync(fd); }

int rename(const char *from, const char *to) {
    FAILS(within(AT_FDCWD, to), RENAME, to, -1);
    REAL(int, rename); return real_rename(from, to);
}
int renameat(int of, const char *from, int in, const char *to) {
    FAILS(within(in, to), RENAME, to, -1);
    REAL(int, renameat); return real_renameat(of, from, in, to);
}
int unlink(const char *path) {
    FAILS(within(AT_FDCWD, path), UNLINK, path, -1);
    REAL(int, unlink); return real_unlink(path);
}
int unlinkat(int folder, const char *path, int flags) {
    FAILS(within(folder, path), UNLINK, path, -1);
    REAL(int, unlinkat); return real_unlinkat(folder, path, flags);
}
int rmdir(const char *path) {
    FAILS(within(AT_FDCWD, path), UNLINK, path, -1);
    REAL(int, rmdir); return real_rmdir(path);
}
int mkdir(const char *path, mode_t mode) {
    FAILS(within(AT_FDCWD, path), MKDIR, path, -1);
    REAL(int, mkdir); return real_mkdir(path, mode);
}
int mkdirat(int folder, const char *path, mode_t mode) {
    FAILS(within(folder, path), MKDIR, path, -1);
    REAL(int, mkdirat); return real_mkdirat(folder, path, mode);
}
int ftruncate(int fd, off_t length) {
    FAILS(holds(fd), TRUNCATE, NULL, fd);
    REAL(int, ftruncate); return real_ftruncate(fd, length);
}
int ftruncate64(int fd, off64_t length) {
    FAILS(holds(fd), TRUNCATE, NULL, fd);
    REAL(int, ftruncate64); return real_ftruncate64(fd, length);
}
int chmod(const char *path, mode_t mode) {
    FAILS(within(AT_FDCWD, path), CHMOD, path, -1);
    REAL(int, chmod); return real_chmod(path, mode);
}

static long moved(void) { return action == CLOCK && struck ? shift : 0; }

int clock_gettime(clockid_t which, struct timespec *told) {
    REAL(int, clock_gettime);
    int done = real_clock_gettime(which, told);
    if (!done && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) told->tv_sec += moved();
    return done;
}
int gettimeofday(struct timeval *restrict told, void *restrict zone) {
    REAL(int, gettimeofday);
    int done = real_gettimeofday(told, zone);
    if (!done) told->tv_sec += moved();
    return done;
}
time_t time(time_t *told) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (told) *told = now.tv_sec;
    return now.tv_sec;
}
