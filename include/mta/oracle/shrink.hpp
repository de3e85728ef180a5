// Shrinking: a failing problem becomes a small one that still fails, and can be read, printed and fed back.
// SPDX-License-Identifier: MIT
//
// Source   Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", IEEE TSE 28(2), 2002: pieces
//          are taken away, large ones first, as long as what remains fails. Here the pieces are batch rows, tokens,
//          heads, stages, channels, taps, documents and options, and at last the numbers.
// Promise  the result fails. It is the smallest in one step (no single move makes it smaller) unless the calls ran
//          out, which `minimal` says.
// Errors   ValueError: the problem does not fail to begin with. A predicate that throws is one that says no.
#pragma once

#include <mta/oracle/detail/hex_float.hpp>
#include <mta/oracle/detail/shrink_moves.hpp>

namespace mta::oracle {

struct ShrinkOptions {
    int max_calls = 3000;                                                              // of the predicate
    std::function<void(int calls, const std::string& step, const Problem&)> progress;  // after each success
};

struct ShrinkResult {
    Problem problem;
    int calls = 0;
    bool minimal = false;
    std::vector<std::string> steps;  // the moves that were kept, in order
};

/// "B1 H1 kv1 S3 D1", the kernels as they are and how many numbers are not 0.
inline std::string size_of(const Problem& p) {
    const auto& c = p.config.attention;
    std::string text = detail::sentence("B", p.batch(), " H", c.heads, " kv", c.key_value_heads(), " S",
                                        p.sequence(), " D", c.head_dim);
    for (const auto& side : detail::both_sides) {
        const auto& s = c.*side.config;
        if (s.has_conv())
            text += detail::sentence(" ", side.name, ".kernel ", s.query_kernel, "x", s.key_kernel);
        if (s.has_mix()) text += detail::sentence(" ", side.name, ".mix ", s.mix_group);
    }
    Index numbers = 0;
    for_each_input(
        [&](std::string_view, const auto& t) {
            numbers += t.size() - std::count(t.data(), t.data() + t.size(), 0.0);
        },
        p);
    return text + detail::sentence(", ", numbers, " numbers other than 0");
}

namespace detail {

class Shrinker {
  public:
    Shrinker(const std::function<bool(const Problem&)>& fails, const ShrinkOptions& options, const Problem& p)
        : fails_{fails}, options_{options} {
        result_.problem = p;
    }

    ShrinkResult run() {
        require<ValueError>(tried(result_.problem), "shrink: ", result_.problem.name,
                            ": got a problem that does not fail, expected one that does");
        bool smaller = true;
        while (smaller && !spent()) {
            smaller = false;
            for (const auto moves : {batch_moves, token_moves, head_moves, stage_moves, channel_moves,
                                     kernel_moves, option_moves})
                smaller |= descend(moves);
            // Numbers last: a small problem has few of them.
            if (!smaller) smaller = descend(value_moves);
        }
        result_.minimal = !spent();
        return std::move(result_);
    }

  private:
    // Takes moves of this kind as long as one of them helps. A list stays in use after a success: its later
    // proposals are made from what is there then, and those that no longer fit are not offered.
    bool descend(Proposals (*moves)(const Problem&)) {
        bool any = false, again = true;
        while (again && !spent()) {
            again = false;
            for (const auto& proposal : moves(result_.problem)) {
                if (spent()) break;
                if (!take(proposal)) continue;
                any = true;
                again = true;
                if (moves != value_moves) break;  // sizes changed: positions mean something else now
            }
        }
        return any;
    }

    bool take(const Proposal& proposal) {
        auto smaller = proposal.make(result_.problem);
        if (!smaller || !tried(*smaller)) return false;
        result_.problem = std::move(*smaller);
        result_.steps.push_back(proposal.step);
        if (options_.progress) options_.progress(result_.calls, proposal.step, result_.problem);
        return true;
    }

    bool tried(const Problem& p) {
        ++result_.calls;
        try {
            check_problem(p);
            return fails_(p);
        } catch (const std::exception&) {
            return false;
        }
    }
    bool spent() const { return result_.calls >= options_.max_calls; }

    const std::function<bool(const Problem&)>& fails_;
    const ShrinkOptions& options_;
    ShrinkResult result_;
};

}  // namespace detail

/// A small problem for which `fails` still says true.
inline ShrinkResult shrink(const Problem& problem, const std::function<bool(const Problem&)>& fails,
                           const ShrinkOptions& options = {}) {
    return detail::Shrinker(fails, options, problem).run();
}

inline constexpr std::string_view problem_schema = "mta.problem/1";

/// The whole problem as JSON, numbers as hexadecimal floats, one tensor a line:
/// {"schema", "name", "dtype", "config": {...}, "inputs": {"q": {"shape": [...], "values": ["0x1p+0", ...]}, ...}}
inline std::string problem_text(const Problem& p) {
    Results inputs;
    for_each_input([&](std::string_view name, const auto& t) { inputs.put(name, t); }, p);
    const Json tensors = detail::hex_tensors(inputs);
    std::string text = detail::sentence(
        "{\"schema\": \"", problem_schema, "\",\n \"name\": ", Json(p.name).dump(), ",\n \"dtype\": \"",
        io::dtype_name(p.dtype), "\",\n \"config\": ", to_json(p.config).dump(), ",\n \"inputs\": {");
    for (std::size_t n = 0; n < inputs.tensors.size(); ++n) {
        const auto& name = inputs.tensors[n].name;
        text += detail::sentence(n == 0 ? "\n  " : ",\n  ", Json(name).dump(), ": ", tensors[name].dump());
    }
    return text + "}}\n";
}

/// The problem that problem_text wrote. `where` begins error sentences. Errors: FileError, ConfigError, ShapeError.
inline Problem problem_from_json(const Json& document, const std::string& where) {
    require<io::FileError>(document.is_object() && document.value("schema", Json()) == problem_schema, where,
                           ": got no object with the schema ", problem_schema, ", expected one");
    for (const char* key : {"name", "dtype"})
        require<io::FileError>(document.contains(key) && document[key].is_string(), where, ": ", key,
                               ": got no text, expected one");
    const auto dtype = io::dtype_of_name(document["dtype"].get<std::string>());
    require<io::FileError>(dtype && io::is_floating(*dtype), where, ": dtype: got ", document["dtype"].dump(),
                           ", expected F64, F32, F16 or BF16");
    require<io::FileError>(document.contains("config"), where, ": config: got none, expected an object");
    const CaseConfig config = parse_config(document["config"], where + ": config");
    const auto inputs = detail::read_hex_tensors(document, "inputs", where);
    io::SafetensorsFile file;
    for (const auto& t : inputs.tensors) {
        Tensor<double, 1> flat(static_cast<Index>(t.values.size()));
        std::copy(t.values.begin(), t.values.end(), flat.data());
        auto stored = io::from_tensor(t.name, flat, *dtype);
        stored.shape.assign(t.shape.begin(), t.shape.end());
        file.tensors.push_back(std::move(stored));
    }
    Notes notes;
    return problem_from_file(document["name"].get<std::string>(), config, file, notes);
}

/// Writes STEM.json and STEM.in.safetensors, as `check --results` and `eval` read them.
inline void write_problem(const std::filesystem::path& stem, const Problem& p) {
    const std::string config = to_json(p.config).dump(2) + "\n";
    auto in = stem, json = stem;
    in += ".in.safetensors";
    json += ".json";
    io::write_safetensors(in, to_safetensors(p));
    io::write_file_atomically(json, std::as_bytes(std::span(config)));
}

}  // namespace mta::oracle
