// A function run in a forked child, as servers fork after they have loaded: what it returns, or why it died.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

namespace igq::test {

/// body() -> exit code of the child, or 1000 + the signal that ended it; a child that hangs is ended by SIGALRM.
template <typename Body>
int in_child(const Body& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(120);
    int code = 99;
    try {
      code = body();
    } catch (...) {
      code = 98;
    }
    ::_exit(code);
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

}  // namespace igq::test
