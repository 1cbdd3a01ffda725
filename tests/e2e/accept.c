// A system that has nothing left: accept4 fails with the error whose number is in the file that
// ACCEPT_FAILS names, for as long as the file is there. Loaded before the C library.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int accept4(int listener, struct sockaddr *address, socklen_t *length, int flags) {
  char number[16] = {0};
  const char *path = getenv("ACCEPT_FAILS");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0)
    return syscall(SYS_accept4, listener, address, length, flags);
  ssize_t size = read(file, number, sizeof number - 1);
  close(file);
  errno = size > 0 ? atoi(number) : EIO;
  return -1;
}
