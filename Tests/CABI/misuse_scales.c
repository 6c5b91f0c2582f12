/* Requests to a model that works scale by scale, and to a pair: every option and tensor of its own as nobody should pass it.
 * Usage: misuse_scales folder-of-the-bundled-models */
#include "bundled.h"
#include "requests.h"

enum { SCALES = 6, TOKENS = 130, SIDE = 32, PICTURE = 3 * SIDE * SIDE };

static da_session plain, pair;
static float uniforms[2 * TOKENS], image[2 * PICTURE], mask[2 * 64 * 64];

/* The status of run and estimate, of the model alone and of the pair: for one request it is the same. */
static int32_t try_request(const char *json, const da_tensor *tensors, size_t count) {
    int32_t status = try_on(plain, json, json, strlen(json), tensors, count, stop_at_once);
    char told[2100];
    snprintf(told, sizeof told, "%s", da_last_error());
    size_t needed;
    int32_t estimated = da_session_estimate(pair, json, strlen(json), tensors, count, NULL, 0, &needed);
    CHECK(estimated == (status == DA_OK || status == DA_NOT_FINITE ? DA_MORE : status), "%s: the model gives %s, the pair %s",
          json, da_status_name(status), da_status_name(estimated));
    CHECK(estimated >= 0 || !strcmp(told, da_last_error()), "%s: the pair says %s, the model %s", json, da_last_error(), told);
    return status;
}

static void refused(const char *json, const da_tensor *tensors, size_t count, int32_t status, const char *part) {
    int32_t found = try_request(json, tensors, count);
    CHECK(found == status && (found == DA_NOT_FINITE || strstr(da_last_error(), part)),
          "%s gives %s: %s, expected %s with \"%s\"", json, da_status_name(found), da_last_error(), da_status_name(status),
          part);
}

static void test_options(void) {
    static const struct {
        const char *json;
        const char *part; /* null: it is taken */
    } cases[] = {
        {"{'labels':1,'top_k':[1,2,3]}", "top_k needs 1 value or 6, found 3"},
        {"{'labels':1,'top_k':[1,2,3,4,5,6,7]}", "top_k needs 1 value or 6, found 7"},
        {"{'labels':1,'top_k':[1,2,3,4,5,6]}", NULL},
        {"{'labels':1,'top_k':[1]}", NULL},
        {"{'labels':1,'top_k':1000000}", NULL},
        {"{'labels':1,'top_k':1000001}", "top_k"},
        {"{'labels':1,'top_k':[1,-1]}", "top_k[1]"},
        {"{'labels':1,'top_k':[]}", "top_k"},
        {"{'labels':1,'top_k':[[1]]}", "top_k"},
        {"{'labels':1,'temperature':[1,2]}", "temperature needs 1 value or 6, found 2"},
        {"{'labels':1,'temperature':[1,1,1,1,1,0.5]}", NULL},
        {"{'labels':1,'temperature':0}", "temperature"},
        {"{'labels':1,'temperature':-1}", "temperature"},
        {"{'labels':1,'temperature':1e-31}", "temperature"},
        {"{'labels':1,'temperature':NaN}", "temperature"},
        {"{'labels':1,'temperature':[1,1,1,1,1,Infinity]}", "temperature[5]"},
        {"{'labels':1,'top_p':1.01}", "top_p"},
        {"{'labels':1,'top_p':-0.01}", "top_p"},
        {"{'labels':1,'top_p':0}", NULL},
        {"{'labels':1,'top_p':4.9e-324}", NULL},
        {"{'labels':1,'guidance':1000}", NULL},
        {"{'labels':1,'guidance':-1}", "guidance"},
        {"{'labels':1,'more_smooth':2}", "more_smooth"},
        {"{'labels':1,'more_smooth':true}", NULL},
        {"{'labels':1,'previews':'yes'}", "previews"},
        {"{'labels':1,'steps':6}", "no option \"steps\""},
        {"{'labels':1,'sampler':'ddim'}", "no option \"sampler\""},
        {"{'labels':'Sneaker'}", NULL},
        {"{'labels':['sneaker',7,'Bag']}", NULL},
        {"{'labels':'Sneeker'}", "neaker"},
        {"{'labels':['Sneaker','']}", "\"\""},
        {"{'labels':11}", "labels"},
        {"{'labels':[1,[2]]}", "labels[1]"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *json = quoted("%s", cases[i].json);
        if (cases[i].part) refused(json, NULL, 0, DA_INVALID_ARGUMENT, cases[i].part);
        else CHECK(try_request(json, NULL, 0) == DA_OK, "%s: %s", json, da_last_error());
    }
    static char text[200 + 2 * 100001];
    char *at = text + sprintf(text, "{\"labels\":1,\"top_k\":[0");
    for (int i = 0; i < 100000; i++) at = stpcpy(at, ",0");
    strcpy(at, "]}");
    da_result made = (void *)&made;
    int32_t status = check_run(plain, text, &made);
    CHECK((status == DA_INVALID_ARGUMENT || status == DA_FORMAT) && !made, "100001 numbers: %s", da_last_error());
}

/* Latents of a complete run. */
static size_t latents_of(da_session session, const char *json, const da_tensor *tensors, size_t count, float *out,
                         size_t room) {
    return check_copied(session, json, tensors, count, "latents", out, 4 * room);
}

static void test_labels(void) {
    static float named[1 << 14], numbered[1 << 14];
    const da_tensor name = check_tensor("labels", DA_U8, "Sneaker", 7, SHAPE(7)),
                    wrong = check_tensor("labels", DA_U8, "Sneeker", 7, SHAPE(7));
    const da_tensor number = check_tensor("labels", DA_I64, (int64_t[]){7}, 8, SHAPE(1));
    const da_tensor *const forms[] = {&name, &number};
    size_t bytes = latents_of(plain, "{\"labels\":\"sneaker\",\"decode\":false}", NULL, 0, named, COUNT(named));
    for (int i = 0; i < 2; i++)
        CHECK(bytes == latents_of(plain, "{\"decode\":false}", forms[i], 1, numbered, COUNT(numbered)) && bytes &&
                  !memcmp(named, numbered, bytes),
              "a class by its name is another than by form %d", i);
    refused("{}", &wrong, 1, DA_INVALID_ARGUMENT, "Sneaker");
}

static void test_uniforms(void) {
    const char *two = "{\"labels\":[1,2],\"decode\":false}";
    da_tensor tensor = check_tensor("uniforms", DA_F32, uniforms, sizeof uniforms, SHAPE(2, TOKENS));
    static float one[1 << 14], other[1 << 14];
    size_t bytes = latents_of(plain, two, &tensor, 1, one, COUNT(one));
    CHECK(bytes &&
              bytes == latents_of(plain, "{\"labels\":[1,2],\"seed\":9,\"decode\":false}", &tensor, 1, other, COUNT(other)) &&
              !memcmp(one, other, bytes),
          "with numbers that are given the seed changes something");
    for (int64_t count = 0; count <= 2 * TOKENS + 1; count += count < 2 ? 1 : 37) {
        if (count == 2 * TOKENS) continue;
        tensor =
            check_tensor("uniforms", DA_F32, uniforms, (size_t)(count < 2 * TOKENS ? count : 2 * TOKENS) * 4, SHAPE(count));
        refused(two, &tensor, 1, DA_SHAPE, "uniforms");
    }
    tensor = check_tensor("uniforms", DA_I64, uniforms, sizeof uniforms, SHAPE(TOKENS));
    refused(two, &tensor, 1, DA_SHAPE, "\"uniforms\" is f32 [n, 130], found i64");
    const float odd[] = {NAN, INFINITY, -INFINITY, -1, 1, 2, 3e38f, 1e-42f};
    for (size_t i = 0; i < COUNT(odd); i++) {
        float kept = uniforms[7];
        uniforms[7] = odd[i];
        tensor = check_tensor("uniforms", DA_F32, uniforms, sizeof uniforms, SHAPE(2, TOKENS));
        int32_t status = try_request(two, &tensor, 1);
        CHECK(isfinite(odd[i]) || status == DA_NOT_FINITE, "%g gives %s", (double)odd[i], da_status_name(status));
        uniforms[7] = kept;
    }
}

static void test_pictures(void) {
    const char *two = "{\"labels\":[1,2],\"decode\":false}";
    da_tensor both[] = {check_tensor("image", DA_F32, image, sizeof image, SHAPE(2, 3, SIDE, SIDE)),
                        check_tensor("mask", DA_F32, mask, 2 * 64 * 4, SHAPE(2, 8, 8))};
    CHECK(try_request(two, both, 2) == DA_OK, "%s", da_last_error());
    refused(two, both, 1, DA_INVALID_ARGUMENT, "image and mask are given together");
    refused(two, both + 1, 1, DA_INVALID_ARGUMENT, "image and mask are given together");
    static const int64_t masks[][DA_MAX_RANK + 1] = {{2, 1, 1, -1}, {2, 64, 64, -1}, {2, 1, 64, -1}, {2, 7, 3, -1}},
                                               wrong_masks[][DA_MAX_RANK + 1] = {{1, 8, 8, -1},        {3, 8, 8, -1},
                                                                                 {2, 64, -1},          {128, -1},
                                                                                 {2, 1, 8, 8, -1},     {2, 0, 8, -1},
                                                                                 {0, 8, 8, -1},        {-1},
                                                                                 {2, 0, 1ll << 62, -1}},
                                               wrong_images[][DA_MAX_RANK + 1] = {
                                                   {1, 3, SIDE, SIDE, -1}, {2, 3, SIDE, SIDE - 1, -1}, {2, 1, SIDE, SIDE, -1},
                                                   {3, 2, SIDE, SIDE, -1}, {2 * PICTURE, -1},          {0, 3, SIDE, SIDE, -1}};
    const da_tensor good[] = {both[0], both[1]};
#define COUNTED(shape, product) \
    size_t product = 4;         \
    for (int k = 0; (shape)[k] >= 0; k++) product *= (size_t)(shape)[k]
    for (size_t i = 0; i < COUNT(masks); i++) {
        COUNTED(masks[i], bytes);
        both[1] = check_tensor("mask", DA_F32, mask, bytes, masks[i]);
        CHECK(try_request(two, both, 2) == DA_OK, "%s", da_last_error());
    }
    for (size_t i = 0; i < COUNT(wrong_masks); i++) {
        COUNTED(wrong_masks[i], bytes);
        both[1] = check_tensor("mask", DA_F32, mask, bytes, wrong_masks[i]);
        refused(two, both, 2, DA_SHAPE, "mask");
    }
    both[1] = good[1];
    for (size_t i = 0; i < COUNT(wrong_images); i++) {
        COUNTED(wrong_images[i], bytes);
        both[0] = check_tensor("image", DA_F32, image, bytes, wrong_images[i]);
        refused(two, both, 2, DA_SHAPE, "image");
    }
    both[0] = good[0];
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < COUNT(bad); i++) {
        image[5] = bad[i];
        refused(two, both, 2, DA_NOT_FINITE, "");
        image[5] = 0, mask[5] = bad[i];
        refused(two, both, 2, DA_NOT_FINITE, "");
        mask[5] = 0;
    }
    image[5] = 3e38f;
    int32_t status = try_request(two, both, 2);
    CHECK(status == DA_OK || status == DA_NOT_FINITE, "a picture of 3e38 gives %s", da_status_name(status));
    image[5] = 0;
}

int main(int count, char **arguments) {
    if (!bundled_begin("misuse_scales", count, arguments)) return 2;
    if (!misuse_begin()) return check_summary("misuse_scales");
    plain = bundled_session("fashion-var", NULL), pair = bundled_session("fashion-var", "fashion-var/code.json");
    STATUS(DA_OK, da_random_uniform(5, COUNT(uniforms), uniforms));
    static float first[1 << 14], last[1 << 14];
    size_t bytes = latents_of(pair, "{\"labels\":[1,2],\"decode\":false}", NULL, 0, first, COUNT(first));
    test_options();
    test_labels();
    test_uniforms();
    test_pictures();
    CHECK(bytes && bytes == latents_of(pair, "{\"labels\":[1,2],\"decode\":false}", NULL, 0, last, COUNT(last)) &&
              !memcmp(first, last, bytes),
          "misuse changes the samples");
    STATUS(DA_OK, da_session_close(plain));
    STATUS(DA_OK, da_session_close(pair));
    return misuse_end("misuse_scales");
}
