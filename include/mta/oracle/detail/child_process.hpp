// Runs work in a child process, so that whatever it does is contained: crash, exit, hang, output, memory.
// SPDX-License-Identifier: MIT
//
// The child is a fork of this process with a process group of its own, /dev/null as standard input and a pipe
// as standard output and error. It is killed with its group when the time is up, when it ended and left
// somebody behind, and (Linux) when this process dies.
// OpenMP    A forked child inherits libgomp's record of threads that do not exist in it, and waits for them for
//           ever. The record belongs to the thread that forked, so `work` runs on a fresh thread of the child,
//           for which libgomp makes a new pool; libomp resets itself at fork. Do not fork while another thread
//           of this process is starting threads.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <new>
#include <string>
#include <utility>

namespace mta::oracle::detail {

/// One T in memory that child processes share.
template <class T>
class Shared {
  public:
    Shared() {
        void* map = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (map == MAP_FAILED) throw std::bad_alloc();
        value_ = new (map) T{};
    }
    Shared(const Shared&) = delete;
    Shared& operator=(const Shared&) = delete;
    ~Shared() { ::munmap(value_, sizeof(T)); }
    T* operator->() const { return value_; }
    T& operator*() const { return *value_; }

  private:
    T* value_;
};

/// How a child ended.
struct ChildEnd {
    enum class How { finished, exited, signalled, timed_out, not_started } how = How::finished;
    int number = 0;      // the exit status, signal or errno
    std::string output;  // the end of what it printed
};

struct ChildState {
    std::atomic<bool> finished{false};
};

// Handlers that this process registered are not the child's business: they might remove its files.
inline void leave_without_handlers(int status, void*) {
    std::fflush(nullptr);
    ::_exit(status);
}

struct ChildWork {
    const std::function<void()>* work;
    ChildState* state;
};

inline void* run_child_work(void* argument) {
    const auto* child = static_cast<ChildWork*>(argument);
    (*child->work)();
    child->state->finished = true;
    return nullptr;
}

inline void become_child(int output, pid_t parent) {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    const int nothing = ::open("/dev/null", O_RDONLY);
    ::dup2(nothing, 0);
    ::dup2(output, 1);
    ::dup2(output, 2);
    for (int signal = 1; signal < NSIG; ++signal)
        ::signal(signal, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // what was printed before a crash is kept
#if defined(__GLIBC__)
    ::on_exit(leave_without_handlers, nullptr);
#endif
}

[[noreturn]] inline void child_main(ChildWork& work, int output, pid_t parent) {
    become_child(output, parent);
    pthread_attr_t attributes;
    pthread_t thread;
    ::pthread_attr_init(&attributes);
    ::pthread_attr_setstacksize(&attributes, std::size_t{64} << 20);
    if (::pthread_create(&thread, &attributes, run_child_work, &work) == 0) ::pthread_join(thread, nullptr);
    std::fflush(nullptr);
    ::_exit(0);
}

// Reads what is there, at most 64 KiB, and keeps its end. Returns false when nothing will come any more.
inline bool drain(int fd, std::string& tail) {
    char chunk[4096];
    for (int n = 0; n < 16; ++n) {
        const auto got = ::read(fd, chunk, sizeof chunk);
        if (got == 0) return false;
        if (got < 0) return errno == EAGAIN || errno == EINTR;
        tail.append(chunk, static_cast<std::size_t>(got));
        if (tail.size() > 8192) tail.erase(0, tail.size() - 4096);
    }
    return true;
}

// True once the child has ended; false when the time is up. The child is not reaped.
inline bool await_end(pid_t pid, int output, double seconds, std::string& tail) {
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    bool open = true;
    for (int slice = 1;; slice = std::min(slice + 1, 20)) {
        if (open) open = drain(output, tail);
        siginfo_t info{};
        const int waited = ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT);
        if ((waited == 0 && info.si_pid == pid) || (waited < 0 && errno == ECHILD)) break;
        if (std::chrono::duration<double>(Clock::now() - start).count() >= seconds) return false;
        pollfd watched{output, POLLIN, 0};
        ::poll(&watched, open ? 1 : 0, open ? slice : std::min(slice, 2));
    }
    if (open) drain(output, tail);
    return true;
}

/// Runs `work`, which must not throw, in a child; waits at most `seconds`.
inline ChildEnd run_in_child(const std::function<void()>& work, double seconds) {
    Shared<ChildState> state;
    ChildWork child{&work, &*state};
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return {ChildEnd::How::not_started, errno, {}};
    std::fflush(nullptr);  // or the child would print what this process has not printed yet
    const pid_t parent = ::getpid(), pid = ::fork();
    if (pid == 0) child_main(child, ends[1], parent);
    const int error = errno;
    ::close(ends[1]);
    if (pid < 0) {
        ::close(ends[0]);
        return {ChildEnd::How::not_started, error, {}};
    }
    ::setpgid(pid, pid);
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
    ChildEnd end;
    const bool ended = await_end(pid, ends[0], seconds, end.output);
    ::kill(-pid, SIGKILL);  // also whom it started
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    ::close(ends[0]);
    if (!ended)
        end.how = ChildEnd::How::timed_out;
    else if (WIFSIGNALED(status))
        end.how = ChildEnd::How::signalled, end.number = WTERMSIG(status);
    else if (!state->finished)
        end.how = ChildEnd::How::exited, end.number = WEXITSTATUS(status);
    return end;
}

/// "SIGSEGV (Segmentation fault)"
inline std::string signal_text(int signal) {
    constexpr std::pair<int, const char*> names[] = {
        {SIGSEGV, "SIGSEGV"}, {SIGABRT, "SIGABRT"}, {SIGFPE, "SIGFPE"},   {SIGILL, "SIGILL"},
        {SIGBUS, "SIGBUS"},   {SIGKILL, "SIGKILL"}, {SIGTERM, "SIGTERM"}, {SIGTRAP, "SIGTRAP"},
        {SIGSYS, "SIGSYS"},   {SIGPIPE, "SIGPIPE"}, {SIGXCPU, "SIGXCPU"}, {SIGALRM, "SIGALRM"}};
    for (const auto& [number, name] : names)
        if (number == signal) return std::string(name) + " (" + ::strsignal(signal) + ")";
    return "signal " + std::to_string(signal);
}

}  // namespace mta::oracle::detail
