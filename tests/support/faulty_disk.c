/* A disk that fails or hangs on demand, for LD_PRELOAD.
 *
 * Calls on files with FAULTY_DISK_FILES in their path look for a file FAULTY_DISK_FAULTS/CALL first, such as
 * /tmp/x/fsync. If it holds "hang", they wait until it is gone; if it holds "grant", they succeed and do nothing;
 * otherwise it holds the error number with which they fail.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum { GO_ON = 0, GRANT = -1 };

static int fault(const char *call) {
    const char *faults = getenv("FAULTY_DISK_FAULTS");
    char path[4096], text[16];
    if (faults == NULL)
        return GO_ON;
    snprintf(path, sizeof path, "%s/%s", faults, call);
    for (;;) {
        int file = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
        if (file < 0)
            return GO_ON;
        ssize_t length = read(file, text, sizeof text - 1);
        syscall(SYS_close, file);
        text[length > 0 ? length : 0] = '\0';
        if (strcmp(text, "grant") == 0)
            return GRANT;
        if (strcmp(text, "hang") != 0)
            return atoi(text);
        usleep(20000);
    }
}

static int fault_at(const char *call, const char *path) {
    const char *files = getenv("FAULTY_DISK_FILES");
    return files != NULL && path != NULL && strstr(path, files) != NULL ? fault(call) : GO_ON;
}

static int fault_of(const char *call, int file) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return GO_ON;
    path[length] = '\0';
    return fault_at(call, path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define RETURN_FAULT(found)           \
    do {                              \
        int error = (found);          \
        if (error == GRANT)           \
            return 0;                 \
        if (error != GO_ON) {         \
            errno = error;            \
            return -1;                \
        }                             \
    } while (0)

#define OPENING(name)                                             \
    int name(const char *path, int flags, ...) {                  \
        va_list arguments;                                        \
        va_start(arguments, flags);                               \
        mode_t mode = va_arg(arguments, mode_t);                  \
        va_end(arguments);                                        \
        RETURN_FAULT(fault_at("open", path));                     \
        return REAL(name)(path, flags, mode);                     \
    }

OPENING(open)
OPENING(open64)

int flock(int file, int operation) {
    RETURN_FAULT(fault_of("flock", file));
    return ((int (*)(int, int))dlsym(RTLD_NEXT, "flock"))(file, operation);
}

int fsync(int file) {
    RETURN_FAULT(fault_of("fsync", file));
    return REAL(fsync)(file);
}

int fdatasync(int file) {
    RETURN_FAULT(fault_of("fsync", file));
    return REAL(fdatasync)(file);
}

int statvfs(const char *path, struct statvfs *figures) {
    RETURN_FAULT(fault_at("statvfs", path));
    return REAL(statvfs)(path, figures);
}

int statvfs64(const char *path, struct statvfs64 *figures) {
    RETURN_FAULT(fault_at("statvfs", path));
    return REAL(statvfs64)(path, figures);
}
