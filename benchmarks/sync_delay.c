/* Makes every fsync and fdatasync of a process later by SYNC_DELAY_MS milliseconds, or by as many as stand in
   the file SYNC_DELAY_FILE at that moment; for LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double delay_ms(void) {
    const char *text = getenv("SYNC_DELAY_MS"), *path = getenv("SYNC_DELAY_FILE");
    double ms = text ? atof(text) : 0;
    FILE *file = path ? fopen(path, "r") : NULL;
    if (file) {
        if (fscanf(file, "%lf", &ms) != 1) ms = 0;
        fclose(file);
    }
    return ms;
}

static void delay(void) {
    double ms = delay_ms();
    struct timespec left = {(time_t)(ms / 1000), (long)(ms * 1e6) % 1000000000};
    while (ms > 0 && nanosleep(&left, &left) == -1 && errno == EINTR) {}
}

int fsync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    delay();
    return real(fd);
}

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    delay();
    return real(fd);
}
