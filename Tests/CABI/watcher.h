/* An observer that looks at everything an event tells: numbers that fit together and to the event before, JSON that says the
 * same, tensors of the right type and size, of which the last are kept. */
#ifndef WATCHER_H
#define WATCHER_H

#include "misuse.h"

enum { PROMPTS_SEEN = 128, POSITIONS_SEEN = 512 };

static const char *const all_names[] = {"latents", "preview", "sequences", "lengths", "prompts", "queries", "revealed"};
enum { LATENTS, PREVIEW, SEQUENCES, LENGTHS, PROMPTS, QUERIES, REVEALED, NAMES };

struct watcher {
    int has[NAMES]; /* which tensors events outside of decoding must have */
    int calls, decoded;
    int last_step, last_stage;
    double fraction, seconds;
    int partners; /* calls of the partner's network */
    unsigned char *last[NAMES];
    size_t bytes[NAMES];
    int64_t revealed;
    int64_t written[PROMPTS_SEEN][POSITIONS_SEEN]; /* how often each position of the batch was revealed */
};

static double number_in(const char *json, const char *name) {
    char part[40];
    snprintf(part, sizeof part, "\"%s\":", name);
    const char *at = strstr(json, part);
    CHECK(at, "no %s in %s", name, json);
    return at ? strtod(at + strlen(part), NULL) : NAN;
}

static const int64_t *integers(struct watcher *w, int name) { return (const int64_t *)(void *)w->last[name]; }

static void look_at_texts(struct watcher *w) {
    size_t texts = w->bytes[LENGTHS] / 8, sum = 0;
    CHECK(w->bytes[PROMPTS] == 8 * texts && w->bytes[QUERIES] == 8 * texts, "%zu texts", texts);
    for (size_t i = 0; i < texts; i++) {
        int64_t length = integers(w, LENGTHS)[i], queries = integers(w, QUERIES)[i];
        CHECK(queries >= 0 && queries <= length, "%lld of %lld positions computed", (long long)queries, (long long)length);
        CHECK(!i || integers(w, PROMPTS)[i] > integers(w, PROMPTS)[i - 1], "prompts are out of order");
        for (size_t k = 0; k < w->bytes[REVEALED] / 16; k++) {
            int64_t prompt = integers(w, REVEALED)[2 * k], position = integers(w, REVEALED)[2 * k + 1];
            if (prompt != integers(w, PROMPTS)[i]) continue;
            CHECK(position >= 0 && position < length, "position %lld of %lld", (long long)position, (long long)length);
            w->revealed++;
            if (prompt < 0 || prompt >= PROMPTS_SEEN || position < 0 || position >= POSITIONS_SEEN) continue;
            w->written[prompt][position]++;
            CHECK(integers(w, SEQUENCES)[sum + (size_t)position] != 1023, "what is revealed is a mask");
        }
        sum += (size_t)length;
    }
    CHECK(w->bytes[SEQUENCES] == 8 * sum, "%zu bytes of sequences", w->bytes[SEQUENCES]);
}

static void look_at_tensors(struct watcher *w, const da_event *event, const char *json) {
    int decoding = event->stage == DA_STAGE_DECODE;
    const char *listed = strstr(json, "\"tensors\":");
    for (int i = 0; i < NAMES; i++) {
        char part[40];
        da_tensor view = {.struct_size = sizeof view}, again = view;
        snprintf(part, sizeof part, "\"%s\"", all_names[i]);
        int expected = w->has[i] && !decoding;
        CHECK(!strstr(listed ? listed : json, part) == !expected, "%s in %s", all_names[i], json);
        STATUS(expected ? DA_OK : DA_INVALID_ARGUMENT, da_event_tensor(event, all_names[i], &view));
        if (!expected) {
            CHECK(!view.data && strstr(da_last_error(), part), "the text is \"%s\"", da_last_error());
            CHECK(strstr(da_last_error(), decoding          ? "it has none"
                                          : w->has[LATENTS] ? "it has latents"
                                                            : "it has sequences"),
                  "the text is \"%s\"", da_last_error());
            continue;
        }
        CHECK(!strcmp(view.name, all_names[i]) && view.struct_size == sizeof view, "a view of %s", view.name);
        CHECK(view.dtype == (i == LATENTS ? DA_F32 : i == PREVIEW ? DA_U8 : DA_I64), "%s has type %d", view.name, view.dtype);
        CHECK(view.rank == (i < SEQUENCES ? 4 : i == REVEALED ? 2 : 1), "%s has rank %d", view.name, view.rank);
        size_t size = view.dtype == DA_F32 ? 4 : view.dtype == DA_U8 ? 1 : 8, count = 1;
        for (int k = 0; k < view.rank; k++) count *= (size_t)view.shape[k];
        CHECK(count * size == view.bytes, "%s of %zu bytes", view.name, view.bytes);
        STATUS(DA_OK, da_event_tensor(event, all_names[i], &again));
        CHECK(again.data == view.data && again.bytes == view.bytes, "%s asked for again is another", view.name);
        w->last[i] = realloc(w->last[i], view.bytes + 1);
        w->bytes[i] = view.bytes;
        if (view.bytes) memcpy(w->last[i], view.data, view.bytes);
    }
    if (w->has[SEQUENCES] && !decoding) look_at_texts(w);
}

static int32_t watch(void *user, const da_event *event) {
    struct watcher *w = user;
    static const char *const stages[] = {"denoise", "decode", "scale", "unmask"};
    char json[1024], part[64];
    CHECK(event->struct_size == sizeof *event && event->source, "an event of %u bytes", event->struct_size);
    CHECK(event->stage >= 0 && event->stage <= 3, "stage %d", event->stage);
    CHECK(event->step >= 1 && event->step <= event->steps, "step %d of %d", event->step, event->steps);
    CHECK(event->step == (event->stage == w->last_stage ? w->last_step + 1 : 1), "step %d after %d", event->step, w->last_step);
    CHECK(event->fraction >= w->fraction && event->fraction <= 1, "fraction %.17g after %.17g", event->fraction, w->fraction);
    CHECK(event->seconds >= w->seconds, "%g seconds after %g", event->seconds, w->seconds);
    size_t needed = 0;
    STATUS(DA_OK, da_event_describe(event, json, sizeof json, &needed));
    CHECK(needed == strlen(json) + 1, "%zu bytes of %s", needed, json);
    snprintf(part, sizeof part, "\"stage\":\"%s\"", stages[event->stage & 3]);
    CHECK(strstr(json, part), "no %s in %s", part, json);
    CHECK(number_in(json, "step") == event->step && number_in(json, "steps") == event->steps &&
              number_in(json, "fraction") == event->fraction && number_in(json, "seconds") == event->seconds,
          "%s", json);
    CHECK(number_in(json, "flops") >= 0 && number_in(json, "computed") >= 0 && number_in(json, "reused") >= 0 &&
              number_in(json, "skipped") >= 0,
          "%s", json);
    CHECK(!strstr(json, "\"timestep\":null") == (event->stage != DA_STAGE_DECODE), "%s", json);
    if (number_in(json, "network") == 1) w->partners++;
    look_at_tensors(w, event, json);
    w->last_step = event->step, w->last_stage = event->stage;
    w->fraction = event->fraction, w->seconds = event->seconds;
    event->stage == DA_STAGE_DECODE ? w->decoded++ : w->calls++;
    return 0;
}

/* Runs with the watcher looking. */
static da_result watched(da_session own, const char *json, const da_tensor *tensors, size_t count, struct watcher *w) {
    da_result made = NULL;
    w->last_stage = -1;
    STATUS(DA_OK, da_session_run(own, json, strlen(json), tensors, count, watch, w, &made));
    return made;
}

/* The tensor `name` of the result must be the one that the last event had as `which`. */
static void same(da_result made, const char *name, struct watcher *w, int which) {
    da_tensor view = {.struct_size = sizeof view};
    STATUS(DA_OK, da_result_tensor(made, name, &view));
    CHECK(view.data && view.bytes == w->bytes[which] && !memcmp(view.data, w->last[which], view.bytes),
          "%s of the result is not %s of the last event", name, all_names[which]);
}

/* Closes the result, and makes the watcher ready for another run. */
static void forget(struct watcher *w, da_result made) {
    if (made) STATUS(DA_OK, da_result_close(made));
    for (int i = 0; i < NAMES; i++) free(w->last[i]);
    memset(w, 0, sizeof *w);
}

#endif
