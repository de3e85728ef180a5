// Test vectors: inputs that any language regenerates bit for bit, and what should come out, to twice a double.
// SPDX-License-Identifier: MIT
//
// pocket  three tiny cases in one JSON file, numbers as hexadecimal floats
// smoke   the suite smoke as a folder of cases, with NAME.expected.safetensors beside each
// full    the suites full, adversarial and exact in fp32, bf16 and fp16, regenerated from seeds; full.sha256 holds
//         one line "<sha256>  <descriptor>" per case, of the bytes of its inputs in the order q, k, v, parameters, d_out
// Words   the reference runs in long double and every output is split: <name> is the nearest double and
//         <name>.low what is missing from it. Constants of the configuration (1/sqrt(D), eps, the depth factor) are
//         doubles there too.
// Checks  inputs: the same bits. Outputs depend on the platform's exp and are held to a bound (vector_bound).
// Errors  FileError: a file is missing or not what this header writes.
#pragma once

#include <limits>
#include <mta/oracle/case_files.hpp>
#include <mta/oracle/detail/hex_float.hpp>
#include <mta/oracle/detail/wide_reference.hpp>
#include <mta/oracle/suites.hpp>

namespace mta::oracle {

enum class VectorSet { pocket, smoke, full };

inline constexpr std::string_view pocket_schema = "mta.vectors.pocket/1";

/// Largest max|got - want| / max|want| of an output tensor, both with their low words: a few hundred units of the
/// wider type, for other implementations of exp; 1e-13 where long double is no wider than double.
inline constexpr double vector_bound = std::numeric_limits<long double>::digits > 53 ? 1e-17 : 1e-13;

/// The cases of a set.
inline std::vector<Case> vector_cases(VectorSet set) {
    if (set == VectorSet::smoke) return suite("smoke");
    std::vector<Case> cases;
    if (set == VectorSet::pocket) {
        for (const char* descriptor :
             {"sdpa/B1_H1_S3_D4 seed=1", "paper-toy/B1_H2_S4_D4_cq2_ck3 seed=2 fill=offset io=fp16",
              "paper-880m/B2_H2_kv1_S4_D4_cq2_ck3_g2 seed=3 io=bf16 document_starts=0,3;0"})
            cases.push_back(parse_case(descriptor));
        return cases;
    }
    for (const char* name : {"full", "adversarial", "exact"})
        for (const auto dtype : {io::DType::F32, io::DType::BF16, io::DType::F16})
            for (auto& c : suite(name, {.seed = 1, .dtype = dtype}))
                cases.push_back(std::move(c));
    return cases;
}

/// out and every gradient, each followed by its low word.
inline Results expected_results(const Problem& p) {
    return detail::WideReference(p).results();
}

/// The expected results as a file of F64 tensors, with the descriptor in the metadata.
inline io::SafetensorsFile expected_file(const Case& c) {
    io::SafetensorsFile file;
    for (const auto& t : expected_results(make_problem(c)).tensors)
        file.tensors.push_back(detail::stored(t));
    io::Metadata metadata{{"mta.case", describe(c)}, {"mta.config", to_json(c.config).dump()}};
    metadata.emplace_back("mta.generator",
                          detail::sentence("mta ", MTA_VERSION_STRING, " reference, long double of ",
                                           std::numeric_limits<long double>::digits, " bits"));
    for (const auto& t : file.tensors)
        metadata.emplace_back("sha256." + t.name, sha256(t.bytes));
    file.metadata = std::move(metadata);
    return file;
}

/// SHA-256 of the bytes of all inputs of a case.
inline std::string input_checksum(const Case& c) {
    std::vector<std::byte> bytes;
    const Problem p = make_problem(c);
    for_each_input(
        [&](std::string_view name, const auto& t) {
            const auto one = io::from_tensor(std::string(name), t, p.dtype);
            bytes.insert(bytes.end(), one.bytes.begin(), one.bytes.end());
        },
        p);
    return sha256(bytes);
}

/// One line per case.
inline std::string checksum_text(const std::vector<Case>& cases) {
    std::string text;
    for (const auto& c : cases)
        text += input_checksum(c) + "  " + describe(c) + "\n";
    return text;
}

/// The pocket vectors as one JSON document.
inline Json pocket_document(const std::vector<Case>& cases) {
    Json document{{"schema", pocket_schema}, {"generator", detail::sentence("mta ", MTA_VERSION_STRING)}};
    document["cases"] = Json::array();
    for (const auto& c : cases) {
        const Problem p = make_problem(c);
        Results inputs;
        for_each_input([&](std::string_view name, const auto& t) { inputs.put(name, t); }, p);
        document["cases"].push_back({{"case", describe(c)},
                                     {"config", to_json(c.config)},
                                     {"inputs", detail::hex_tensors(inputs)},
                                     {"outputs", detail::hex_tensors(expected_results(p))}});
    }
    return document;
}

/// Writes the vectors: pocket a file, smoke and full a folder.
inline void write_vectors(VectorSet set, const std::filesystem::path& out) {
    const auto cases = vector_cases(set);
    if (set == VectorSet::pocket) {
        const std::string text = pocket_document(cases).dump(1) + "\n";
        return io::write_file_atomically(out, std::as_bytes(std::span(text)));
    }
    detail::NewFolder folder(out);
    Json document = detail::suite_document();
    for (const auto& c : cases) {
        const std::string stem = file_stem(document["cases"].size(), c);
        const auto expected = io::serialise_safetensors(expected_file(c));
        Json entry = detail::write_case(folder, stem, c);
        folder.write(stem + ".expected.safetensors", expected);
        entry["expected"] = stem + ".expected.safetensors";
        entry["expected_sha256"] = sha256(expected);
        document["cases"].push_back(std::move(entry));
    }
    folder.write("suite.json", document.dump(1) + "\n");
    if (set == VectorSet::full) folder.write("full.sha256", checksum_text(cases));
    folder.publish();
}

/// What a check of vectors found.
struct VectorReport {
    std::size_t cases = 0, inputs = 0, outputs = 0;
    double worst = 0;                // error of an output, relative to its tensor
    std::vector<std::string> wrong;  // one sentence each
};

namespace detail {

// Holds what files say to what this program computes.
class VectorCheck {
  public:
    explicit VectorCheck(VectorSet set) {
        for (const auto& c : vector_cases(set))
            missing_.insert(describe(c));
    }

    void check_case(const Case& c, const Results& inputs, const Results& outputs) {
        const Problem p = make_problem(c);
        ++report_.cases;
        if (missing_.erase(p.name) == 0)
            wrong(sentence(p.name, ": got this case, expected one of the set, once"));
        for_each_input(
            [&](std::string_view name, const auto& t) {
                Results made;
                made.put(name, t);
                check_input(p.name, made.tensors.front(), inputs.find(name));
            },
            p);
        const Results expected = expected_results(p);
        for (const auto& want : expected.tensors)
            if (!want.name.ends_with(".low")) check_output(p.name, want, expected, outputs);
    }
    void wrong(std::string sentence) { report_.wrong.push_back(std::move(sentence)); }
    VectorReport report() {
        for (const auto& descriptor : missing_)
            wrong(sentence(descriptor, ": got no such case, expected it"));
        missing_.clear();
        return report_;
    }

  private:
    void check_input(const std::string& where, const NamedTensor& want, const NamedTensor* got) {
        ++report_.inputs;
        bool same = got != nullptr && got->shape == want.shape;
        for (std::size_t n = 0; same && n < want.values.size(); ++n)
            same =
                std::bit_cast<std::uint64_t>(got->values[n]) == std::bit_cast<std::uint64_t>(want.values[n]);
        if (!same)
            wrong(sentence(where, ": input ", want.name, ": got ",
                           got ? "other bits or another shape" : "none",
                           ", expected what its descriptor makes"));
    }
    void check_output(const std::string& where, const NamedTensor& want, const Results& expected,
                      const Results& outputs) {
        ++report_.outputs;
        const auto& want_low = expected.at(want.name + ".low");
        const NamedTensor *got = outputs.find(want.name), *low = outputs.find(want.name + ".low");
        if (got == nullptr || low == nullptr || got->shape != want.shape || low->shape != want.shape)
            return wrong(sentence(where, ": output ", want.name, ": got none or another shape, expected ",
                                  want.shape, " and its low word"));
        double largest = 0, error = 0;
        for (std::size_t n = 0; n < want.values.size(); ++n) {
            const double gap =
                std::abs((got->values[n] - want.values[n]) + (low->values[n] - want_low.values[n]));
            error = gap <= error ? error : gap;  // NaN is taken
            largest = std::max(largest, std::abs(want.values[n]));
        }
        const double relative = error == 0 ? 0 : error / largest;
        report_.worst = relative <= report_.worst ? report_.worst : relative;
        if (!(relative <= vector_bound))
            wrong(sentence(where, ": output ", want.name, ": got a relative error of ", relative,
                           ", expected at most ", vector_bound));
    }

    VectorReport report_;
    std::set<std::string> missing_;  // cases of the set that have not come yet
};

}  // namespace detail

/// Checks a pocket file: its cases, the bits of its inputs, its outputs.
inline VectorReport verify_pocket(const std::filesystem::path& path) {
    const Json document = io::read_json(path);
    const auto cases = detail::pocket_cases(document, path.native(), pocket_schema);
    detail::VectorCheck check(VectorSet::pocket);
    for (const auto& entry : cases)
        check.check_case(parse_case(entry.descriptor), entry.inputs, entry.outputs);
    return check.report();
}

/// Checks a folder that write_vectors wrote.
inline VectorReport verify_vector_folder(VectorSet set, const std::filesystem::path& folder) {
    detail::VectorCheck check(set);
    for (const auto& entry : list_case_folder(folder)) {
        const FolderCase c = read_case(entry);
        const auto expected = folder / (entry.name + ".expected.safetensors");
        const auto outputs = results_from_file(io::read_safetensors(expected));
        Results inputs;
        for_each_input([&](std::string_view name, const auto& t) { inputs.put(name, t); }, c.problem);
        check.check_case(parse_case(entry.descriptor), inputs, outputs);
    }
    return check.report();
}

/// Checks a list of input checksums: a line for each of these cases, in their order, and no other.
inline VectorReport verify_checksums(const std::filesystem::path& path, const std::vector<Case>& cases) {
    constexpr std::uint64_t largest = std::uint64_t{1} << 24;
    const auto bytes = io::read_file(path, largest);
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const auto lines = detail::split(text, '\n');
    VectorReport report;
    for (std::size_t n = 0; n < std::max(cases.size(), lines.size() - 1); ++n) {
        const std::string_view got = n < lines.size() ? lines[n] : "";
        const std::string want =
            n < cases.size() ? input_checksum(cases[n]) + "  " + describe(cases[n]) : "nothing";
        ++report.cases;
        if (got != want)
            report.wrong.push_back(detail::sentence(path.native(), ": line ", n + 1, ": got ",
                                                    io::detail::in_quotes(got), ", expected ", want));
    }
    return report;
}

}  // namespace mta::oracle
