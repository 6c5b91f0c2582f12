/* Specialised fine-tuning of a VAR as nobody should ask for it, and stopped wherever it can be: every refusal has a status and
 * a text, and a trainer that goes on ends with the bits of one that never stopped. */
#define _GNU_SOURCE
#include <math.h>

#include "refusals.h"

#define DRAFT  "{\"method\":\"specialise\",\"role\":\"drafter\",\"draft_scales\":2"
#define REFINE "{\"method\":\"specialise\",\"role\":\"refiner\",\"draft_scales\":1"
#define SMALL  ",\"steps\":4,\"batch\":3,\"seed\":5}"
#define DATA   ",\"data\":{\"tokens\":\"@x.npy\",\"labels\":\"@y.npy\"}" SMALL
#define BY     ",\"teacher\":\"@teacher\""

static const struct bad cases[] = {
    {"{\"method\":\"router\"}", DA_UNSUPPORTED, "\"var\""},
    {"{\"method\":\"finetune\"" DATA, DA_FORMAT, "no option \"tokens\""},
    {"{\"method\":\"specialise\"" DATA, DA_FORMAT, "role"},
    {"{\"method\":\"specialise\",\"role\":\"drafter\"" DATA, DA_FORMAT, "draft_scales"},
    {"{\"method\":\"specialise\",\"role\":7,\"draft_scales\":1" DATA, DA_FORMAT, "role"},
    {DRAFT ",\"pattern\":\"1:2\"" DATA, DA_FORMAT, "no option \"pattern\""},
    {DRAFT BY DATA, DA_FORMAT, "teacher"},
    {DRAFT ",\"alpha\":0.5" DATA, DA_FORMAT, "alpha"},
    {DRAFT ",\"vae\":7" DATA, DA_FORMAT, "vae"},
    {DRAFT ",\"vae\":\"@none\"" DATA, DA_IO, "none"},
    {DRAFT ",\"vae\":\"@x.npy\"" DATA, DA_UNSUPPORTED, "x.npy"},
    {DRAFT ",\"vae\":\"@bare\"" DATA, DA_INCOMPATIBLE, "bare"},
    {DRAFT ",\"dtype\":\"f8\"" DATA, DA_FORMAT, "dtype"},
    {DRAFT SMALL, DA_FORMAT, "data"},
    {REFINE DATA, DA_FORMAT, "teacher"},
    {REFINE ",\"teacher\":\"@none\"" DATA, DA_IO, "none"},
    {REFINE ",\"teacher\":\"@other\"" DATA, DA_INCOMPATIBLE, "teacher's codes"},
    {REFINE ",\"teacher\":\"@x.npy\"" DATA, DA_UNSUPPORTED, "x.npy"},
    {REFINE BY ",\"temperature\":0" DATA, DA_FORMAT, "temperature"},
    {REFINE BY ",\"alpha\":2" DATA, DA_FORMAT, "alpha"},
    /* data */
    {DRAFT ",\"data\":{}}", DA_FORMAT, "tokens"},
    {DRAFT ",\"data\":7}", DA_FORMAT, "data"},
    {DRAFT ",\"data\":{\"latents\":\"@x.npy\",\"labels\":\"@y.npy\"}}", DA_FORMAT, "no option \"latents\""},
    {DRAFT ",\"data\":{\"tokens\":\"@x.npy\",\"images\":\"@x.npy\",\"labels\":\"@y.npy\"}}", DA_FORMAT, "images"},
    {DRAFT ",\"data\":{\"tokens\":\"@x.npy\"}}", DA_FORMAT, "labels"},
    {DRAFT ",\"data\":{\"tokens\":\"@x.npy\",\"labels\":\"@y.npy\",\"factor\":2}}", DA_FORMAT, "no option \"factor\""},
    {DRAFT ",\"data\":{\"path\":\"@none\"}}", DA_IO, "none"},
    {DRAFT ",\"data\":{\"path\":\"@data.safetensors\"}}", DA_FORMAT, "no tensor \"tokens\""},
    {DRAFT ",\"data\":{\"images\":\"@x.npy\",\"labels\":\"@y.npy\"}}", DA_UNSUPPORTED, "without its encoder"},
    {DRAFT ",\"data\":{\"tokens\":\"@few.npy\",\"labels\":\"@y.npy\"}}", DA_SHAPE, "few.npy"},
    {DRAFT ",\"data\":{\"tokens\":\"@flat.npy\",\"labels\":\"@y.npy\"}}", DA_SHAPE, "flat.npy"},
    {DRAFT ",\"data\":{\"tokens\":\"@floats.npy\",\"labels\":\"@y.npy\"}}", DA_UNSUPPORTED, "floats.npy: F64"},
    {DRAFT ",\"data\":{\"tokens\":\"@x.npy\",\"labels\":\"@y9.npy\"}}", DA_SHAPE, "y9.npy: 9 labels for 10 samples"},
    {DRAFT ",\"data\":{\"tokens\":\"@x.npy\",\"labels\":\"@above.npy\"}}", DA_INVALID_ARGUMENT, "label 6 at position 9"},
};

static int64_t tokens[SAMPLES * VAR_TOKENS], labels[SAMPLES];
static char model[192], bare[192];

static void write_files(void) {
    for (int i = 0; i < SAMPLES * VAR_TOKENS; i++) tokens[i] = i * 7 % VAR_CODES;
    for (int i = 0; i < SAMPLES; i++) labels[i] = i % (VAR_CLASSES + 1);
    strcpy(model, write_var("model", 32, 2, VAR_CODES, 1));
    strcpy(bare, write_var("bare", 16, 1, VAR_CODES, 0));
    write_var("other", 16, 1, VAR_CODES + 1, 0);
    learning_data();
    write_npy("x.npy", "<i8", "(10, 14)", tokens, sizeof tokens);
    write_npy("few.npy", "<i8", "(10, 13)", tokens, sizeof tokens / 14 * 13);
    write_npy("flat.npy", "<i8", "(140,)", tokens, sizeof tokens);
    write_npy("floats.npy", "<f8", "(10, 14)", tokens, sizeof tokens);
    write_npy("y.npy", "<i8", "(10,)", labels, sizeof labels);
    write_npy("y9.npy", "<i8", "(9,)", labels, sizeof labels - 8);
    labels[9] = VAR_CLASSES + 1;
    write_npy("above.npy", "<i8", "(10,)", labels, sizeof labels);
}

static da_trainer trainer_of(const char *path, const char *settings, uint64_t limit) {
    da_trainer made = NULL;
    int32_t status = try_trainer_of(path, filled_for(model, settings), 2, limit, &made);
    CHECK(status == DA_OK, "%s: %s: %s", settings, da_status_name(status), da_last_error());
    return made;
}

static void test_settings(void) {
    refuse_all(model, model, cases, sizeof cases / sizeof *cases);
    const struct bad alone[] = {{DRAFT DATA, DA_FORMAT, "vae"}};
    refuse_all(bare, model, alone, 1);
}

/* Every number at every edge: refused by name, or it learns. */
static void test_numbers(void) {
    const char *numbers[] = {
        "-1",   "0",     "1",    "2",     "3",   "1.5",       "5e-324", "1001", "65537", "9223372036854775807",
        "1e18", "1e308", "null", "\"1\"", "[1]", "[0,1e308]", "{}",     "true"};
    const char *names[] = {"draft_scales",    "steps",    "batch",         "seed",          "learning_rate", "warmup",
                           "weight_decay",    "clip",     "average_decay", "label_dropout", "alpha",         "temperature",
                           "label_smoothing", "recompute"};
    int accepted = 0, refused = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++) {
            char settings[1024];
            snprintf(settings, sizeof settings,
                     "{\"method\":\"specialise\",\"role\":\"refiner\",\"vae\":\"@model/vae\"%s%s,\"%s\":%s" BY
                     ",\"data\":{\"tokens\":\"@x.npy\",\"labels\":\"@y.npy\"}}",
                     strcmp(names[i], "draft_scales") ? ",\"draft_scales\":1" : "",
                     strcmp(names[i], "batch") ? ",\"batch\":1" : "", names[i], numbers[n]);
            da_trainer made = NULL;
            int32_t status = try_trainer_of(bare, filled_for(model, settings), 1, 64 << 20, &made);
            if (status == DA_OK) status = da_trainer_run(made, 2, NULL, NULL);
            CHECK(status == DA_OK || status == DA_OVER_BUDGET || status == DA_FORMAT || status == DA_INVALID_ARGUMENT ||
                      (status == DA_NOT_FINITE && made),
                  "%s gives %s: %s", settings, da_status_name(status), da_last_error());
            if (!made && status != DA_OVER_BUDGET)
                CHECK(strstr(da_last_error(), names[i]) || strstr(da_last_error(), "bad JSON"), "%s = %s: the text is \"%s\"",
                      names[i], numbers[n], da_last_error());
            status == DA_OK ? accepted++ : refused++;
            if (made) STATUS(DA_OK, da_trainer_close(made));
        }
    CHECK(accepted > 50 && refused > 80, "%d accepted, %d refused", accepted, refused);
}

/* Codes that are none are seen when their sample's turn comes. */
static void test_data_at_work(void) {
    const int64_t odd[] = {-1, VAR_CODES, INT64_MAX, INT64_MIN};
    for (int i = 0; i < 4; i++) {
        int64_t kept = tokens[4 * VAR_TOKENS + 3];
        tokens[4 * VAR_TOKENS + 3] = odd[i];
        write_npy("odd.npy", "<i8", "(10, 14)", tokens, sizeof tokens);
        tokens[4 * VAR_TOKENS + 3] = kept;
        da_trainer trainer =
            trainer_of(model, DRAFT ",\"data\":{\"tokens\":\"@odd.npy\",\"labels\":\"@y.npy\"},\"batch\":5,\"steps\":9}", 0);
        struct bytes before = state_of(trainer);
        int32_t status = DA_OK;
        for (int made = 0; made < 3 && status == DA_OK; made++) {
            free(before.data);
            before = state_of(trainer);
            status = da_trainer_run(trainer, 1, NULL, NULL);
        }
        CHECK(status == DA_INVALID_ARGUMENT && strstr(da_last_error(), "sample 4: token"), "%s: %s", da_status_name(status),
              da_last_error());
        same_state(trainer, before, "after a bad sample");
        STATUS(DA_OK, da_trainer_close(trainer));
        free(before.data);
    }
}

static int32_t stop(void *user, const da_training_event *event) {
    CHECK(isfinite(event->loss) && strstr(event->json, "\"ce\":"), "%s", event->json);
    return event->step == *(int64_t *)user;
}

/* Stopped after each step, and gone on with: the bits are those of a run without stops. */
static void test_stops(void) {
    const char *settings[] = {DRAFT DATA, REFINE BY DATA};
    for (int i = 0; i < 2; i++) {
        const char *path = i ? bare : model;
        da_trainer whole = trainer_of(path, settings[i], 0);
        STATUS(DA_OK, da_trainer_run(whole, 0, NULL, NULL));
        struct bytes end = state_of(whole);
        for (int64_t step = 1; step < 4; step++) {
            da_trainer trainer = trainer_of(path, settings[i], 0), next = trainer_of(path, settings[i], 0);
            STATUS(DA_CANCELLED, da_trainer_run(trainer, 0, stop, &step));
            CHECK(described(trainer, "step") == (double)step, "not stopped after step %lld", (long long)step);
            STATUS(DA_OK, da_trainer_save(trainer, in_place("state")));
            STATUS(DA_OK, da_trainer_restore(next, in_place("state")));
            STATUS(DA_OK, da_trainer_run(next, 0, NULL, NULL));
            same_state(next, end, "gone on with");
            STATUS(DA_OK, da_trainer_run(trainer, 0, NULL, NULL));
            same_state(trainer, end, "gone on");
            STATUS(DA_OK, da_trainer_close(trainer));
            STATUS(DA_OK, da_trainer_close(next));
        }
        da_trainer other = trainer_of(model, settings[!i], 0);
        STATUS(DA_INCOMPATIBLE, da_trainer_restore(other, in_place("state")));
        STATUS(DA_OK, da_trainer_close(other));
        da_plan plan = (void *)&plan;
        STATUS(DA_UNSUPPORTED, da_trainer_plan(whole, &plan));
        STATUS(DA_OK, da_trainer_export(whole, in_place("exported")));
        CHECK(!access(in_place("exported/config.json"), F_OK) && !access(in_place("exported/vae"), F_OK) == !i, "no export");
        remove_tree(in_place("exported"));
        char text[512];
        STATUS(DA_OK, da_trainer_evaluate(whole, 2, text, sizeof text, NULL));
        CHECK(strstr(text, "\"loss\":") && !strstr(text, "\"kl\":") == !i, "%s", text);
        STATUS(DA_OK, da_trainer_close(whole));
        free(end.data);
    }
}

/* What the estimate says is enough, and a part of it is refused. */
static void test_memory(void) {
    const char *settings = filled_for(model, REFINE BY DATA);
    char text[512];
    da_trainer_options options;
    STATUS(DA_OK, da_trainer_options_init(&options, sizeof options));
    options.threads = 1;
    STATUS(DA_OK, da_trainer_estimate(bare, settings, strlen(settings), NULL, &options, text, sizeof text, NULL));
    const char *peak = strstr(text, "\"peak\":");
    uint64_t bytes = peak ? strtoull(peak + 7, NULL, 10) : 0;
    da_trainer trainer = NULL;
    STATUS(DA_OK, try_trainer_of(bare, settings, 1, bytes + bytes / 10, &trainer));
    STATUS(DA_OK, da_trainer_run(trainer, 0, NULL, NULL));
    STATUS(DA_OK, da_trainer_close(trainer));
    for (uint64_t part = 1; part < 8; part++) {
        int32_t status = try_trainer_of(bare, filled_for(model, REFINE BY DATA), 1, bytes * part / 10, &trainer);
        if (status == DA_OK) status = da_trainer_run(trainer, 0, NULL, NULL);
        CHECK(status == DA_OVER_BUDGET, "%llu of %llu bytes: %s", (unsigned long long)(bytes * part / 10),
              (unsigned long long)bytes, da_status_name(status));
        if (trainer) STATUS(DA_OK, da_trainer_close(trainer));
    }
}

int main(void) {
    write_files();
    test_settings();
    test_numbers();
    test_data_at_work();
    test_stops();
    test_memory();
    return check_summary("misuse_specialise");
}
