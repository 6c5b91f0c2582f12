/* What the misuse programs share: one live handle of each kind, values at every edge, and what an answer must look like. */
#ifndef MISUSE_H
#define MISUSE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <limits.h>
#include <math.h>
#include <stdint.h>

#include "check.h"

/* Each program uses some of these. */
#define SHARED       __attribute__((unused)) static
#define COUNT(array) (sizeof(array) / sizeof *(array))

static da_model model;
static da_plan plan;
static da_session session;
static da_result result;
static da_trainer trainer;

SHARED const int32_t hostile32[] = {0,    1,    -1,    2,     -2,      3,       7,           255,     256,     257,        1000,
                                    1001, 4096, 65535, 65536, 1 << 24, 1 << 30, INT_MAX - 1, INT_MAX, INT_MIN, INT_MIN + 1};
SHARED const uint64_t hostile64[] = {0,
                                     1,
                                     2,
                                     3,
                                     4095,
                                     4096,
                                     4097,
                                     65536,
                                     1u << 31,
                                     (1ull << 31) - 1,
                                     1ull << 32,
                                     (1ull << 32) + 1,
                                     1ull << 40,
                                     1ull << 47,
                                     1ull << 48,
                                     (1ull << 48) - 1,
                                     (1ull << 62) - 1,
                                     (1ull << 62) + 1,
                                     (1ull << 63) - 1,
                                     1ull << 63,
                                     (1ull << 63) + 1,
                                     UINT64_MAX - 1,
                                     UINT64_MAX};
SHARED const double hostile_floats[] = {0.0,      -0.0,  0.5,  1.0,  -1.0,  1.0000001, 1e-310, -1e-310,
                                        4.9e-324, 1e-38, 1e38, 1e39, -1e39, 1e308,     -1e308};

/* A documented status, and nothing made unless it is success. */
SHARED void expect_answer(const char *what, long double value, int32_t status, const void *made) {
    CHECK(status <= DA_MORE && status > DA_INTERNAL, "%s = %Lg gives %s: %s", what, value, da_status_name(status),
          da_last_error());
    CHECK((status == DA_OK) == (made != NULL), "%s = %Lg: status %s, out-parameter %p", what, value, da_status_name(status),
          made);
}

/* A trainer that needs no data. */
static const char misuse_settings[] =
    "{\"method\":\"router\",\"trajectory\":\"own\",\"sampling_steps\":4,\"steps\":1000,\"batch\":1}";

static int misuse_begin(void) {
    model = check_model();
    const char *text = "{\"method\":\"l2c\",\"policy\":\"alternate\"}";
    STATUS(DA_OK, da_plan_parse(text, strlen(text), &plan));
    session = check_session(model, plan, 2);
    STATUS(DA_OK, check_run(session, check_request, &result));
    STATUS(DA_OK, da_trainer_create(tiny_checkpoint(), misuse_settings, strlen(misuse_settings), NULL, NULL, &trainer));
    return model && plan && session && result && trainer;
}

/* The handles have come through everything, and the session gives the bits it gave first. */
static int misuse_end(const char *name) {
    float again[2 * TINY_STATE];
    STATUS(DA_OK, check_sample(session, check_request, again));
    da_tensor view = {.struct_size = sizeof view};
    STATUS(DA_OK, da_result_tensor(result, "latents", &view));
    CHECK(view.data && view.bytes == sizeof again && !memcmp(view.data, again, sizeof again), "misuse changes the samples");
    STATUS(DA_OK, da_trainer_run(trainer, 1, NULL, NULL));
    STATUS(DA_OK, da_trainer_close(trainer));
    STATUS(DA_OK, da_result_close(result));
    STATUS(DA_OK, da_session_close(session));
    STATUS(DA_OK, da_plan_close(plan));
    STATUS(DA_OK, da_model_close(model));
    return check_summary(name);
}

#endif
