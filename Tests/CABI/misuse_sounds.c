/* Requests for sounds from prompts: every option and tensor of theirs, lengths above all, as nobody should pass them, and the
 * stretches that events bring. */
#include "misuse.h"
/* Behind the above, whose helpers they share. */
#include "requests.h"
#include "tiny_sounds.h"

static da_session hearing;

static int32_t try_sound(const char *json, const da_tensor *tensors, size_t count) {
    return try_on(hearing, json, json, strlen(json), tensors, count, stop_at_once);
}

static void refused(const char *json, const da_tensor *tensors, size_t count, int32_t status, const char *part) {
    refused_on(hearing, json, tensors, count, stop_at_once, status, part);
}

static void not_finite(const char *json, const da_tensor *tensors, size_t count, const char *part) {
    not_finite_on(hearing, json, tensors, count, part);
}

static void test_options(void) {
    static const struct {
        const char *json;
        const char *part; /* null: it is taken */
    } cases[] = {
        {"{}", "prompt"},
        {"{'prompt':null}", "prompt"},
        {"{'prompt':''}", NULL},
        {"{'prompt':'rain'}", NULL},
        {"{'prompt':['rain','a cat','']}", NULL},
        {"{'prompt':[]}", "prompt"},
        {"{'prompt':7}", "prompt"},
        {"{'prompt':[['a']]}", "prompt"},
        {"{'prompt':'a','negative_prompt':['b','c']}", "negative_prompt"},
        {"{'prompt':['a','b'],'negative_prompt':'c'}", NULL},
        {"{'prompt':'a','waveforms_per_prompt':0}", "waveforms_per_prompt"},
        {"{'prompt':'a','waveforms_per_prompt':4097}", "waveforms_per_prompt"},
        {"{'prompt':['a','b'],'waveforms_per_prompt':4096}", "more than 4096"},
        {"{'prompt':'a','waveforms_per_prompt':3}", NULL},
        {"{'prompt':'a','images_per_prompt':1}", "no option \"images_per_prompt\""},
        {"{'prompt':'a','height':64}", "no option \"height\""},
        {"{'prompt':'a','max_new_tokens':8}", "no option \"max_new_tokens\""},
        {"{'prompt':'a','unconditional':'zeros'}", "no option \"unconditional\""},
        {"{'prompt':'a','second':1}", "did you mean \"seconds\""},
        {"{'prompt':'a','seed':-1}", "seed"},
        {"{'prompt':'a','seed':9223372036854775807}", NULL},
        {"{'prompt':'a','seeds':[1,2]}", "2 seeds for 1"},
        {"{'prompt':'a','seed':1,'seeds':[1]}", "both"},
        {"{'prompt':'a','eta':1.5}", "eta"},
        {"{'prompt':'a','guidance':1000.5}", "guidance"},
        {"{'prompt':'a','guidance_rescale':2}", "guidance_rescale"},
        {"{'prompt':'a','guidance_interval':[0,0.5]}", NULL},
        {"{'prompt':'a','steps':0}", "steps"},
        {"{'prompt':'a','steps':1001}", "steps"},
        {"{'prompt':'a','sampler':'none'}", "sampler"},
        {"{'prompt':'a','decode':false}", NULL},
        {"{'prompt':'a','decode':'no'}", "decode"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *json = quoted("%s", cases[i].json);
        if (cases[i].part) refused(json, NULL, 0, DA_INVALID_ARGUMENT, cases[i].part);
        else CHECK(try_sound(json, NULL, 0) == DA_OK, "%s: %s", json, da_last_error());
    }
}

/* From a latent to ten minutes; what is outside is refused before anything is computed, what is long only estimated. */
static void test_lengths(void) {
    static const char *const wrong[] = {"0",   "-0.0", "-1",    "1e-3", "600.01", "1e9", "1e300",
                                        "'2'", "[2]",  "[2,3]", "true", "{}",     "-1e9"};
    for (size_t i = 0; i < COUNT(wrong); i++)
        refused(quoted("{'prompt':'a','seconds':%s}", wrong[i]), NULL, 0, DA_INVALID_ARGUMENT, "seconds");
    static const char *const none[] = {"NaN", "Infinity", "-Infinity", "1e999"};
    for (size_t i = 0; i < COUNT(none); i++) {
        const char *json = quoted("{'prompt':'a','seconds':%s}", none[i]);
        int32_t status = try_sound(json, NULL, 0);
        CHECK((status == DA_INVALID_ARGUMENT || status == DA_FORMAT) && strlen(da_last_error()), "%s gives %s", json,
              da_status_name(status));
    }
    for (double seconds = 0.0025; seconds < 600; seconds *= 3) {
        const char *json = quoted("{'prompt':'a','steps':2,'seconds':%.17g}", seconds);
        size_t needed = 0;
        STATUS(DA_MORE, da_session_estimate(hearing, json, strlen(json), NULL, 0, NULL, 0, &needed));
        if (seconds < 1) CHECK(try_sound(json, NULL, 0) == DA_OK, "%s: %s", json, da_last_error());
    }
    size_t needed = 0;
    static const char longest[] = "{\"prompt\":\"a\",\"seconds\":600}";
    STATUS(DA_MORE, da_session_estimate(hearing, longest, strlen(longest), NULL, 0, NULL, 0, &needed));
}

static void test_texts(void) {
    static char text[1 << 18];
    for (int kind = 0; kind < 4; kind++) {
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = kind == 0 ? 'a' : kind == 1 ? (char)(i * 7919 >> 3) : kind == 2 ? ' ' : 0;
        for (size_t length = 0; length <= sizeof text; length = 8 * length + 1) {
            da_tensor prompt = check_tensor("prompt", DA_U8, text, length, SHAPE((int64_t)length));
            int32_t status = try_sound("{\"steps\":1,\"seconds\":0.02}", &prompt, 1);
            CHECK(status == DA_OK || (status == DA_INVALID_ARGUMENT && strstr(da_last_error(), "prompt")),
                  "%zu bytes of kind %d: %s", length, kind, da_last_error());
        }
    }
}

static void test_tensors(void) {
    static const char plain[] = "{\"steps\":2,\"seconds\":0.02,\"guidance\":1}", guided[] = "{\"steps\":2,\"seconds\":0.02}",
                      noisy[] = "{\"prompt\":\"a\",\"steps\":2,\"seconds\":0.02}";
    static float vectors[2 * HEARD_VECTOR], noise[2 * 4 * 8 * 4];
    for (size_t i = 0; i < COUNT(vectors); i++) vectors[i] = cosf((float)i);
    for (size_t i = 0; i < COUNT(noise); i++) noise[i] = sinf((float)i);
    const struct {
        int64_t rows, width;
        int32_t status;
    } cases[] = {{1, 10, DA_OK}, {2, 10, DA_OK}, {1, 9, DA_SHAPE}, {1, 20, DA_SHAPE}, {1, 0, DA_SHAPE}, {0, 10, DA_SHAPE}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t bytes = (size_t)(cases[i].rows * cases[i].width) * 4;
        da_tensor given = check_tensor("prompt_embeds", DA_F32, vectors, bytes, SHAPE(cases[i].rows, cases[i].width));
        int32_t status = try_sound(plain, &given, 1);
        CHECK(status == cases[i].status || (status == DA_INVALID_ARGUMENT && cases[i].status != DA_OK),
              "vectors %zu give %s: %s", i, da_status_name(status), da_last_error());
    }
    da_tensor both[2] = {check_tensor("prompt_embeds", DA_F32, vectors, HEARD_VECTOR * 4, SHAPE(1, HEARD_VECTOR)),
                         check_tensor("negative_prompt_embeds", DA_F32, vectors, HEARD_VECTOR * 4, SHAPE(1, HEARD_VECTOR))};
    CHECK(try_sound(guided, both, 2) == DA_OK, "%s", da_last_error());
    CHECK(try_sound(guided, both, 1) == DA_OK, "away from an empty text: %s", da_last_error());
    refused(noisy, both, 1, DA_INVALID_ARGUMENT, "both");
    static const char *const unknown[] = {"attention_mask", "generated_prompt_embeds", "clap_embeds", "pooled_prompt_embeds",
                                          "mel"};
    for (size_t i = 0; i < COUNT(unknown); i++) {
        both[1] = check_tensor(unknown[i], DA_F32, vectors, HEARD_VECTOR * 4, SHAPE(1, HEARD_VECTOR));
        refused(plain, both, 2, DA_INVALID_ARGUMENT, unknown[i]);
    }
    da_tensor given = check_tensor("noise", DA_F32, noise, 4 * 8 * 4 * 4, SHAPE(1, 4, 8, 4));
    CHECK(try_sound(noisy, &given, 1) == DA_OK, "%s", da_last_error());
    given = check_tensor("noise", DA_F32, noise, 4 * 8 * 4 * 4, SHAPE(1, 4, 4, 8));
    refused(noisy, &given, 1, DA_SHAPE, "noise");
    given = check_tensor("noise", DA_F32, noise, 2 * 4 * 8 * 4 * 4, SHAPE(2, 4, 8, 4));
    refused(noisy, &given, 1, DA_SHAPE, "noise");
    noise[3] = NAN;
    given = check_tensor("noise", DA_F32, noise, 4 * 8 * 4 * 4, SHAPE(1, 4, 8, 4));
    not_finite(noisy, &given, 1, "noise");
    vectors[3] = -INFINITY;
    not_finite(plain, both, 1, "prompt_embeds");
}

/* What is heard so far. */
struct heard {
    int counts[8];
    int64_t values;
    int64_t stop_after;
    float audio[1 << 15];
};

static int32_t listen(void *user, const da_event *event) {
    struct heard *heard = user;
    da_tensor view = {.struct_size = sizeof view}, place = {.struct_size = sizeof place};
    heard->counts[event->stage]++;
    int32_t found = da_event_tensor(event, "audio", &view);
    CHECK((found == DA_OK) == (event->stage == DA_STAGE_VOCODE), "stage %d, audio %s", event->stage, da_status_name(found));
    if (found != DA_OK) return 0;
    STATUS(DA_OK, da_event_tensor(event, "audio_place", &place));
    const int64_t *at = place.data;
    CHECK(view.rank == 1 && view.dtype == DA_F32 && place.rank == 1 && place.shape[0] == 2 && at[0] == 0 &&
              at[1] == heard->values,
          "a stretch at %lld of sound %lld, expected %lld", (long long)at[1], (long long)at[0], (long long)heard->values);
    if ((size_t)(heard->values + view.shape[0]) <= COUNT(heard->audio))
        memcpy(heard->audio + heard->values, view.data, (size_t)view.shape[0] * sizeof(float));
    heard->values += view.shape[0];
    return heard->stop_after && heard->values >= heard->stop_after;
}

/* Stretches are the sound, and a run can be stopped between them. */
static void test_stretches(void) {
    static struct heard heard, stopped = {.stop_after = 1};
    static const char json[] = "{\"prompt\":\"a\",\"steps\":2,\"seconds\":2}";
    static char stats[1 << 16];
    da_result made = NULL;
    STATUS(DA_OK, check_told(hearing, json, listen, &heard, &made));
    CHECK(heard.counts[DA_STAGE_ENCODE] == 1 && heard.counts[DA_STAGE_DENOISE] == 2 && heard.counts[DA_STAGE_DECODE] == 1 &&
              heard.counts[DA_STAGE_VOCODE] > 1,
          "stages %d %d %d %d", heard.counts[DA_STAGE_ENCODE], heard.counts[DA_STAGE_DENOISE], heard.counts[DA_STAGE_DECODE],
          heard.counts[DA_STAGE_VOCODE]);
    da_tensor audio = {.struct_size = sizeof audio}, mel = audio;
    STATUS(DA_OK, da_result_tensor(made, "audio", &audio));
    STATUS(DA_OK, da_result_tensor(made, "mel", &mel));
    CHECK(audio.rank == 2 && audio.shape[0] == 1 && audio.shape[1] == 2 * HEARD_RATE && heard.values == audio.shape[1] &&
              !memcmp(audio.data, heard.audio, audio.bytes),
          "stretches of %lld values are not the sound", (long long)heard.values);
    CHECK(mel.rank == 3 && mel.shape[1] == 2 * 2 * HEARD_RATE / HEARD_LATENT && mel.shape[2] == HEARD_BINS, "mel [%lld,%lld]",
          (long long)mel.shape[1], (long long)mel.shape[2]);
    STATUS(DA_OK, da_result_stats(made, stats, sizeof stats, NULL));
    CHECK(strstr(stats, "\"sample_rate\":16000"), "no rate in %.200s", stats);
    STATUS(DA_OK, da_result_close(made));
    made = NULL;
    STATUS(DA_CANCELLED, check_told(hearing, json, listen, &stopped, &made));
    CHECK(!made && stopped.counts[DA_STAGE_VOCODE] == 1, "%d stretches", stopped.counts[DA_STAGE_VOCODE]);
}

int main(void) {
    if (!misuse_begin()) return check_summary("misuse_sounds");
    da_model own = NULL;
    STATUS(DA_OK, da_model_open(write_sounds(), NULL, &own));
    hearing = check_session(own, NULL, 2);
    static float before[800], after[800];
    static const char same[] = "{\"prompt\":\"rain\",\"steps\":3,\"seconds\":0.05}";
    check_copied(hearing, same, NULL, 0, "audio", before, sizeof before);
    test_options();
    test_lengths();
    test_texts();
    test_tensors();
    test_stretches();
    check_copied(hearing, same, NULL, 0, "audio", after, sizeof after);
    CHECK(!memcmp(before, after, sizeof before), "misuse changes the sounds");
    STATUS(DA_OK, da_session_close(hearing));
    STATUS(DA_OK, da_model_close(own));
    return misuse_end("misuse_sounds");
}
