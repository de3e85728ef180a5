// A case: one problem in one line of text, from which every bit of its inputs can be made again.
// SPDX-License-Identifier: MIT
//
// Descriptor  paper-880m/B2_H4_kv2_S33_D8_cq6_ck11_g2 fill=offset seed=5 io=bf16 pre.key_padding=left
//             document_starts=0,5,9. The profile; sizes; then key=value for whatever differs from the
//             profile, under the dotted names of the configuration's JSON; `none` takes a stage away; the
//             document starts of several batch rows are separated by ';'. docs/oracle/cases.md has the grammar.
// Sizes       B batch, H heads, kv key/value heads (H), S sequence, D head dimension; cq, ck, g: kernel extents and
//             mix group wherever the profile has them. What is left out is the profile's.
// Promise     parse_case(describe(c)) is c, and describe(parse_case(text)) is the one way to write it.
// Errors      ConfigError: what cannot be parsed, naming the nearest known key; ShapeError and ValueError of
//             check_config; UnsupportedError: a case whose inputs would not fit into memory.
#pragma once

#include <mta/oracle/detail/case_text.hpp>
#include <mta/oracle/fills.hpp>
#include <mta/oracle/profiles.hpp>

namespace mta::oracle {

struct Case {
    std::string profile = "sdpa";
    CaseConfig config;
    Index batch = 1;
    Index sequence = 1;
    std::string fill = "normal";
    std::uint64_t seed = 0;
    io::DType dtype = io::DType::F32;  // F64, F32, BF16 or F16

    bool operator==(const Case& other) const {
        return profile == other.profile && to_json(config) == to_json(other.config) && batch == other.batch &&
               sequence == other.sequence && fill == other.fill && seed == other.seed && dtype == other.dtype;
    }
};

/// The sizes and semantics of a profile.
inline Case default_case(const Profile& p) {
    return {p.name, p.config, p.batch, p.sequence, "normal", 0, io::DType::F32};
}

/// The one line that describes the case.
inline std::string describe(const Case& c) {
    const Json wanted = to_json(c.config);
    detail::CaseText text{to_json(profile(c.profile, "case").config), c.batch, c.sequence};
    const std::string sizes = detail::take_sizes(text, wanted);
    return detail::sentence(c.profile, "/", sizes, " fill=", c.fill, " seed=", c.seed,
                            " io=", detail::name_of(detail::io_names, c.dtype),
                            detail::differences(text.config, wanted));
}

/// The case that a descriptor describes.
inline Case parse_case(std::string_view descriptor) {
    const std::string where = detail::sentence("case ", io::detail::in_quotes(descriptor));
    const auto words = detail::split(descriptor, ' ');
    const auto slash = words.front().find('/');
    Case c = default_case(profile(words.front().substr(0, slash), where));
    detail::CaseText text{to_json(c.config), c.batch, c.sequence};
    if (slash != std::string_view::npos) detail::read_sizes(text, words.front().substr(slash + 1), where);
    detail::KeyValues values(words, where);
    if (const auto fill = values.take("fill")) c.fill = fill_named(*fill, where).name;
    if (const auto seed = values.take("seed"))
        c.seed = detail::read_integer<std::uint64_t>(*seed, where, "seed");
    if (const auto io = values.take("io")) c.dtype = detail::read_io(*io, where);
    values.change(text.config);
    c.config = parse_config(text.config, where);
    c.batch = text.batch;
    c.sequence = text.sequence;
    c.config.call().documents.check(where, c.batch, c.sequence);
    return c;
}

/// The problem of the case: inputs, parameters and cotangent, bit for bit the same everywhere.
inline Problem make_problem(const Case& c) {
    const auto& a = c.config.attention;
    const Index B = c.batch, S = c.sequence, H = a.heads, Hkv = a.key_value_heads(), D = a.head_dim;
    detail::check_inputs_fit(c.config, B, S);
    Problem p;
    p.name = describe(c);
    p.config = c.config;
    p.dtype = c.dtype;
    p.q = Tensor<double, 4>(B, H, S, D);
    p.k = Tensor<double, 4>(B, Hkv, S, D);
    p.v = Tensor<double, 4>(B, Hkv, S, D);
    p.d_out = Tensor<double, 4>(B, H, S, D);
    p.params = make_multi_token_attention_params<double>(a);
    fill_problem(p, c.fill, c.seed);
    check_problem(p);
    return p;
}

}  // namespace mta::oracle
