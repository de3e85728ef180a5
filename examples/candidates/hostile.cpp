// Candidates that no oracle should survive carelessly: each function breaks one rule of the C interface.
// SPDX-License-Identifier: MIT
//
// Their results are no attention: `fill` writes numbers made of q, so that nothing but the rule is broken.
#include <mta/oracle/c_api.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <stdexcept>
#if defined(_OPENMP)
#include <omp.h>
#endif

namespace {

std::int64_t size_of(const mta_tensor& t) {
    std::int64_t size = 1;
    for (int axis = 0; axis < t.ndim; ++axis)
        size *= t.shape[axis];
    return size;
}
float* data_of(const mta_tensor& t) {
    return static_cast<float*>(t.data);
}

// Writes out and grad.*, float32 and contiguous, and leaves the stages alone.
int fill(const mta_call* call) {
    const float* q = data_of(call->inputs[0]);
    const std::int64_t numbers = size_of(call->inputs[0]);
    for (int n = 0; n < call->n_outputs; ++n) {
        const mta_tensor& t = call->outputs[n];
        if (t.dtype != MTA_FLOAT32) return MTA_UNSUPPORTED;
        for (std::int64_t k = 0; std::strncmp(t.name, "stage.", 6) != 0 && k < size_of(t); ++k)
            data_of(t)[k] = numbers > 0 ? q[k % numbers] : 0.0f;
    }
    return MTA_OK;
}
// The compiler must not see through what is done on purpose.
template <class T>
T opaque(T value) {
    volatile T hidden = value;
    return hidden;
}
int say(const mta_call* call, int code, const char* why) {
    std::snprintf(call->message, call->message_size, "%s", why);
    return code;
}

}  // namespace

extern "C" {

int well_behaved(const mta_call* call) {
    return fill(call);
}

int writes_past_end(const mta_call* call) {
    fill(call);
    data_of(call->outputs[0])[opaque(size_of(call->outputs[0]))] = 1;
    return MTA_OK;
}
int writes_before_start(const mta_call* call) {
    fill(call);
    data_of(call->outputs[0])[opaque(-1)] = 1;
    return MTA_OK;
}
int writes_far_past_end(const mta_call* call) {
    fill(call);
    data_of(call->outputs[0])[opaque(size_of(call->outputs[0]) + 5000)] = 1;
    return MTA_OK;
}
int reads_past_end(const mta_call* call) {
    fill(call);
    const mta_tensor& k = call->inputs[1];
    float sum = 0;
    for (std::int64_t n = 0; n < 2000; ++n)
        sum += data_of(k)[opaque(size_of(k)) + n];
    return opaque(sum) > 0 ? MTA_OK : MTA_OK;
}
int changes_input(const mta_call* call) {
    fill(call);
    data_of(call->inputs[1])[2] += 1;
    return MTA_OK;
}
// Scales q in place and back again: nothing to see afterwards.
int borrows_input(const mta_call* call) {
    float* q = data_of(call->inputs[0]);
    const float before = q[0];
    q[0] = opaque(before * 2);
    q[0] = opaque(before);
    return fill(call);
}
int ignores_strides(const mta_call* call) {
    const mta_tensor& out = call->outputs[0];
    for (std::int64_t n = 0; n < size_of(out); ++n)
        data_of(out)[n] = data_of(call->inputs[0])[n];
    return MTA_OK;
}
// Refuses what it cannot do, as one should.
int refuses_strides(const mta_call* call) {
    const mta_tensor& q = call->inputs[0];
    if (q.ndim > 1 && q.stride[q.ndim - 2] != q.shape[q.ndim - 1])
        return say(call, MTA_UNSUPPORTED, "rows must be contiguous");
    return fill(call);
}
int needs_alignment(const mta_call* call) {
    if (reinterpret_cast<std::uintptr_t>(call->outputs[0].data) % 16 != 0) std::raise(SIGSEGV);
    return fill(call);
}

int writes_nothing(const mta_call*) {
    return MTA_OK;
}
int forgets_last_row(const mta_call* call) {
    const mta_tensor& out = call->outputs[0];
    for (std::int64_t n = 0; n < size_of(out) - out.shape[out.ndim - 1]; ++n)
        data_of(out)[n] = 1;
    return MTA_OK;
}
int adds_to_output(const mta_call* call) {
    const mta_tensor& out = call->outputs[0];
    for (std::int64_t n = 0; n < size_of(out); ++n)
        data_of(out)[n] += 1;
    return MTA_OK;
}
// A running maximum that was never initialised: NaN hides it, a number does not.
int keeps_larger(const mta_call* call) {
    const mta_tensor& out = call->outputs[0];
    for (std::int64_t n = 0; n < size_of(out); ++n)
        if (!(data_of(out)[n] > 1)) data_of(out)[n] = 1;
    return MTA_OK;
}
int writes_half_a_stage(const mta_call* call) {
    fill(call);
    for (int n = 0; n < call->n_outputs; ++n)
        if (std::strcmp(call->outputs[n].name, "stage.logits") == 0) data_of(call->outputs[n])[0] = 1;
    return MTA_OK;
}
int counts_its_calls(const mta_call* call) {
    static int calls = 0;
    fill(call);
    data_of(call->outputs[0])[0] = static_cast<float>(++calls);
    return MTA_OK;
}
int returns_nan(const mta_call* call) {
    fill(call);
    data_of(call->outputs[0])[0] = std::numeric_limits<float>::quiet_NaN();
    return MTA_OK;
}

int segfaults(const mta_call*) {
    *opaque(reinterpret_cast<int*>(std::uintptr_t{16})) = 1;
    return MTA_OK;
}
int aborts(const mta_call*) {
    std::abort();
}
int divides_by_zero(const mta_call* call) {
    return opaque(7) / opaque(call->n_inputs - call->n_inputs);
}
int overflows_stack(const mta_call* call) {
    volatile char frame[4096];
    frame[opaque(7)] = 1;
    if (opaque(call) == nullptr) return MTA_OK;  // never
    return overflows_stack(call) + frame[opaque(7)];
}
int exits(const mta_call*) {
    std::printf("first line\ngoodbye\n");
    std::exit(0);
}
int leaves_at_once(const mta_call*) {
    ::_exit(7);
}
int hangs(const mta_call*) {
    for (;;)
        ::usleep(1000);
}
int hangs_deaf(const mta_call*) {
    for (int signal = 1; signal < 32; ++signal)
        std::signal(signal, SIG_IGN);
    for (;;)
        ::usleep(1000);
}
int prints_forever(const mta_call*) {
    for (;;)
        std::puts("noise");
}
// Prints who it is that stays.
int leaves_a_process(const mta_call* call) {
    const pid_t pid = ::fork();
    if (pid == 0)
        for (;;)
            ::usleep(1000);
    std::printf("%d\n", static_cast<int>(pid));
    return fill(call);
}
int throws_error(const mta_call*) {
    throw std::runtime_error("no such head");
}
int throws_number(const mta_call*) {
    throw 42;
}
int returns_error(const mta_call* call) {
    return say(call, 17, "the device is gone");
}
int returns_silently(const mta_call*) {
    return MTA_ERROR;
}
int refuses(const mta_call* call) {
    return say(call, MTA_UNSUPPORTED, "only 8 heads");
}
int refuses_backward(const mta_call* call) {
    return say(call, MTA_UNSUPPORTED, "no gradients yet");
}
int floods_message(const mta_call* call) {
    std::memset(call->message, 'x', call->message_size);
    return MTA_ERROR;
}

int nondeterministic(const mta_call* call) {
    fill(call);
    const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
    data_of(call->outputs[0])[1] = static_cast<float>(now % 1000003) + static_cast<float>(::getpid());
    return MTA_OK;
}
// Fails when its threads did not run.
int uses_openmp(const mta_call* call) {
    std::atomic<int> threads{0};
#if defined(_OPENMP)
#pragma omp parallel num_threads(3)
    ++threads;
#else
    threads = 3;
#endif
    if (threads < 2) return MTA_ERROR;
    std::printf("%d threads\n", threads.load());
    return fill(call);
}

}  // extern "C"
