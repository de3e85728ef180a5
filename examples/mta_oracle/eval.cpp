// mta-oracle eval: the operator's values and gradients, from files to a file.
// SPDX-License-Identifier: MIT
#include <cstdio>
#include <memory>
#include <mta/fast/multi_token_attention.hpp>
#include <mta/oracle/eval.hpp>

#include "commands.hpp"
#include "support.hpp"

namespace mta::program {

namespace {

struct EvalArguments {
    std::string config, in, out, backend = "reference", dtype = "float64";
    bool trace = false;
};

int run_eval(const EvalArguments& arguments) {
    if (arguments.backend == "cuda")
        throw oracle::UnsupportedError(
            "eval: --backend: got 'cuda', which this program was built without, expected 'reference' or "
            "'fast'");
    refuse_overwriting("eval: --out", arguments.out, {arguments.config, arguments.in});
    const auto config = oracle::read_config(arguments.config);
    const auto in = io::read_safetensors(arguments.in);
    oracle::Notes notes;
    const auto dtype = arguments.dtype == "float32" ? io::DType::F32 : io::DType::F64;
    const oracle::EvalOptions options{dtype, arguments.trace};
    const auto out = arguments.backend == "fast"
                         ? oracle::evaluate_with("fast", Fast{}, config, in, options, notes)
                         : oracle::evaluate(config, in, options, notes);
    io::write_safetensors(arguments.out, out);
    for (const auto& note : notes)
        print_note(note);
    std::printf("wrote %zu tensors to %s\n", out.tensors.size(), one_line(arguments.out).c_str());
    return 0;
}

}  // namespace

Command eval_command(CLI::App& app) {
    auto* eval =
        app.add_subcommand("eval", "evaluate the operator and, with d_out in the input, all gradients");
    const auto e = std::make_shared<EvalArguments>();
    eval->add_option("--config", e->config, "configuration, JSON")->required();
    eval->add_option("--in", e->in, "inputs and parameters, safetensors")->required();
    eval->add_option("--out", e->out, "where to write out, grad.* and stage.*")->required();
    eval->add_option("--backend", e->backend, "what computes")
        ->check(one_of({"reference", "fast", "cuda"}))
        ->capture_default_str();
    eval->add_option("--dtype", e->dtype, "arithmetic and output")
        ->check(one_of({"float64", "float32"}))
        ->capture_default_str();
    eval->add_flag("--trace", e->trace, "write every stage too");
    return {"eval", [e] { return run_eval(*e); }};
}

}  // namespace mta::program
