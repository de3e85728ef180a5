// The cases of the suites, as descriptors without seed and input type.
// SPDX-License-Identifier: MIT
#pragma once

#include <mta/oracle/fills.hpp>
#include <string>
#include <vector>

namespace mta::oracle::detail {

inline std::vector<std::string> smoke_cases() {
    return {
        "sdpa/B2_H4_kv2_S17_D8",
        "talking-heads/B2_H4_S9_D8_g4",
        "paper-toy/B2_H2_S33_D8_cq2_ck9",
        "liger-post/B2_H2_S17_D8_cq2_ck3 fill=asymmetric",
        "paper-880m/B2_H4_kv2_S33_D8_cq6_ck11_g2 fill=offset",
        "paper-880m/B1_H4_S17_D8_cq3_ck5_g4 fill=asymmetric",
        "paper-880m/B1_H4_S12_D8_cq2_ck3_g2 fill=asymmetric norm=none gate=none",
        "mta-exact/B2_H4_kv2_S17_D8_cq3_ck5_g2",
        "mta-sparsemax/B1_H4_S17_D8_cq3_ck5_g2",
        "paper-880m/B2_H2_S12_D4_cq2_ck4_g2 pre.key_padding=left post.key_padding=right norm=rms_depth "
        "gate=vector layer_index=3",
        "paper-880m/B2_H4_kv2_S16_D8_cq3_ck5_g2 document_starts=0,5;0,1,9",
        "mta-exact/B2_H2_S13_D8_cq4_ck3_g2 fill=offset norm=none gate=none document_starts=0,6",
        "paper-880m/B2_H2_S1_D8_cq3_ck3_g2",
        "paper-880m/B1_H2_S4_D8_cq6_ck11_g2 norm=none gate=none",
        "paper-880m/B1_H4_kv1_S9_D8_cq3_ck3_g2 norm=rms_layer gate=none layer_index=5 eps=0.001",
        "paper-880m/B1_H2_S9_D8_cq3_ck6_g1 mask=none pre.key_padding=right post.key_padding=left",
        "paper-880m/B1_H4_S17_D8_cq3_ck5_g2 fill=large-positive",
        "paper-880m/B1_H4_S17_D8_cq3_ck5_g2 fill=large-negative scale=0.5",
        "paper-880m/B1_H2_S16_D8_cq3_ck5_g2 fill=below-mask norm=none gate=none",
        "paper-880m/B1_H4_S9_D8_cq2_ck3_g2 fill=tiny-values",
        "mta-sparsemax/B1_H2_S12_D4_cq2_ck3_g2 fill=ties gate=vector",
        "paper-toy/B1_H2_S16_D16_cq2_ck5 fill=exact-integers",
    };
}

inline void add_tile_edges(std::vector<std::string>& all) {
    using mta::detail::sentence;
    for (const int S : {31, 32, 33, 63, 64, 65, 127, 128, 129}) {
        const int D = S < 60 ? 16 : 8;
        all.push_back(sentence("paper-880m/B1_H2_S", S, "_D", D, "_cq6_ck11_g2"));
        all.push_back(sentence("sdpa/B1_H2_kv1_S", S, "_D", D, " fill=offset"));
    }
    for (const int S : {31, 33, 63, 65}) {
        all.push_back(sentence("mta-exact/B1_H2_S", S, "_D8_cq6_ck11_g2 norm=none gate=none"));
        all.push_back(sentence("mta-sparsemax/B1_H2_S", S, "_D8_cq3_ck5_g2 norm=none gate=none"));
        all.push_back(sentence("paper-880m/B2_H2_S", S, "_D8_cq4_ck8_g2 fill=offset pre.key_padding=left ",
                               "post.key_padding=right document_starts=0,", S / 2, ",", S - 1));
    }
}

inline void add_sizes(std::vector<std::string>& all) {
    using mta::detail::sentence;
    for (const int D : {2, 7, 33, 64, 96, 128})
        all.push_back(sentence("paper-880m/B1_H2_S17_D", D, "_cq3_ck5_g2"));
    for (const char* kernel :
         {"cq1_ck1", "cq1_ck5", "cq5_ck1", "cq2_ck3", "cq8_ck15", "cq18_ck3", "cq3_ck37"})
        all.push_back(
            sentence("paper-880m/B1_H2_S18_D8_", kernel, "_g2 fill=asymmetric norm=none gate=none"));
    for (const char* heads : {"H6_g3", "H4_kv4_g1", "H8_kv4_g4", "H8_kv1_g8", "H1_g1", "H16_kv8_g16"})
        all.push_back(sentence("paper-880m/B2_S9_D8_cq2_ck3_", heads));
    for (const int S : {1, 2, 3, 5, 7})
        all.push_back(sentence("paper-880m/B2_H2_S", S, "_D8_cq6_ck11_g2 norm=none gate=none"));
    for (const char* starts : {"0,1,2,3,4,5,6,7", "0,16", "0,4,5;0", "0,2,4;0,15"})
        all.push_back(sentence("paper-880m/B2_H2_S17_D8_cq4_ck5_g2 fill=offset document_starts=", starts));
}

inline void add_options(std::vector<std::string>& all) {
    using mta::detail::sentence;
    for (const char* mask : {"twice", "exact", "none"})
        for (const char* normalise : {"softmax", "sparsemax"})
            for (const char* padding : {"left", "right"})
                all.push_back(sentence("paper-880m/B1_H2_S14_D8_cq3_ck4_g2 mask=", mask,
                                       " normalise=", normalise, " pre.key_padding=", padding,
                                       " post.key_padding=", padding, " norm=none gate=none"));
    for (const char* norm : {"none", "rms", "rms_depth", "rms_layer"})
        for (const char* gate : {"none", "scalar", "vector"})
            all.push_back(
                sentence("paper-880m/B2_H2_S9_D8_cq2_ck3_g2 layer_index=2 norm=", norm, " gate=", gate));
    for (const char* without : {"pre.query_kernel=none pre.key_kernel=none", "pre.mix_group=none",
                                "post.query_kernel=none post.key_kernel=none", "post.mix_group=none"})
        all.push_back(sentence("paper-880m/B1_H4_S13_D8_cq3_ck5_g2 fill=asymmetric ", without));
}

inline std::vector<std::string> full_cases() {
    std::vector<std::string> all = smoke_cases();
    add_tile_edges(all);
    add_sizes(all);
    add_options(all);
    return all;
}

inline std::vector<std::string> adversarial_cases() {
    using mta::detail::sentence;
    std::vector<std::string> all;
    for (const std::string_view fill :
         {"normal", "uniform", "large-positive", "large-negative", "below-mask", "ties", "offset",
          "tiny-values", "denormal", "asymmetric", "exact-integers", "zero-scores", "one-hot"})
        for (const char* shape : {"paper-880m/B2_H4_kv2_S17_D16_cq3_ck5_g2", "sdpa/B2_H4_kv2_S33_D16",
                                  "mta-exact/B1_H2_S18_D8_cq4_ck3_g2 norm=none gate=none",
                                  "mta-sparsemax/B1_H2_S13_D8_cq2_ck3_g2 norm=none gate=none"})
            all.push_back(sentence(shape, " fill=", fill));
    return all;
}

inline std::vector<std::string> exact_cases() {
    using mta::detail::sentence;
    const std::string bare = " norm=none gate=none";
    std::vector<std::string> all;
    for (const int D : {4, 16, 64}) {
        for (const char* fill : {"exact-integers", "one-hot"}) {
            all.push_back(sentence("sdpa/B2_H4_kv2_S17_D", D, " fill=", fill));
            all.push_back(sentence("paper-toy/B1_H2_S17_D", D, "_cq2_ck5 fill=", fill));
            all.push_back(sentence("paper-880m/B1_H4_S12_D", D, "_cq3_ck5_g2 fill=", fill, bare));
            all.push_back(sentence("mta-exact/B1_H2_S12_D", D, "_cq3_ck3_g2 fill=", fill, bare));
        }
        // 2^k keys in every row: no mask and 2^k tokens, or documents of one and two tokens.
        all.push_back(sentence("sdpa/B2_H2_S16_D", D, " fill=zero-scores mask=none"));
        all.push_back(
            sentence("paper-880m/B1_H4_kv2_S8_D", D, "_cq3_ck5_g2 fill=zero-scores mask=none", bare));
        all.push_back(sentence("paper-880m/B2_H4_kv2_S7_D", D, "_cq3_ck5_g2 fill=zero-scores", bare,
                               " document_starts=0,2,4,5"));
    }
    return all;
}

}  // namespace mta::oracle::detail
