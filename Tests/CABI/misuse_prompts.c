/* Requests for pictures from prompts: every option and tensor of theirs, and the settings of such models, as nobody should pass
 * them. */
#include "misuse.h"
/* Behind the above, whose helpers they share. */
#include "requests.h"
#include "tiny_diffusion.h"

static da_session drawing;

enum { PICTURE = 3 * DRAWN_SIDE * DRAWN_SIDE };

static float image[2 * PICTURE], mask[2 * DRAWN_SIDE * DRAWN_SIDE], states[2 * DRAWN_TOKENS * 2 * DRAWN_TEXT];

static int32_t try_prompt(const char *json, const da_tensor *tensors, size_t count) {
    return try_on(drawing, json, json, strlen(json), tensors, count, stop_at_once);
}

static void refused(const char *json, const da_tensor *tensors, size_t count, int32_t status, const char *part) {
    refused_on(drawing, json, tensors, count, stop_at_once, status, part);
}

static void not_finite(const char *json, const da_tensor *tensors, size_t count, const char *part) {
    not_finite_on(drawing, json, tensors, count, part);
}

static void test_options(void) {
    static const struct {
        const char *json;
        const char *part; /* null: it is taken */
    } cases[] = {
        {"{}", "prompt or prompt_embeds"},
        {"{'prompt':null}", "prompt or prompt_embeds"},
        {"{'prompt':''}", NULL},
        {"{'prompt':'red apple'}", NULL},
        {"{'prompt':['red','a cat',''],'steps':2}", NULL},
        {"{'prompt':[]}", "prompt"},
        {"{'prompt':7}", "prompt"},
        {"{'prompt':[7]}", "prompt"},
        {"{'prompt':[['a']]}", "prompt"},
        {"{'prompt':{'a':1}}", "prompt"},
        {"{'prompt':true}", "prompt"},
        {"{'prompt_2':'a'}", "no option \"prompt_2\""},
        {"{'prompt':'a','negative_prompt':['b','c']}", "negative_prompt"},
        {"{'prompt':['a','b'],'negative_prompt':['b','c']}", NULL},
        {"{'prompt':['a','b'],'negative_prompt':'c'}", NULL},
        {"{'prompt':'a','negative_prompt':3}", "negative_prompt"},
        {"{'prompt':'a','images_per_prompt':0}", "images_per_prompt"},
        {"{'prompt':'a','images_per_prompt':4097}", "images_per_prompt"},
        {"{'prompt':['a','b'],'images_per_prompt':4096}", "more than 4096"},
        {"{'prompt':'a','images_per_prompt':3}", NULL},
        {"{'prompt':'a','clip_skip':1}", NULL},
        {"{'prompt':'a','clip_skip':2}", "clip_skip"},
        {"{'prompt':'a','clip_skip':-1}", "clip_skip"},
        {"{'prompt':'a','clip_skip':0.5}", "clip_skip"},
        {"{'prompt':'a','strength':0.5}", "strength"},
        {"{'prompt':'a','seed':-1}", "seed"},
        {"{'prompt':'a','seed':9223372036854775807}", NULL},
        {"{'prompt':'a','seed':9223372036854775808}", "seed"},
        {"{'prompt':'a','seeds':[9223372036854775807]}", NULL},
        {"{'prompt':'a','seeds':[-1]}", "seeds"},
        {"{'prompt':'a','seeds':[]}", "seeds"},
        {"{'prompt':'a','seeds':7}", "seeds"},
        {"{'prompt':'a','seeds':[1,2]}", "2 seeds for 1"},
        {"{'prompt':'a','seeds':[1.5]}", "seeds"},
        {"{'prompt':'a','seed':1,'seeds':[1]}", "both"},
        {"{'prompt':'a','previews':true}", "previews"},
        {"{'prompt':'a','previews':'linear'}", NULL},
        {"{'prompt':'a','previews':'decoder'}", NULL},
        {"{'prompt':'a','guidance':1000.5}", "guidance"},
        {"{'prompt':'a','guidance_rescale':2}", "guidance_rescale"},
        {"{'prompt':'a','guidance_interval':[0.5]}", "guidance_interval"},
        {"{'prompt':'a','guidance_interval':[0,0.5]}", NULL},
        {"{'prompt':'a','guidance_execution':'twice'}", "guidance_execution"},
        {"{'prompt':'a','sampler':'flow_euler'}", "sampler"},
        {"{'prompt':'a','steps':0}", "steps"},
        {"{'prompt':'a','steps':1001}", "steps"},
        {"{'prompt':'a','labels':1}", "no option \"labels\""},
        {"{'prompt':'a','tokens':[1]}", "no option \"tokens\""},
        {"{'prompt':'a','hight':64}", "did you mean \"height\""},
        {"{'prompt':'a','original_size':[64,64]}", "no option \"original_size\""},
        {"{'prompt':'a','max_sequence_length':77}", "no option \"max_sequence_length\""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *json = quoted("%s", cases[i].json);
        if (cases[i].part) refused(json, NULL, 0, DA_INVALID_ARGUMENT, cases[i].part);
        else CHECK(try_prompt(json, NULL, 0) == DA_OK, "%s: %s", json, da_last_error());
    }
}

/* Sides from 8 to 65536 and beyond: what is no multiple or too large is refused by name, what is large only estimated. */
static void test_sizes(void) {
    static const char *const names[] = {"height", "width"};
    for (size_t k = 0; k < COUNT(names); k++) {
        for (int64_t side = 1; side <= 70000; side += side < 80 ? 1 : side / 3) {
            const char *json = quoted("{'prompt':'a','steps':2,'%s':%lld}", names[k], (long long)side);
            size_t needed = 0;
            int32_t status = da_session_estimate(drawing, json, strlen(json), NULL, 0, NULL, 0, &needed);
            int fits = side % 8 == 0 && side <= 16384;
            if (!fits) refused(json, NULL, 0, DA_INVALID_ARGUMENT, names[k]);
            CHECK(status == (fits ? DA_MORE : DA_INVALID_ARGUMENT), "%s: %s", json, da_last_error());
            if (fits && side <= 80) CHECK(try_prompt(json, NULL, 0) == DA_OK, "%s: %s", json, da_last_error());
        }
        static const char *const edges[] = {"0",   "-8",  "65536", "16392", "1e3",
                                            "8.5", "'8'", "[8]",   "true",  "9223372036854775807"};
        for (size_t i = 0; i < COUNT(edges); i++)
            if (i != 4) refused(quoted("{'prompt':'a','%s':%s}", names[k], edges[i]), NULL, 0, DA_INVALID_ARGUMENT, names[k]);
    }
}

/* Texts as tensors of bytes: whatever is in them, and a million of them. */
static void test_texts(void) {
    static char text[1 << 20];
    for (int kind = 0; kind < 4; kind++) {
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = kind == 0 ? 'a' : kind == 1 ? (char)(i * 7919 >> 3) : kind == 2 ? ' ' : 0;
        for (size_t length = 0; length <= sizeof text; length = 8 * length + 1) {
            da_tensor prompt = check_tensor("prompt", DA_U8, text, length, SHAPE((int64_t)length));
            int32_t status = try_prompt("{\"steps\":1}", &prompt, 1);
            CHECK(status == DA_OK || (status == DA_INVALID_ARGUMENT && strstr(da_last_error(), "prompt")),
                  "%zu bytes of kind %d: %s", length, kind, da_last_error());
        }
    }
}

static da_tensor picture_of(int64_t n, int64_t channels, int64_t height, int64_t width) {
    return check_tensor("image", DA_F32, image, (size_t)(n * channels * height * width) * 4, SHAPE(n, channels, height, width));
}

static da_tensor mask_of(int64_t n, int64_t channels, int64_t height, int64_t width) {
    return check_tensor("mask", DA_F32, mask, (size_t)(n * channels * height * width) * 4, SHAPE(n, channels, height, width));
}

static void test_pictures(void) {
    const int64_t s = DRAWN_SIDE;
    static const char one[] = "{\"prompt\":\"a\",\"steps\":4,\"sampler\":\"ddim\"}",
                      two[] = "{\"prompt\":[\"a\",\"b\"],\"steps\":4,\"sampler\":\"ddim\"}";
    for (size_t i = 0; i < COUNT(image); i++) image[i] = sinf((float)i);
    for (size_t i = 0; i < COUNT(mask); i++) mask[i] = i % 32 < 16;
    da_tensor both[2] = {picture_of(1, 3, s, s), mask_of(1, 1, s, s)};
    CHECK(try_prompt(one, both, 1) == DA_OK && try_prompt(one, both, 2) == DA_OK, "%s", da_last_error());
    CHECK(try_prompt(two, both, 2) == DA_OK, "one picture for two prompts: %s", da_last_error());
    both[0] = picture_of(2, 3, s, s);
    CHECK(try_prompt(two, both, 1) == DA_OK, "two pictures for two prompts: %s", da_last_error());
    refused(one, both, 1, DA_SHAPE, "image");
    const int64_t shapes[][4] = {{1, 3, s, s - 1}, {1, 3, s + 4, s}, {1, 3, 1, 1}};
    for (size_t i = 0; i < COUNT(shapes); i++) {
        da_tensor odd = picture_of(shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3]);
        if (shapes[i][2] <= s) refused(one, &odd, 1, DA_INVALID_ARGUMENT, "multiple of");
    }
    const int64_t wrong[][4] = {{1, 1, s, s}, {1, 4, s, s}, {0, 3, s, s}, {1, 3, 0, s}};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        da_tensor odd = picture_of(wrong[i][0], wrong[i][1], wrong[i][2], wrong[i][3]);
        int32_t status = try_prompt(one, &odd, 1);
        CHECK((status == DA_SHAPE || status == DA_INVALID_ARGUMENT) && strlen(da_last_error()), "shape %zu gives %s: %s", i,
              da_status_name(status), da_last_error());
    }
    da_tensor flat = check_tensor("image", DA_F32, image, PICTURE * 4, SHAPE(3, DRAWN_SIDE, DRAWN_SIDE));
    refused(one, &flat, 1, DA_SHAPE, "image");
    da_tensor bytes = check_tensor("image", DA_U8, image, PICTURE, SHAPE(1, 3, DRAWN_SIDE, DRAWN_SIDE));
    refused(one, &bytes, 1, DA_SHAPE, "image");
    both[0] = picture_of(1, 3, s, s);
    refused("{\"prompt\":\"a\",\"height\":64}", both, 1, DA_SHAPE, "scale it");
    refused("{\"prompt\":\"a\",\"strength\":1.5}", both, 1, DA_INVALID_ARGUMENT, "strength");
    refused("{\"prompt\":\"a\",\"strength\":0.01,\"steps\":4}", both, 1, DA_INVALID_ARGUMENT, "less than one step");
    both[1] = mask_of(1, 1, 8, 8);
    refused(one, both, 2, DA_SHAPE, "mask");
    both[1] = mask_of(1, 2, s, s);
    int32_t status = try_prompt(one, both, 2);
    CHECK(status == DA_SHAPE || status == DA_INVALID_ARGUMENT, "a mask of two channels gives %s", da_status_name(status));
    da_tensor alone = mask_of(1, 1, s, s);
    status = try_prompt(one, &alone, 1);
    CHECK(status == DA_INVALID_ARGUMENT && strstr(da_last_error(), "mask"), "a mask alone gives %s", da_last_error());
    da_tensor all[2] = {picture_of(1, 3, s, s),
                        check_tensor("image_latents", DA_F32, image, DRAWN_LATENTS * 4, SHAPE(1, 4, 4, 4))};
    refused(one, all, 2, DA_INVALID_ARGUMENT, "both");
    image[5] = NAN;
    both[0] = picture_of(1, 3, s, s);
    both[1] = mask_of(1, 1, s, s);
    not_finite(one, both, 2, "image");
    image[5] = 0;
    mask[7] = INFINITY;
    not_finite(one, both, 2, "mask");
    mask[7] = 0;
}

static void test_embeddings(void) {
    static const char none[] = "{\"steps\":2,\"guidance\":1}", guided[] = "{\"steps\":2}";
    for (size_t i = 0; i < COUNT(states); i++) states[i] = cosf((float)i);
    const struct {
        int64_t rows, tokens, width;
        int32_t status;
    } cases[] = {{1, 16, 12, DA_OK},    {2, 16, 12, DA_OK},    {1, 5, 12, DA_OK},    {1, 1, 12, DA_OK},
                 {1, 16, 11, DA_SHAPE}, {1, 16, 24, DA_SHAPE}, {1, 0, 12, DA_SHAPE}, {0, 16, 12, DA_SHAPE}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t bytes = (size_t)(cases[i].rows * cases[i].tokens * cases[i].width) * 4;
        da_tensor given =
            check_tensor("prompt_embeds", DA_F32, states, bytes, SHAPE(cases[i].rows, cases[i].tokens, cases[i].width));
        int32_t status = try_prompt(none, &given, 1);
        CHECK(status == cases[i].status || (status == DA_INVALID_ARGUMENT && cases[i].status != DA_OK),
              "embeddings %zu give %s: %s", i, da_status_name(status), da_last_error());
    }
    da_tensor both[2] = {check_tensor("prompt_embeds", DA_F32, states, 16 * 12 * 4, SHAPE(1, 16, 12)),
                         check_tensor("negative_prompt_embeds", DA_F32, states, 16 * 12 * 4, SHAPE(1, 16, 12))};
    CHECK(try_prompt(guided, both, 2) == DA_OK, "%s", da_last_error());
    refused("{\"prompt\":\"a\"}", both, 1, DA_INVALID_ARGUMENT, "both");
    both[1] = check_tensor("negative_prompt_embeds", DA_F32, states, 8 * 12 * 4, SHAPE(1, 8, 12));
    int32_t status = try_prompt(guided, both, 2);
    CHECK(status == DA_SHAPE && strstr(da_last_error(), "negative_prompt_embeds"), "%s: %s", da_status_name(status),
          da_last_error());
    both[1] = check_tensor("pooled_prompt_embeds", DA_F32, states, 12 * 4, SHAPE(1, 12));
    refused(none, both, 2, DA_INVALID_ARGUMENT, "pooled_prompt_embeds");
    states[3] = -INFINITY;
    not_finite(none, both, 1, "prompt_embeds");
}

/* Noise of the caller's, and latents out. */
static void test_noise(void) {
    static float noise[2 * DRAWN_LATENTS], seeded[DRAWN_LATENTS], found[DRAWN_LATENTS];
    STATUS(DA_OK, da_random_normal(3, DRAWN_LATENTS, noise));
    static const char json[] = "{\"prompt\":\"a\",\"steps\":3,\"sampler\":\"ddim\"}";
    da_tensor given = check_tensor("noise", DA_F32, noise, DRAWN_LATENTS * 4, SHAPE(1, 4, 4, 4));
    check_copied(drawing, json, &given, 1, "latents", found, sizeof found);
    check_copied(drawing, "{\"prompt\":\"a\",\"steps\":3,\"sampler\":\"ddim\",\"seed\":3}", NULL, 0, "latents", seeded,
                 sizeof seeded);
    CHECK(!memcmp(found, seeded, sizeof found), "the noise of a seed gives other latents than the seed");
    given = check_tensor("noise", DA_F32, noise, 2 * DRAWN_LATENTS * 4, SHAPE(2, 4, 4, 4));
    refused(json, &given, 1, DA_SHAPE, "noise");
    given = check_tensor("noise", DA_F32, noise, DRAWN_LATENTS * 4, SHAPE(1, 4, 8, 2));
    refused(json, &given, 1, DA_SHAPE, "noise");
    noise[0] = NAN;
    given = check_tensor("noise", DA_F32, noise, DRAWN_LATENTS * 4, SHAPE(1, 4, 4, 4));
    not_finite(json, &given, 1, "noise");
}

static int32_t count_stages(void *user, const da_event *event) {
    int *counts = user;
    if (event->stage == DA_STAGE_ENCODE) CHECK(!counts[DA_STAGE_DENOISE] && event->steps == 1, "encoding is not first");
    counts[event->stage]++;
    return 0;
}

/* What a run tells: each stage, and what the picture was made with. */
static void test_stages(void) {
    int counts[8] = {0};
    static char stats[1 << 16];
    da_result made = NULL;
    STATUS(DA_OK, check_told(drawing, "{\"prompt\":\"a \\\"b\\\"\",\"steps\":4,\"sampler\":\"euler\",\"seed\":9}", count_stages,
                             counts, &made));
    CHECK(counts[DA_STAGE_ENCODE] == 1 && counts[DA_STAGE_DENOISE] == 4 && counts[DA_STAGE_DECODE] == 1, "stages %d %d %d",
          counts[DA_STAGE_ENCODE], counts[DA_STAGE_DENOISE], counts[DA_STAGE_DECODE]);
    STATUS(DA_OK, da_result_stats(made, stats, sizeof stats, NULL));
    CHECK(strstr(stats,
                 "\"parameters\":[\"a \\\"b\\\"\\nSteps: 4, Sampler: Euler, CFG scale: 7.5, Seed: 9, Size: 32x32, Model: sd"),
          "no parameters in %.300s", strstr(stats, "\"parameters\""));
    STATUS(DA_OK, da_result_close(made));
}

int main(void) {
    if (!misuse_begin()) return check_summary("misuse_prompts");
    da_model own = NULL;
    STATUS(DA_OK, da_model_open(write_diffusion(), NULL, &own));
    drawing = check_session(own, NULL, 2);
    static float before[DRAWN_LATENTS], after[DRAWN_LATENTS];
    static const char same[] = "{\"prompt\":\"red apple\",\"steps\":4}";
    check_copied(drawing, same, NULL, 0, "latents", before, sizeof before);
    test_options();
    test_sizes();
    test_texts();
    test_pictures();
    test_embeddings();
    test_noise();
    test_stages();
    check_copied(drawing, same, NULL, 0, "latents", after, sizeof after);
    CHECK(!memcmp(before, after, sizeof before), "misuse changes the samples");
    STATUS(DA_OK, da_session_close(drawing));
    STATUS(DA_OK, da_model_close(own));
    return misuse_end("misuse_prompts");
}
