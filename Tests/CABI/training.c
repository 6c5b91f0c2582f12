/* A whole use of each way of learning: data in every form, steps that are told, what was learned as a plan and as a checkpoint
 * that opens and samples, and states that are read back. */
#define _GNU_SOURCE
#include <math.h>

#include "learning.h"

enum { LATENTS = 2 * TINY_STATE };

struct told {
    int64_t last, steps;
    int calls, confidences;
};

static int32_t listen(void *user, const da_training_event *event) {
    struct told *told = user;
    char number[64];
    CHECK(event->struct_size == sizeof *event && !event->reserved, "an event of %u bytes", event->struct_size);
    CHECK(event->step == told->last + 1 && event->steps == told->steps, "step %lld of %lld after %lld", (long long)event->step,
          (long long)event->steps, (long long)told->last);
    CHECK(isfinite(event->loss) && event->gradient_norm >= 0 && event->learning_rate >= 0 && event->seconds >= 0,
          "loss %g, gradient %g", event->loss, event->gradient_norm);
    for (size_t i = 0; i < event->confidence_count; i++)
        CHECK(event->confidences[i] >= 0 && event->confidences[i] <= 1, "confidence %g", event->confidences[i]);
    snprintf(number, sizeof number, "\"step\":%lld,", (long long)event->step);
    CHECK(event->json && event->json[0] == '{' && strstr(event->json, number) && !strchr(event->json, '\n'), "%s", event->json);
    told->last = event->step;
    told->confidences += (int)event->confidence_count;
    told->calls++;
    return 0;
}

/* Samples from `own` under `plan`; whether all latents are finite. */
static void samples(da_model own, da_plan plan, const char *what) {
    float latents[LATENTS] = {0};
    da_session session = check_session(own, plan, 2);
    int32_t status = check_sample(session, check_request, latents);
    CHECK(status == DA_OK, "%s: %s", what, da_last_error());
    for (int i = 0; i < LATENTS; i++)
        if (!isfinite(latents[i])) {
            CHECK(0, "%s samples %g", what, latents[i]);
            break;
        }
    STATUS(DA_OK, da_session_close(session));
}

static void plan_of(const struct recipe *recipe, da_trainer trainer) {
    da_plan plan = (void *)&plan;
    if (!recipe->plan) {
        STATUS(DA_UNSUPPORTED, da_trainer_plan(trainer, &plan));
        CHECK(!plan, "a refused plan");
        return;
    }
    STATUS(DA_OK, da_trainer_plan(trainer, &plan));
    /* It goes on without the trainer and through a file. */
    da_plan again = NULL;
    const char *path = in_place("plan.json");
    STATUS(DA_OK, da_plan_save(plan, path));
    STATUS(DA_OK, da_plan_load(path, &again));
    da_model own = check_model();
    /* A router is for as many steps as it was learned for. */
    if (!strstr(recipe->settings, "router")) samples(own, again, recipe->name);
    else {
        size_t needed;
        int steps = atoi(strstr(recipe->settings, "\"sampling_steps\":") + 17);
        STATUS(DA_MORE, da_plan_describe(again, own, steps, NULL, 0, &needed));
        da_session session = check_session(own, again, 2);
        da_result result = NULL;
        STATUS(DA_OK, check_run(session, quoted("{'labels':[1,2],'seed':3,'steps':%d}", steps), &result));
        STATUS(DA_OK, da_result_close(result));
        STATUS(DA_OK, da_session_close(session));
    }
    STATUS(DA_OK, da_model_close(own));
    STATUS(DA_OK, da_plan_close(again));
    STATUS(DA_OK, da_plan_close(plan));
    unlink(path);
}

static void export_of(const struct recipe *recipe, da_trainer trainer) {
    const char *folder = in_place("exported");
    if (!recipe->exported) {
        STATUS(DA_UNSUPPORTED, da_trainer_export(trainer, folder));
        CHECK(access(folder, F_OK), "a refused export makes a folder");
        return;
    }
    for (int again = 0; again < 2; again++) {
        STATUS(DA_OK, da_trainer_export(trainer, folder));
        da_model own = NULL;
        /* The tiny VAR's codebook has no decoder: enough to learn from, not to sample. */
        if (of_tokens(recipe)) continue;
        STATUS(DA_OK, da_model_open(folder, NULL, &own));
        samples(own, NULL, recipe->name);
        STATUS(DA_OK, da_model_close(own));
    }
    /* What was exported can be learned from. */
    static const struct recipe weights = {"weights again", "\"method\":\"finetune\"", 0, 0, 1, 1};
    const char *settings = settings_of(of_tokens(recipe) ? recipe : &weights, 1, "");
    da_trainer next = NULL;
    STATUS(DA_OK, da_trainer_create(folder, settings, strlen(settings), NULL, NULL, &next));
    STATUS(DA_OK, da_trainer_run(next, 0, NULL, NULL));
    STATUS(DA_OK, da_trainer_close(next));
    remove_tree(folder);
}

static void test_whole_uses(void) {
    for (size_t i = 0; i < RECIPES; i++) {
        const struct recipe *recipe = &recipes[i];
        struct told told = {0, recipe->steps, 0, 0};
        char first[512], second[512];
        da_trainer trainer = new_trainer(recipe, STEPS, "");
        struct bytes before = state_of(trainer);
        STATUS(DA_OK, da_trainer_run(trainer, 1, listen, &told));
        struct bytes one = state_of(trainer);
        CHECK(!same_bytes(before, one), "%s: a step changes nothing", recipe->name);
        STATUS(DA_OK, da_trainer_run(trainer, 0, listen, &told));
        CHECK(told.calls == recipe->steps, "%s: %d steps told", recipe->name, told.calls);
        /* All are made: nothing more happens, whatever is asked. */
        STATUS(DA_OK, da_trainer_run(trainer, 0, listen, &told));
        STATUS(DA_OK, da_trainer_run(trainer, INT64_MAX, listen, &told));
        CHECK(told.calls == recipe->steps && described(trainer, "step") == recipe->steps, "%s: more than all", recipe->name);
        struct bytes end = state_of(trainer);
        STATUS(DA_OK, da_trainer_evaluate(trainer, 2, first, sizeof first, NULL));
        STATUS(DA_OK, da_trainer_evaluate(trainer, 2, second, sizeof second, NULL));
        CHECK(!strcmp(first, second) && strstr(first, "\":"), "%s measures %s, then %s", recipe->name, first, second);
        plan_of(recipe, trainer);
        export_of(recipe, trainer);
        same_state(trainer, end, "after looking at it");
        /* Back to where it was, forwards again: the same bits. */
        const char *path = in_place("earlier");
        FILE *file = fopen(path, "wb");
        CHECK(file && fwrite(one.data, 1, one.size, file) == one.size && !fclose(file), "no file");
        STATUS(DA_OK, da_trainer_restore(trainer, path));
        same_state(trainer, one, "restored");
        CHECK(described(trainer, "step") == 1, "%s: restored to another step", recipe->name);
        STATUS(DA_OK, da_trainer_run(trainer, 0, NULL, NULL));
        same_state(trainer, end, recipe->name);
        unlink(path);
        STATUS(DA_OK, da_trainer_close(trainer));
        free(before.data), free(one.data), free(end.data);
    }
}

/* ---- data in every form ---- */

/* The value as IEEE half precision; exact for the multiples of 1/8 below 16 that are used here. */
static uint16_t half(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    if (value == 0) return 0;
    return (uint16_t)((bits >> 16 & 0x8000) | (((bits >> 23 & 255) - 112) << 10) | (bits >> 13 & 0x3ff));
}

/* Numbers that every type holds, so that learning from any of the files gives the same bits. */
static void test_forms(void) {
    enum { N = SAMPLES * TINY_STATE };
    static float f32[N], pixels[N];
    static double f64[N];
    static uint16_t f16[N];
    static uint8_t u8[N], labels8[SAMPLES];
    static float twins[2 * N];
    int32_t labels32[SAMPLES];
    learning_data();
    for (int i = 0; i < N; i++) {
        f32[i] = (float)((i * 37 + i / 64) % 129 - 64) / 8;
        f64[i] = f32[i];
        f16[i] = half(f32[i]);
        u8[i] = (uint8_t)(i * 31 % 256);
        pixels[i] = (float)u8[i] / 127.5f - 1;
        twins[2 * (i / TINY_STATE) * TINY_STATE + i % TINY_STATE] = f32[i];
        twins[(2 * (i / TINY_STATE) + 1) * TINY_STATE + i % TINY_STATE] = f32[i];
    }
    for (int i = 0; i < SAMPLES; i++) labels32[i] = labels8[i] = (uint8_t)learning_labels[i];
    write_samples("x.safetensors", f32, learning_labels, SAMPLES);
    write_npy("f32.npy", "<f4", "(10, 4, 8, 8)", f32, sizeof f32);
    write_npy("f64.npy", "<f8", "(10, 4, 8, 8)", f64, sizeof f64);
    write_npy("f16.npy", "<f2", "(10, 4, 8, 8)", f16, sizeof f16);
    write_npy("twins.npy", "<f4", "(10, 2, 4, 8, 8)", twins, sizeof twins);
    write_npy("u8.npy", "|u1", "(10, 4, 8, 8)", u8, sizeof u8);
    write_npy("pixels.npy", "<f4", "(10, 4, 8, 8)", pixels, sizeof pixels);
    write_npy("l64.npy", "<i8", "(10,)", learning_labels, sizeof learning_labels);
    write_npy("l32.npy", "<i4", "(10,)", labels32, sizeof labels32);
    write_npy("l8.npy", "|u1", "(10, 1)", labels8, sizeof labels8);
    const struct {
        const char *latents, *labels;
        int group;
    } forms[] = {{"x.safetensors", "x.safetensors", 0},
                 {"f32.npy", "l64.npy", 0},
                 {"f64.npy", "l32.npy", 0},
                 {"f16.npy", "l8.npy", 0},
                 {"twins.npy", "l64.npy", 0},
                 {"f32.npy", "x.safetensors", 0},
                 {"pixels.npy", "l64.npy", 1},
                 {"u8.npy", "x.safetensors", 1}};
    struct bytes expected[2] = {{NULL, 0}, {NULL, 0}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char settings[1024];
        snprintf(
            settings, sizeof settings,
            "{\"method\":\"finetune\",\"data\":{\"latents\":\"%s\",\"labels\":\"%s\",\"factor\":0.5},\"steps\":4,\"batch\":4}",
            in_place(forms[i].latents), in_place(forms[i].labels));
        da_trainer trainer = NULL;
        int32_t status = try_trainer(settings, 2, 0, &trainer);
        CHECK(status == DA_OK, "%s: %s", forms[i].latents, da_last_error());
        STATUS(DA_OK, da_trainer_run(trainer, 0, NULL, NULL));
        struct bytes *first = &expected[forms[i].group];
        if (!first->data) *first = state_of(trainer);
        else same_state(trainer, *first, forms[i].latents);
        STATUS(DA_OK, da_trainer_close(trainer));
    }
    CHECK(!same_bytes(expected[0], expected[1]), "other data give the same weights");
    free(expected[0].data), free(expected[1].data);
}

int main(void) {
    test_whole_uses();
    test_forms();
    return check_summary("training");
}
