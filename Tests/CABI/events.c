/* What a run tells on its way, for each kind of model: numbers that fit together, tensors that agree with the result, JSON.
 * Usage: events folder-of-the-bundled-models */
#include "bundled.h"
#include "watcher.h"

static struct watcher w;

/* ---- models of images ---- */

/* Latents are all that there is to see, and calls of the network are between `least` and `most`. */
static void watch_latents(da_session own, const char *json, int least, int most) {
    w.has[LATENTS] = 1;
    da_result made = watched(own, json, NULL, 0, &w);
    CHECK(w.calls >= least && w.calls <= most && !w.decoded && w.fraction == 1, "%s: %d calls, %d decoded, fraction %.17g",
          json, w.calls, w.decoded, w.fraction);
    same(made, "latents", &w, LATENTS);
    forget(&w, made);
}

static void test_images(void) {
    static const char *const samplers[] = {"ddim", "ddpm",     "pndm",      "euler_a", "heun",
                                           "lms",  "dpmpp_2m", "dpmpp_sde", "unipc",   "lcm"};
    da_session plain = check_session(model, NULL, 2);
    for (size_t i = 0; i < 2 * COUNT(samplers); i++)
        watch_latents(plain, quoted("{'labels':[1,2],'steps':6,'sampler':'%s','guidance':%d}", samplers[i / 2], i % 2 ? 3 : 1),
                      6, 24);
    STATUS(DA_OK, da_session_close(plain));
    watch_latents(session, check_request, 6, 6);
    /* Pixels need no decoding, asked for or not. */
    da_session pixels = bundled_session("fashion-dit", NULL);
    watch_latents(pixels, "{\"labels\":[1,2],\"steps\":4,\"decode\":false}", 4, 4);
    watch_latents(pixels, "{\"labels\":[1,2],\"steps\":4,\"decode\":true}", 4, 4);
    STATUS(DA_OK, da_session_close(pixels));
}

/* ---- scale by scale ---- */

static void test_scales(void) {
    static const char *const plans[] = {NULL, "fashion-var/code.json"};
    for (int pair = 0; pair < 2; pair++) {
        da_session scales = bundled_session("fashion-var", plans[pair]);
        for (int previews = 0; previews < 2; previews++) {
            w.has[LATENTS] = 1;
            w.has[PREVIEW] = previews;
            da_result made =
                watched(scales, quoted("{'labels':[1,2],'previews':%s}", previews ? "true" : "false"), NULL, 0, &w);
            CHECK(w.calls > 2 && w.decoded && w.fraction == 1, "%d calls, %d decoded, fraction %.17g", w.calls, w.decoded,
                  w.fraction);
            CHECK(!w.partners == !pair && w.partners < w.calls, "%d calls of the partner", w.partners);
            same(made, "latents", &w, LATENTS);
            if (previews) same(made, "images", &w, PREVIEW);
            forget(&w, made);
        }
        STATUS(DA_OK, da_session_close(scales));
    }
}

/* ---- language models ---- */

static const int64_t prompt_tokens[] = {70, 71, 72, 73, 74}, prompt_lengths[] = {2, 3};

static void test_texts(void) {
    da_session texts = bundled_session("tiny-llada", NULL);
    const da_tensor prompts[] = {check_tensor("tokens", DA_I64, prompt_tokens, sizeof prompt_tokens, SHAPE(5)),
                                 check_tensor("lengths", DA_I64, prompt_lengths, sizeof prompt_lengths, SHAPE(2))};
    static const char *const requests[] = {
        "{\"length\":12}", "{\"length\":12,\"steps\":5}", "{\"length\":16,\"block_length\":8,\"steps\":8}",
        "{\"length\":12,\"temperature\":0.7,\"seeds\":[3,4]}", "{\"length\":16,\"block_length\":4,\"threshold\":0.3}"};
    for (size_t i = 0; i < COUNT(requests); i++) {
        for (int name = SEQUENCES; name < NAMES; name++) w.has[name] = 1;
        int decides = strstr(requests[i], "threshold") != NULL;
        da_result made = watched(texts, requests[i], prompts, 2, &w);
        CHECK(w.calls > 1 && !w.decoded && (decides || w.fraction == 1), "%s: %d passes, fraction %.17g", requests[i], w.calls,
              w.fraction);
        da_tensor view = {.struct_size = sizeof view}, lengths = view;
        STATUS(DA_OK, da_result_tensor(made, "lengths", &lengths));
        /* A text that is complete takes part in no pass. */
        if (!decides) same(made, "sequences", &w, SEQUENCES), same(made, "lengths", &w, LENGTHS);
        STATUS(DA_OK, da_result_tensor(made, "filled", &view));
        int64_t filled = 0, at = 0;
        for (int64_t prompt = 0; prompt < lengths.shape[0]; prompt++)
            for (int64_t k = 0; k < ((const int64_t *)lengths.data)[prompt]; k++, at++) {
                int64_t is_filled = ((const int64_t *)view.data)[at];
                filled += is_filled;
                CHECK(w.written[prompt][k] == is_filled, "position %lld of prompt %lld is revealed %lld times", (long long)k,
                      (long long)prompt, (long long)w.written[prompt][k]);
            }
        CHECK(at == view.shape[0] && filled == w.revealed && filled > 0, "%s: %lld filled, %lld revealed", requests[i],
              (long long)filled, (long long)w.revealed);
        forget(&w, made);
    }
    STATUS(DA_OK, da_session_close(texts));
}

int main(int count, char **arguments) {
    if (!bundled_begin("events", count, arguments)) return 2;
    if (!misuse_begin()) return check_summary("events");
    test_images();
    test_scales();
    test_texts();
    return misuse_end("events");
}
