/* Requests without tensors to the session that the misuse programs share. */
#ifndef OPTION_REQUESTS_H
#define OPTION_REQUESTS_H

#include "requests.h"

static int32_t try_bytes(const char *what, const char *json, size_t length) {
    return try_on(session, what, json, length, NULL, 0, stop_at_once);
}

static int32_t try_request(const char *json) { return try_bytes(json, json, strlen(json)); }

/* The request is refused with `status` and a text that has `part`; nothing is made, and no size told. */
static void refused(const char *json, int32_t status, const char *part) {
    refused_on(session, json, NULL, 0, NULL, status, part);
    size_t needed = 77;
    STATUS(status, check_estimate(session, json, NULL, 0, &needed));
    CHECK(needed == 77, "a refused estimate needs %zu bytes", needed);
}

#endif
