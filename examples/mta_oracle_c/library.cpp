// libmta_oracle: the reference, cases and the check behind the C interface.
// SPDX-License-Identifier: MIT
#include "call_tensors.hpp"
#include "mta_oracle.h"

#include <cstdlib>
#include <mta/oracle/check.hpp>
#include <mta/oracle/library_candidate.hpp>
#include <mta/oracle/report.hpp>
#include <mta/oracle/suites.hpp>

using namespace mta;
using oracle::ExitCode;

struct mta_oracle_problem {
    explicit mta_oracle_problem(oracle::Problem made)
        : problem{std::move(made)},
          config{problem},
          memory{problem, true, true, {}},
          forward{memory, config, false, record},
          backward{memory, config, true, record} {}

    oracle::Problem problem;
    oracle::detail::CallConfig config;
    oracle::detail::CallMemory memory;
    oracle::detail::CallRecord record;
    oracle::detail::PreparedCall forward, backward;
};

namespace {

thread_local std::string last_error;

// The exit code of what `f` throws, or what it returns; its sentence becomes the last error.
template <class F>
int guarded(F&& f) noexcept {
    const auto fail = [](ExitCode code, const char* sentence) {
        last_error = sentence;
        return static_cast<int>(code);
    };
    try {
        last_error.clear();
        return f();
    } catch (const io::FileError& error) {
        return fail(ExitCode::file, error.what());
    } catch (const oracle::UnsupportedError& error) {
        return fail(ExitCode::unsupported, error.what());
    } catch (const ArgumentError& error) {
        return fail(ExitCode::usage, error.what());
    } catch (const std::bad_alloc&) {
        return fail(ExitCode::unsupported, "out of memory, expected a smaller case");
    } catch (const std::exception& error) {
        return fail(ExitCode::self_check, error.what());
    } catch (...) {
        return fail(ExitCode::self_check, "something that is no std::exception");
    }
}

template <class T>
T& not_null(T* pointer, std::string_view name) {
    require<ArgumentError>(pointer != nullptr, name, ": got null, expected a pointer");
    return *pointer;
}

// A copy that the caller frees; nothing where it wants none.
void give(char** to, const std::string& text) {
    if (to == nullptr) return;
    *to = static_cast<char*>(std::malloc(text.size() + 1));
    if (*to == nullptr) throw std::bad_alloc();
    std::memcpy(*to, text.c_str(), text.size() + 1);
}

// The reference as a candidate: its errors go where those of candidates go.
int run_reference(const mta_call* call, bool backward) noexcept {
    const int code = guarded([&] {
        const auto problem = c_library::problem_of(not_null(call, "mta_call"), backward);
        const auto results = oracle::reference_results(problem);
        for (const auto& wanted : c_library::outputs_of(*call)) {
            const auto* made = results.find(wanted.name);
            require<ArgumentError>(made != nullptr, "output '", wanted.name,
                                   "': got a name that this call does not compute",
                                   ", expected out, stage.<name>, or with d_out grad.<name>, stage.d_<name>");
            c_library::write(wanted, *made);
        }
        return 0;
    });
    if (code == 0) return MTA_OK;
    if (call != nullptr && call->message != nullptr)
        oracle::detail::copy_text(call->message, call->message_size, last_error.c_str());
    return code == static_cast<int>(ExitCode::unsupported) ? MTA_UNSUPPORTED : MTA_ERROR;
}

// What mta_oracle_check is asked.
struct Wishes {
    std::vector<oracle::Case> cases;
    oracle::CheckOptions options;
    std::string name = "functions in this process";
};

std::string text_option(const io::Json& options, const char* key, const char* otherwise) {
    const auto found = options.find(key);
    if (found == options.end()) return otherwise;
    require<oracle::ConfigError>(found->is_string(), "options: ", key, ": got ", found->dump(),
                                 ", expected a text");
    return found->get<std::string>();
}

bool flag_option(const io::Json& options, const char* key, bool otherwise) {
    const auto found = options.find(key);
    if (found == options.end()) return otherwise;
    require<oracle::ConfigError>(found->is_boolean(), "options: ", key, ": got ", found->dump(),
                                 ", expected true or false");
    return found->get<bool>();
}

void require_known_keys(const io::Json& options) {
    static const std::vector<std::string> known{"case",   "suite", "profile",       "io",       "seed",
                                                "expect", "name",  "deterministic", "diagnose", "rounding"};
    require<oracle::ConfigError>(options.is_object(), "options: got ", options.dump(),
                                 ", expected an object");
    for (const auto& [key, value] : options.items())
        require<oracle::ConfigError>(std::find(known.begin(), known.end(), key) != known.end(),
                                     "options: unknown key ", io::detail::in_quotes(key),
                                     ", the nearest known is ",
                                     io::detail::in_quotes(io::nearest_name(key, known)));
}

std::vector<oracle::Case> wished_cases(const io::Json& options) {
    std::vector<oracle::Case> cases;
    if (const auto found = options.find("case"); found != options.end()) {
        const auto list = found->is_array() ? *found : io::Json::array({*found});
        for (const auto& descriptor : list) {
            require<oracle::ConfigError>(descriptor.is_string(), "options: case: got ", descriptor.dump(),
                                         ", expected a text");
            cases.push_back(oracle::parse_case(descriptor.get<std::string>()));
        }
        return cases;
    }
    oracle::SuiteOptions suite;
    suite.dtype = oracle::detail::read_io(text_option(options, "io", "fp32"), "options");
    suite.profile = text_option(options, "profile", "");
    if (const auto seed = options.find("seed"); seed != options.end()) {
        require<oracle::ConfigError>(seed->is_number_unsigned(), "options: seed: got ", seed->dump(),
                                     ", expected an integer of at least 0");
        suite.seed = seed->get<std::uint64_t>();
    }
    return oracle::suite(text_option(options, "suite", "smoke"), suite);
}

Wishes wishes_of(const char* text) {
    const bool none = text == nullptr || *text == '\0';
    const io::Json options = none ? io::Json::object() : io::parse_json(text, "options");
    require_known_keys(options);
    Wishes w;
    w.cases = wished_cases(options);
    require<oracle::ConfigError>(!w.cases.empty(), "options: case: got an empty list, expected at least one");
    w.name = text_option(options, "name", w.name.c_str());
    if (!options.contains("case")) w.options.suite = text_option(options, "suite", "smoke");
    const std::string rounding = text_option(options, "rounding", "");
    w.options.rounding =
        rounding.empty() ? oracle::default_rounding(w.cases.front().dtype) : oracle::parse_rounding(rounding);
    const std::string expect = text_option(options, "expect", "all");
    require<oracle::ConfigError>(expect == "all" || expect == "forward", "options: expect: got ",
                                 io::detail::in_quotes(expect), ", expected 'all' or 'forward'");
    w.options.owed = expect == "all" ? oracle::Owed::all : oracle::Owed::forward;
    w.options.declared_deterministic = flag_option(options, "deterministic", false);
    w.options.diagnose = flag_option(options, "diagnose", true);
    return w;
}

}  // namespace

extern "C" {

const char* mta_oracle_version(void) {
    return MTA_VERSION_STRING;
}
int32_t mta_oracle_abi_version(void) {
    return MTA_ABI_VERSION;
}
const char* mta_oracle_last_error(void) {
    return last_error.c_str();
}
void mta_oracle_free(void* text) {
    std::free(text);
}

int mta_reference_forward(const mta_call* call) {
    return run_reference(call, false);
}
int mta_reference_backward(const mta_call* call) {
    return run_reference(call, true);
}

int mta_oracle_cases(const char* suite, const char* profile, const char* io, uint64_t seed, char** lines) {
    return guarded([&] {
        oracle::SuiteOptions options;
        options.seed = seed;
        options.profile = profile == nullptr ? "" : profile;
        options.dtype = oracle::detail::read_io(&not_null(io, "io"), "mta_oracle_cases");
        std::string all;
        for (const auto& c : oracle::suite(&not_null(suite, "suite"), options))
            all += (all.empty() ? "" : "\n") + oracle::describe(c);
        give(&not_null(lines, "lines"), all);
        return 0;
    });
}

int mta_oracle_problem_new(const char* descriptor, mta_oracle_problem** problem) {
    return guarded([&] {
        const auto c = oracle::parse_case(&not_null(descriptor, "descriptor"));
        not_null(problem, "problem") = nullptr;
        *problem = new mta_oracle_problem(oracle::make_problem(c));
        return 0;
    });
}
void mta_oracle_problem_free(mta_oracle_problem* problem) {
    delete problem;
}

const mta_call* mta_oracle_problem_call(const mta_oracle_problem* problem, int backward) {
    if (problem == nullptr) return nullptr;
    return backward != 0 ? problem->backward.get() : problem->forward.get();
}

int mta_oracle_check(mta_function forward, mta_function backward, const char* options, char** report,
                     char** text) {
    return guarded([&] {
        require<ArgumentError>(forward != nullptr,
                               "mta_oracle_check: forward: got null, expected a function");
        for (char** to : {report, text})
            if (to != nullptr) *to = nullptr;
        auto wishes = wishes_of(options);
        if (backward == nullptr) wishes.options.owed = oracle::Owed::forward;
        const auto candidate = oracle::function_candidate(wishes.name, forward, backward);
        const auto made = oracle::check(candidate, oracle::check_cases(wishes.cases), wishes.options);
        give(report, oracle::to_json_text(made));
        give(text, oracle::to_text(made));
        return made.exit_code();
    });
}

}  // extern "C"
