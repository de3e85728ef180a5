// Runs a candidate library on a problem and turns what happened into an answer.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/oracle/candidate.hpp>
#include <mta/oracle/detail/library_call.hpp>

namespace mta::oracle::detail {

/// How a library is run once.
struct LibraryRunPlan {
    CallLayout layout;
    double timeout_seconds = 60;
    int repeats = 1;                // calls of each function in one process, on the same memory
    bool stages = true;             // offered
    bool read_only_inputs = false;  // a write to them is caught where it happens
};

/// An answer, and the bits of every output that it was made of.
struct LibraryRun {
    Answer answer;
    std::vector<std::pair<TensorPlan, std::vector<std::uint64_t>>> outputs;
};

// Foreign text as one line of printable characters.
inline std::string printable(std::string_view text) {
    std::string line;
    for (const char c : text) {
        const bool plain = c >= 0x20 && c < 0x7F;
        if (plain)
            line += c;
        else if (!line.empty() && line.back() != ' ')
            line += ' ';
    }
    while (!line.empty() && line.back() == ' ')
        line.pop_back();
    return line;
}

inline std::string bounded_text(const char* text, std::size_t size) {
    return printable(std::string_view(text, ::strnlen(text, size)));
}

// The last three lines of what a candidate printed.
inline std::string last_lines(const std::string& output) {
    std::size_t begin = output.find_last_not_of("\r\n \t");
    if (begin == std::string::npos) return {};
    for (int lines = 0; begin > 0; --begin)
        if (output[begin - 1] == '\n' && ++lines == 3) break;
    const std::string text = printable(std::string_view(output).substr(begin));
    return text.size() <= 400 ? text : "..." + text.substr(text.size() - 400);
}

/// What became of one output: the sentence of what is missing, or its values.
struct FilledOutput {
    std::string missing;
    std::optional<NamedTensor> tensor;  // none: a stage that is not exported
};

// Elements that still hold the poison were not written; hidden elements of stages need not be, and are 0 then.
inline FilledOutput filled_output(const Problem& p, const GuardedBuffer& buffer, Poison poison) {
    const auto& plan = buffer.plan();
    const auto bits = buffer.bits();
    const auto untouched = poison_bits(plan.dtype, poison);
    const bool is_stage = plan.name.starts_with("stage.");
    const auto written = [&](std::uint64_t b) { return b != untouched; };
    if (is_stage && std::none_of(bits.begin(), bits.end(), written)) return {};
    NamedTensor tensor{plan.name, {plan.shape.begin(), plan.shape.end()}, std::vector<double>(bits.size())};
    std::size_t missing = 0, first = 0;
    for (std::size_t n = 0; n < bits.size(); ++n)
        tensor.values[n] = written(bits[n]) ? decode(bits[n], plan.dtype) : 0;
    JudgedPositions(p).for_each(tensor, [&](std::size_t n, Index, Index) {
        if (written(bits[n])) return;
        tensor.values[n] = decode(bits[n], plan.dtype);
        if (poison == Poison::nan && missing++ == 0) first = n;
    });
    if (missing == 0) return {{}, std::move(tensor)};
    return {
        sentence("left ", missing, " of the ", bits.size(), " elements of '", plan.name,
                 "' unwritten or added to what was there, the first at ", CallMemory::place(buffer, first)),
        std::nullopt};
}

class LibraryRunner {
  public:
    LibraryRunner(const LibraryNames& names, const Problem& p, const LibraryRunPlan& plan)
        : names_{names},
          problem_{p},
          plan_{plan},
          backward_{p.d_out.has_value() && !names.backward_symbol.empty()},
          config_(p),
          memory_(p, backward_, plan.stages, plan.layout) {}

    /// In a child process that loads the library.
    LibraryRun run() {
        const PreparedCall forward(memory_, config_, false, *record_),
            backward(memory_, config_, true, *record_);
        FaultWatch watch = fault_ranges();
        const auto work = [&] {
            LoadedFunctions functions;
            watch_faults(watch);
            if (!load_without_throwing(names_, *record_, functions)) return;
            if (plan_.read_only_inputs)
                for (const auto& input : memory_.inputs())
                    input.protect();
            call_functions(functions, forward.get(), backward_ ? backward.get() : nullptr, plan_.repeats,
                           *record_);
        };
        const ChildEnd end = run_in_child(work, plan_.timeout_seconds);
        judge(end);
        const std::string said = last_lines(end.output);
        if (!said.empty()) run_.answer.notes.push_back("it printed: " + said);
        return std::move(run_);
    }

    /// In this process, functions that are here already.
    LibraryRun run_here(const LoadedFunctions& functions) {
        const PreparedCall forward(memory_, config_, false, *record_),
            backward(memory_, config_, true, *record_);
        call_functions(functions, forward.get(), backward_ ? backward.get() : nullptr, plan_.repeats,
                       *record_);
        judge({});
        return std::move(run_);
    }

  private:
    FaultWatch fault_ranges() const {
        FaultWatch watch;
        watch.record = &*record_;
        memory_.for_each_buffer([&](const GuardedBuffer& b) {
            const auto address = [](const std::byte* at) { return reinterpret_cast<std::uintptr_t>(at); };
            watch.ranges.push_back(
                {address(b.map_begin()), address(b.data()), address(b.data_end()), address(b.map_end())});
        });
        return watch;
    }
    std::string subject() const {
        return record_->step == CallRecord::backward ? names_.backward_symbol : names_.symbol;
    }
    void say(Outcome outcome, std::string text) {
        run_.answer.outcome = outcome;
        run_.answer.sentence = std::move(text);
    }

    void judge(const ChildEnd& end) {
        using How = ChildEnd::How;
        if (end.how == How::not_started)
            return say(Outcome::failed,
                       "cannot start a process for it: " + io::detail::errno_text(end.number));
        const std::string violation = fault_text();
        if (!violation.empty()) return say(Outcome::broke_memory, subject() + " " + violation);
        const std::string death = death_text(end);
        const std::string damage = memory_.violation();
        if (!damage.empty())
            return say(Outcome::broke_memory,
                       subject_of_damage() + " " + damage + (death.empty() ? "" : ", and then " + death));
        if (end.how == How::timed_out) return say(Outcome::timed_out, subject_or_loading() + " " + death);
        if (!death.empty()) return say(Outcome::crashed, subject_or_loading() + " " + death);
        judge_record();
    }
    void judge_record() {
        const auto text = [&] { return bounded_text(record_->text, sizeof record_->text); };
        if (record_->threw) return say(Outcome::failed, subject() + " threw: " + text());
        if (record_->step == CallRecord::loading)
            return say(Outcome::failed, "cannot load the library: " + text());
        if (record_->step == CallRecord::resolving)
            return say(Outcome::failed,
                       sentence(names_.path, ": got no symbol '", text(),
                                "', expected an exported function int ", text(), "(const mta_call*)"));
        if (record_->code[0] != MTA_OK) return judge_code(false);
        collect(false);
        if (run_.answer.outcome != Outcome::answered || !backward_) return;
        if (record_->code[1] != MTA_OK) return judge_code(true);
        collect(true);
    }
    void judge_code(bool backward) {
        const int code = record_->code[backward];
        const std::string why = bounded_text(record_->message[backward], sizeof record_->message[0]);
        const std::string name = backward ? names_.backward_symbol : names_.symbol;
        const std::string because = why.empty() ? "" : ": " + why;
        if (code == MTA_UNSUPPORTED && backward)
            return run_.answer.notes.push_back(name + " refused this configuration" + because);
        if (code == MTA_UNSUPPORTED)
            return say(Outcome::refused, name + " refused this configuration" + because);
        say(Outcome::failed,
            sentence(name, " returned code ", code, because, ", expected 0 (done) or 1 (unsupported)"));
    }
    void collect(bool backward) {
        for (const auto& buffer : memory_.outputs(backward)) {
            auto filled = filled_output(problem_, buffer, plan_.layout.poison);
            if (!filled.missing.empty())
                return say(Outcome::broke_memory,
                           (backward ? names_.backward_symbol : names_.symbol) + " " + filled.missing);
            if (!filled.tensor) continue;
            run_.answer.results.put(std::move(*filled.tensor));
            run_.outputs.emplace_back(buffer.plan(), buffer.bits());
        }
    }

    // A fault beside or, where inputs are read only, inside a tensor.
    std::string fault_text() const {
        int index = record_->fault_buffer, n = 0;
        std::string name;
        memory_.for_each_buffer([&](const GuardedBuffer& b) {
            if (n++ == index) name = b.plan().name;
        });
        if (index < 0 || name.empty()) return {};
        const int bytes = record_->fault_bytes;
        if (bytes == 0) return sentence("wrote to its input '", name, "'");
        const std::string verb = record_->fault_write ? "wrote" : "read";
        if (bytes < 0) return sentence(verb, " outside '", name, "', ", -bytes, " bytes before its start");
        return sentence(verb, " outside '", name, "', ", bytes - 1, " bytes after its end");
    }
    std::string death_text(const ChildEnd& end) const {
        using How = ChildEnd::How;
        if (end.how == How::timed_out)
            return sentence("did not return within ", plan_.timeout_seconds, " s and was stopped");
        if (end.how == How::signalled) return "crashed with " + signal_text(end.number);
        if (end.how == How::exited)
            return sentence("ended its process with exit status ", end.number, ", expected it to return");
        return {};
    }
    std::string subject_of_damage() const {
        return record_->step == CallRecord::done && backward_ ? "the library" : subject();
    }
    std::string subject_or_loading() const {
        return record_->step == CallRecord::loading ? "loading " + names_.path : subject();
    }

    const LibraryNames& names_;
    const Problem& problem_;
    LibraryRunPlan plan_;
    bool backward_;
    CallConfig config_;
    CallMemory memory_;
    Shared<CallRecord> record_;
    LibraryRun run_;
};

}  // namespace mta::oracle::detail
