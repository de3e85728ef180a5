/* libmta_oracle: the oracle as a C library, for Python and every other language that can call C.
 * SPDX-License-Identifier: MIT
 *
 * Results   Functions that can fail return 0 or an exit code of the command line (1 mismatch, 2 usage, 3 file,
 *           4 candidate failed, 5 mistrusted, 6 memory contract, 7 nondeterministic, 8 unsupported, 70 defect);
 *           mta_oracle_last_error says why, per thread. No exception leaves a function.
 * Memory    Texts that come through a char** belong to the caller: mta_oracle_free. What a problem points to
 *           belongs to the problem.
 * Threads   Calls on different problems may run at the same time.
 */
#ifndef MTA_ORACLE_H
#define MTA_ORACLE_H

#include <mta/oracle/c_api.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MTA_ORACLE_API __attribute__((visibility("default")))
#else
#define MTA_ORACLE_API
#endif

/* The version of the library, "1.2.3", and the number of the C interface that it speaks. */
MTA_ORACLE_API const char* mta_oracle_version(void);
MTA_ORACLE_API int32_t mta_oracle_abi_version(void);

/* Why the last function of this thread failed; empty when none did. */
MTA_ORACLE_API const char* mta_oracle_last_error(void);
MTA_ORACLE_API void mta_oracle_free(void* text);

/* The reference, as a candidate would be called (c_api.h): it computes in double, reads and writes any type and
 * stride, fills those outputs that are asked for by name, and reads the configuration from config_json alone
 * (`config` may be null). The backward function also fills out and stage.<name> where it is asked to. */
MTA_ORACLE_API int mta_reference_forward(const mta_call* call);
MTA_ORACLE_API int mta_reference_backward(const mta_call* call);

/* The descriptors of a suite's cases, one a line. profile: "" for the suite's own; io: "fp32", "bf16", "fp16",
 * "fp64". */
MTA_ORACLE_API int mta_oracle_cases(const char* suite, const char* profile, const char* io, uint64_t seed,
                                    char** lines);

/* A case in memory: its inputs, and room for every output. */
typedef struct mta_oracle_problem mta_oracle_problem;

MTA_ORACLE_API int mta_oracle_problem_new(const char* descriptor, mta_oracle_problem** problem);
MTA_ORACLE_API void mta_oracle_problem_free(mta_oracle_problem* problem);

/* A complete call; null for a null problem. The backward call's inputs end with d_out. */
MTA_ORACLE_API const mta_call* mta_oracle_problem_call(const mta_oracle_problem* problem, int backward);

/* Judges functions in this process. `backward` may be null. options, a JSON object or "", may have
 *   case (a descriptor or a list of them) or suite ("smoke"), profile, io, seed; rounding (a preset or
 *   "io=bf16 acc=fp32 ..."); expect ("all", "forward"); name; deterministic, diagnose (booleans).
 * Returns the exit code of the verdict. `report`: the JSON report of the command line; `text`: its one screen; both
 * may be null. Both stay null when there is no verdict (a wrong option, a case that does not fit). */
MTA_ORACLE_API int mta_oracle_check(mta_function forward, mta_function backward, const char* options,
                                    char** report, char** text);

#ifdef __cplusplus
}
#endif

#endif
