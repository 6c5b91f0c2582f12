/* Requests for texts to the bundled language model. */
#ifndef TEXT_REQUESTS_H
#define TEXT_REQUESTS_H

#include "bundled.h"
#include "requests.h"

static da_session writer;
static da_tokenizer words;

static void open_writer(void) {
    da_model own = bundled_model("tiny-llada");
    STATUS(DA_OK, da_model_tokenizer(own, &words));
    writer = check_session(own, NULL, 1);
    STATUS(DA_OK, da_model_close(own));
}

static void close_writer(void) {
    STATUS(DA_OK, da_tokenizer_close(words));
    STATUS(DA_OK, da_session_close(writer));
}

/* A run that has begun is stopped. */
SHARED int32_t try_request(const char *json, const da_tensor *tensors, size_t count) {
    return try_on(writer, json, json, strlen(json), tensors, count, stop_at_once);
}

SHARED void refused(const char *json, const da_tensor *tensors, size_t count, int32_t status, const char *part) {
    refused_on(writer, json, tensors, count, stop_at_once, status, part);
}

/* Runs the request and copies the sequences of its result; gives their number of tokens. */
static size_t sequences(const char *json, const da_tensor *tensors, size_t count, int64_t *tokens, size_t room) {
    return check_copied(writer, json, tensors, count, "sequences", tokens, 8 * room) / 8;
}

static da_tensor prompt_of(const char *text, size_t length) {
    return check_tensor("prompt", DA_U8, text, length, SHAPE((int64_t)length));
}

#endif
