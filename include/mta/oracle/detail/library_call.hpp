// One call of a candidate library in a child process, and what it made of the memory it was given.
// SPDX-License-Identifier: MIT
#pragma once

#include <dlfcn.h>

#include <csignal>
#include <filesystem>
#include <mta/oracle/detail/call_memory.hpp>
#include <mta/oracle/detail/child_process.hpp>

#if defined(__linux__)
#include <ucontext.h>
#endif

namespace mta::oracle::detail {

/// Which functions of which library.
struct LibraryNames {
    std::string path, symbol, backward_symbol;
};

/// What the child says; in shared memory.
struct CallRecord {
    enum Step : int { loading, resolving, forward, backward, done };
    std::atomic<int> step{loading};
    int code[2] = {0, 0};       // returned by forward, backward
    char message[2][512] = {};  // what they wrote about it
    std::atomic<bool> threw{false};
    char text[1024] = {};               // why loading failed, or what was thrown
    std::atomic<int> fault_buffer{-1};  // whose forbidden region was touched
    int fault_bytes = 0;                // 1 + offset from the end, or (negative) from the start; 0: inside
    bool fault_write = false;
};

inline void copy_text(char* into, std::size_t size, const char* text) {
    std::snprintf(into, size, "%s", text == nullptr ? "" : text);
}

// What the handler of memory faults looks through. Written before candidates run, read by the handler.
struct FaultWatch {
    struct Range {
        std::uintptr_t begin, data, data_end, end;
    };
    std::vector<Range> ranges;
    CallRecord* record = nullptr;
};
inline FaultWatch* fault_watch = nullptr;  // set in children only

inline bool fault_was_write([[maybe_unused]] void* context) {
#if defined(__linux__) && defined(__x86_64__)
    constexpr int error_register = 19;  // REG_ERR; the name needs _GNU_SOURCE everywhere
    return (static_cast<ucontext_t*>(context)->uc_mcontext.gregs[error_register] & 2) != 0;
#else
    return false;
#endif
}

// A fault beside a tensor becomes a record; any other one kills the process as it would have.
inline void on_fault(int signal, siginfo_t* info, void* context) {
    const auto at = reinterpret_cast<std::uintptr_t>(info->si_addr);
    for (std::size_t n = 0; n < fault_watch->ranges.size(); ++n) {
        const auto& r = fault_watch->ranges[n];
        if (at < r.begin || at >= r.end) continue;
        auto& record = *fault_watch->record;
        record.fault_bytes = at >= r.data_end ? static_cast<int>(at - r.data_end) + 1
                             : at < r.data    ? -static_cast<int>(r.data - at)
                                              : 0;
        record.fault_write = fault_was_write(context);
        record.fault_buffer = static_cast<int>(n);
        ::_exit(1);
    }
    ::signal(signal, SIG_DFL);
    ::raise(signal);  // delivered when this handler returns, also where no instruction would fault again
}

inline void watch_faults(FaultWatch& watch) {
    fault_watch = &watch;
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    ::sigaction(SIGSEGV, &action, nullptr);
    ::sigaction(SIGBUS, &action, nullptr);
}

/// The C structs of one call; valid while the memory and the configuration are.
class PreparedCall {
  public:
    PreparedCall(const CallMemory& memory, const CallConfig& config, bool backward, CallRecord& record)
        : inputs_{tensors(memory.inputs(), /*with_d_out=*/backward)},
          outputs_{tensors(memory.outputs(backward), true)} {
        call_.abi_version = MTA_ABI_VERSION;
        call_.size = sizeof call_;
        call_.n_inputs = static_cast<std::int32_t>(inputs_.size());
        call_.inputs = inputs_.data();
        call_.n_outputs = static_cast<std::int32_t>(outputs_.size());
        call_.outputs = outputs_.data();
        call_.config_json = config.json();
        call_.config = config.numbers();
        call_.message = record.message[backward ? 1 : 0];
        call_.message_size = sizeof record.message[0];
    }
    PreparedCall(const PreparedCall&) = delete;
    PreparedCall& operator=(const PreparedCall&) = delete;

    const mta_call* get() const { return &call_; }

  private:
    static std::vector<mta_tensor> tensors(const std::deque<GuardedBuffer>& buffers, bool with_d_out) {
        std::vector<mta_tensor> all;
        for (const auto& b : buffers) {
            if (!with_d_out && b.plan().name == "d_out") continue;
            all.push_back({b.plan().name.c_str(), b.data(), dtype_code(b.plan().dtype),
                           static_cast<std::int32_t>(b.plan().shape.size()), b.plan().shape.data(),
                           b.stride().data()});
        }
        return all;
    }

    std::vector<mta_tensor> inputs_, outputs_;
    mta_call call_{};
};

/// A file of this name is meant before a library of this name on the loader's search path.
inline std::string loader_path(const std::string& path) {
    std::error_code none;
    const auto absolute = std::filesystem::absolute(path, none);
    return !none && std::filesystem::exists(absolute, none) ? absolute.native() : path;
}

inline mta_function find_function(void* library, const std::string& symbol, CallRecord& record) {
    void* found = ::dlsym(library, symbol.c_str());
    if (found == nullptr) copy_text(record.text, sizeof record.text, symbol.c_str());
    mta_function function = nullptr;
    std::memcpy(&function, &found, sizeof function);
    return function;
}

struct LoadedFunctions {
    mta_function forward = nullptr, backward = nullptr;
};

/// In the child: loads the library and finds its functions, or leaves the record at the step that failed.
inline LoadedFunctions load_functions(const LibraryNames& names, CallRecord& record) {
    LoadedFunctions functions;
    void* library = ::dlopen(loader_path(names.path).c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        copy_text(record.text, sizeof record.text, ::dlerror());
        return {};
    }
    record.step = CallRecord::resolving;
    functions.forward = find_function(library, names.symbol, record);
    if (functions.forward != nullptr && !names.backward_symbol.empty()) {
        functions.backward = find_function(library, names.backward_symbol, record);
        if (functions.backward == nullptr) return {};
    }
    return functions;
}

/// Runs foreign code, `repeats` times each. Never throws.
inline void call_functions(const LoadedFunctions& functions, const mta_call* forward,
                           const mta_call* backward, int repeats, CallRecord& record) noexcept {
    try {
        record.step = CallRecord::forward;
        for (int n = 0; n < repeats && record.code[0] == MTA_OK; ++n)
            record.code[0] = functions.forward(forward);
        if (record.code[0] == MTA_OK && functions.backward != nullptr && backward != nullptr) {
            record.step = CallRecord::backward;
            for (int n = 0; n < repeats && record.code[1] == MTA_OK; ++n)
                record.code[1] = functions.backward(backward);
        }
        record.step = CallRecord::done;
    } catch (const std::exception& error) {
        copy_text(record.text, sizeof record.text, error.what());
        record.threw = true;
    } catch (...) {
        copy_text(record.text, sizeof record.text, "something that is no std::exception");
        record.threw = true;
    }
}

/// In the child: as far as finding the functions; true when they are there. Never throws.
inline bool load_without_throwing(const LibraryNames& names, CallRecord& record,
                                  LoadedFunctions& functions) noexcept {
    try {
        functions = load_functions(names, record);
    } catch (...) {
        copy_text(record.text, sizeof record.text, "its initialisation threw an exception");
        record.step = CallRecord::loading;
        functions = {};
    }
    return functions.forward != nullptr;
}

}  // namespace mta::oracle::detail
