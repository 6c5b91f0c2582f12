/* Requests with tensors to the session that the misuse programs share. */
#ifndef TENSOR_REQUESTS_H
#define TENSOR_REQUESTS_H

#include "requests.h"

enum { N = 2 * TINY_STATE };

static const int64_t state_shape[] = {2, TINY_CHANNELS, TINY_SIDE, TINY_SIDE, -1};
static float noise[N]; /* what the seed of these requests gives */
static const char two[] = "{\"labels\":[1,2],\"steps\":6,\"seed\":3}", none[] = "{\"steps\":6,\"seed\":3}";

static int tensors_begin(void) {
    STATUS(DA_OK, da_random_normal(3, N, noise));
    return misuse_begin();
}

static int32_t try_tensors(const char *what, const char *json, const da_tensor *tensors, size_t count) {
    return try_on(session, what, json, strlen(json), tensors, count, NULL);
}

/* A request with one tensor is refused with a text that names it. */
static void refused(const char *json, da_tensor tensor, int32_t status, const char *part) {
    refused_on(session, json, &tensor, 1, NULL, status, part);
}

static da_tensor labels_of(const void *data, int64_t count) {
    return check_tensor("labels", DA_I64, data, (size_t)count * 8, SHAPE(count));
}

#endif
