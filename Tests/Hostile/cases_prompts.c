/* Requests to pipelines that ask for too much: prompts of a million characters, sizes from 8 to 65536. What a picture needs is
 * said before it is asked for, and is what is then asked for. */
#include "hostile.h"
#include "pipelines.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))

static da_model opened(const char *kind) {
    da_model model = NULL;
    CHECK(da_model_open(pipeline_write("pipeline", kind), NULL, &model) == DA_OK, "%s: %s", kind, da_last_error());
    return model;
}

static da_session session(da_model model, uint64_t limit) {
    da_session session = NULL;
    da_session_options options;
    da_session_options_init(&options, sizeof options);
    options.threads = 1;
    options.memory_limit = limit;
    CHECK(da_session_create(model, NULL, &options, &session) == DA_OK, "a session: %s", da_last_error());
    return session;
}

/* A prompt that says `unit` until a million characters are there, as JSON. */
static char *request(const char *unit, size_t characters) {
    size_t length = strlen(unit), count = 1000000 / characters;
    char *text = malloc(length * count + 200);
    if (!text) exit(2);
    char *at = stpcpy(text, "{\"steps\":1,\"height\":32,\"width\":32,\"prompt\":\"");
    for (size_t i = 0; i < count; i++, at += length) memcpy(at, unit, length);
    strcpy(at, "\"}");
    return text;
}

static void long_prompts(da_session session, const char *kind) {
    static const struct {
        const char *id, *unit;
        size_t characters;
        const char *words; /* null: a picture is made */
    } prompts[] = {
        {"letters", "a", 1, NULL},
        {"marks", "\xcc\x81", 1, NULL},
        {"words", "cat ", 4, NULL},
        {"cats", "\xf0\x9f\x90\x88", 1, NULL},
        {"lines", "\\n", 1, NULL},
        {"accents", "\xc3\xa9", 1, NULL},
        {"endings", "'s", 2, NULL},
        {"ends of texts", "<|endoftext|>", 13, NULL},
        {"nothing seen", "\xe2\x80\x8b", 1, NULL},
        /* More bytes than a request may have. */
        {"cats, escaped", "\\ud83d\\udc08", 1, "json: 0...4194304 bytes"},
        {"zeros", "\\u0000", 1, "json: 0...4194304 bytes"},
    };
    /* Pipelines of several encoders cut the text by the same code. */
    for (size_t i = 0; i < (strcmp(kind, "sd") ? 2 : COUNT(prompts)); i++) {
        char id[64], *json = request(prompts[i].unit, prompts[i].characters);
        snprintf(id, sizeof id, "%s: a million %s", kind, prompts[i].id);
        da_result result = (da_result)(uintptr_t)1;
        int32_t found;
        meter_start();
        found = da_session_run(session, json, strlen(json), NULL, 0, NULL, NULL, &result);
        long peak = meter_peak();
        if (prompts[i].words)
            CHECK(found == DA_INVALID_ARGUMENT && !result && strstr(da_last_error(), prompts[i].words), "%s: %s", id,
                  da_last_error());
        else CHECK(found == DA_OK && result, "%s: %s", id, da_last_error());
        /* The text, what it is cut into, and a small picture. */
        CHECK(peak <= 400L << 20, "%s: %ld bytes asked for", id, peak);
        da_tensor latents = {.struct_size = sizeof latents};
        if (found == DA_OK) {
            CHECK(da_result_tensor(result, "latents", &latents) == DA_OK, "%s: %s", id, da_last_error());
            da_result_close(result);
        }
        free(json);
    }
}

/* The member `key` of the object `outer` in the JSON that an estimate gave; -1 when there was none. */
static double estimated(da_session session, const char *json, int32_t *status) {
    char text[8192];
    size_t needed;
    *status = da_session_estimate(session, json, strlen(json), NULL, 0, text, sizeof text, &needed);
    if (*status != DA_OK) return -1;
    json_t *found = json_loads(text, 0, NULL);
    double bytes = json_number_value(json_object_get(json_object_get(found, "bytes"), "peak"));
    json_decref(found);
    return bytes;
}

/* Every side from 8 to 65536: refused by name, or estimated without asking for memory, growing with the picture, and then
 * refused by the limit or made in what was estimated. */
static void sizes(da_model model, const char *kind) {
    static const int64_t sides[] = {
        -8, 0, 1, 4, 8, 12, 16, 31, 32, 33, 64, 128, 512, 4096, 16384, 16388, 65536, INT64_C(1) << 31, INT64_C(1) << 62};
    da_session free_session = session(model, 0), limited = session(model, 1 << 26);
    int made = 0, refused = 0, beyond = 0;
    for (size_t i = 0; i < COUNT(sides); i++)
        for (size_t j = 0; j < COUNT(sides); j++) {
            if (i != j && sides[j] != 32 && sides[j] != 16384) continue;
            char json[256];
            snprintf(json, sizeof json, "{\"prompt\":\"a cat\",\"steps\":1,\"guidance\":1,\"height\":%lld,\"width\":%lld}",
                     (long long)sides[i], (long long)sides[j]);
            int32_t status;
            meter_start();
            double bytes = estimated(free_session, json, &status);
            long asked = meter_peak();
            CHECK(asked <= 16 << 20, "%s: %s: the estimate asks for %ld bytes", kind, json, asked);
            da_result result = (da_result)(uintptr_t)1;
            meter_start();
            int32_t found = da_session_run(limited, json, strlen(json), NULL, 0, NULL, NULL, &result);
            asked = meter_peak();
            if (status != DA_OK) {
                const char *text = da_last_error();
                CHECK(status == DA_INVALID_ARGUMENT && found == status && !result &&
                          (strstr(text, "height") || strstr(text, "width")),
                      "%s: %s: %s", kind, json, text);
                refused++;
            } else if (found == DA_OK) {
                CHECK(asked <= 1.1 * bytes + (1 << 20) && asked >= 0.9 * bytes - (1 << 20),
                      "%s: %s: estimated %.0f, asked for %ld", kind, json, bytes, asked);
                da_result_close(result);
                made++;
            } else {
                const char *text = da_last_error();
                CHECK(found == DA_OVER_BUDGET && !result && strstr(text, "limit") && bytes > 1 << 26, "%s: %s: %.0f bytes: %s",
                      kind, json, bytes, text);
                /* Nothing of it was asked for but what says so. */
                CHECK(asked <= 16 << 20, "%s: %s: refused after asking for %ld bytes", kind, json, asked);
                beyond++;
            }
        }
    /* The positions of Stable Diffusion 3 end before the limit is reached. */
    CHECK(made >= 5 && refused >= 10 && (beyond >= 3 || !strcmp(kind, "sd3")), "%s: %d made, %d refused, %d beyond the limit",
          kind, made, refused, beyond);
    da_session_close(free_session), da_session_close(limited);
}

void cases_prompts(void) {
    static const char *const kinds[] = {"sd", "sdxl", "sd3"};
    for (size_t i = 0; i < COUNT(kinds); i++) {
        da_model model = opened(kinds[i]);
        if (!model) continue;
        da_session one = session(model, 0);
        long_prompts(one, kinds[i]);
        da_session_close(one);
        sizes(model, kinds[i]);
        da_model_close(model);
    }
    hostile_remove("pipeline");
}
