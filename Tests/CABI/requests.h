/* Requests that may be refused: a run and an estimate say the same of them. */
#ifndef REQUESTS_H
#define REQUESTS_H

#include "misuse.h"

/* Stops as soon as the run has begun: whether a request is accepted is known by then. */
SHARED int32_t stop_at_once(void *user, const da_event *event) {
    (void)user;
    return event->step >= 1;
}

/* Runs and estimates the request: both give a documented status, and the same one with the same text but for what only a run
 * finds. DA_OK when it is accepted. */
SHARED int32_t try_on(da_session own, const char *what, const char *json, size_t length, const da_tensor *tensors, size_t count,
                      da_event_callback callback) {
    da_result made = (void *)&made;
    int32_t status = da_session_run(own, json, length, tensors, count, callback, NULL, &made);
    expect_answer(what, (long double)count, status, made);
    if (made) da_result_close(made);
    char told[2100];
    snprintf(told, sizeof told, "%s", da_last_error());
    size_t needed;
    int32_t estimated = da_session_estimate(own, json, length, tensors, count, NULL, 0, &needed);
    /* Numbers that are none turn up at work, and what a plan has no part in when the run begins. */
    int by_run_only =
        estimated == DA_MORE && (status == DA_NOT_FINITE || status == DA_INCOMPATIBLE || status == DA_OVER_BUDGET);
    CHECK(by_run_only || estimated == (status >= 0 ? DA_MORE : status), "%.100s: run gives %s, estimate %s", what,
          da_status_name(status), da_status_name(estimated));
    CHECK(estimated >= 0 || !strcmp(told, da_last_error()), "%.100s: run says %s, estimate %s", what, told, da_last_error());
    return status >= 0 ? DA_OK : status;
}

/* The request must be refused with `status` and a text that has `part`. */
SHARED void refused_on(da_session own, const char *json, const da_tensor *tensors, size_t count, da_event_callback callback,
                       int32_t status, const char *part) {
    int32_t found = try_on(own, json, json, strlen(json), tensors, count, callback);
    CHECK(found == status && strstr(da_last_error(), part), "%.100s gives %s: %s, expected %s with \"%s\"", json,
          da_status_name(found), da_last_error(), da_status_name(status), part);
}

/* The run must end with DA_NOT_FINITE and a text that has `part`: numbers that are none turn up in it, after the estimate that
 * `refused_on` makes has cleared the text. */
SHARED void not_finite_on(da_session own, const char *json, const da_tensor *tensors, size_t count, const char *part) {
    da_result made = NULL;
    STATUS(DA_NOT_FINITE, da_session_run(own, json, strlen(json), tensors, count, NULL, NULL, &made));
    CHECK(!made && strstr(da_last_error(), part), "no %s in %s", part, da_last_error());
}

#endif
