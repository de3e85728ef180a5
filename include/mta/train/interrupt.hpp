// Ctrl-C and SIGTERM while training: finish the step, save, leave; a second one ends the process at once.
// SPDX-License-Identifier: MIT
//
// Traps  1. The handler only sets a flag: nothing else is safe inside one. Who trains asks between two steps.
//        2. At most one Interrupt at a time: signals belong to the whole process.
//        3. Installed even where the signal was ignored before, as in jobs that a script starts in the background:
//           a run that is told to stop saves.
#pragma once

#include <atomic>
#include <csignal>
#include <mta/core/require.hpp>

namespace mta::train {

/// The exit code of a program that was interrupted: 128 + SIGINT, as shells count.
inline constexpr int interrupted_exit_code = 130;

namespace detail {
inline std::atomic<int> interrupt_signal{0};
inline std::atomic<bool> interrupt_installed{false};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may use lock-free atomics only");

extern "C" inline void mta_train_note_interrupt(int signal) {
    if (interrupt_signal.exchange(signal) == 0) return;
    std::signal(signal, SIG_DFL);
    std::raise(signal);
}
}  // namespace detail

/// While it lives, SIGINT and SIGTERM are noted; what was installed before comes back at the end.
class Interrupt {
  public:
    /// Throws ValueError when another one lives.
    Interrupt() {
        require<ValueError>(!detail::interrupt_installed.exchange(true),
                            "Interrupt: got a second one, expected one at a time");
        detail::interrupt_signal = 0;
        struct ::sigaction action {};
        action.sa_handler = detail::mta_train_note_interrupt;
        action.sa_flags = SA_RESTART;  // a write that is under way goes on
        ::sigemptyset(&action.sa_mask);
        ::sigaction(SIGINT, &action, &int_before_);
        ::sigaction(SIGTERM, &action, &term_before_);
    }
    Interrupt(const Interrupt&) = delete;
    Interrupt& operator=(const Interrupt&) = delete;
    ~Interrupt() {
        ::sigaction(SIGINT, &int_before_, nullptr);
        ::sigaction(SIGTERM, &term_before_, nullptr);
        detail::interrupt_installed = false;
    }

    /// Whether a signal has come.
    bool requested() const { return detail::interrupt_signal != 0; }

  private:
    struct ::sigaction int_before_ {};
    struct ::sigaction term_before_ {};
};

}  // namespace mta::train
