/* Memory of training: what an estimate says is what a trainer needs, a limit of that many bytes is enough and one less is too
 * little, and steps, saved states and whole lives of trainers leave nothing behind. */
#define _GNU_SOURCE
#include <malloc.h>

#include "learning.h"
#include "process.h"

static uint64_t number_of(const char *text, const char *name) {
    char key[64];
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *found = strstr(text, key);
    CHECK(found != NULL, "no %s in %s", name, text);
    return found ? strtoull(found + strlen(key), NULL, 10) : 0;
}

static uint64_t estimated(const struct recipe *recipe, int threads) {
    char text[1024] = "";
    da_trainer_options options;
    STATUS(DA_OK, da_trainer_options_init(&options, sizeof options));
    options.threads = threads;
    const char *settings = settings_of(recipe, STEPS, "");
    STATUS(DA_OK, da_trainer_estimate(model_of(recipe), settings, strlen(settings), NULL, &options, text, sizeof text, NULL));
    uint64_t peak = number_of(text, "peak");
    CHECK(peak == number_of(text, "weights") + number_of(text, "learning") + number_of(text, "workspace"), "%s", text);
    return peak;
}

/* Creates, makes all steps, measures; gives the first status that is none of success. */
static int32_t whole_use(const struct recipe *recipe, int threads, uint64_t limit, double *peak) {
    da_trainer trainer = NULL;
    char text[512];
    int32_t status = try_recipe(recipe, STEPS, threads, limit, &trainer);
    if (status != DA_OK) return status;
    status = da_trainer_run(trainer, 0, NULL, NULL);
    if (status == DA_OK && peak) *peak = described(trainer, "peak");
    if (status == DA_OK) {
        int32_t measured = da_trainer_evaluate(trainer, 1, text, sizeof text, NULL);
        CHECK(measured == DA_OK || measured == DA_OVER_BUDGET, "%s measures %s", recipe->name, da_status_name(measured));
    }
    STATUS(DA_OK, da_trainer_close(trainer));
    return status;
}

static void test_limits(void) {
    for (size_t i = 0; i < RECIPES; i++)
        for (int threads = 1; threads <= 3; threads += 2) {
            const struct recipe *recipe = &recipes[i];
            uint64_t bytes = estimated(recipe, threads);
            double peak = 0;
            STATUS(DA_OK, whole_use(recipe, threads, 0, &peak));
            CHECK(peak <= 1.1 * (double)bytes && peak >= 0.9 * (double)bytes,
                  "%s on %d threads: %.0f bytes used, %llu estimated", recipe->name, threads, peak, (unsigned long long)bytes);
            int32_t enough = whole_use(recipe, threads, bytes, NULL);
            CHECK(enough == DA_OK, "%s on %d threads: %s with the %llu bytes of the estimate: %s", recipe->name, threads,
                  da_status_name(enough), (unsigned long long)bytes, da_last_error());
            int32_t short_of = whole_use(recipe, threads, (uint64_t)peak - 1, NULL);
            CHECK(short_of == DA_OVER_BUDGET, "%s on %d threads: %s with one byte less than it used", recipe->name, threads,
                  da_status_name(short_of));
            /* At the first thing that is too large, whatever that is. */
            for (uint64_t limit = 1; limit < (uint64_t)peak; limit = limit * 3 + 1)
                CHECK(whole_use(recipe, threads, limit, NULL) == DA_OVER_BUDGET, "%s with %llu bytes", recipe->name,
                      (unsigned long long)limit);
        }
}

/* Data that are converted as they are read take room as well. */
static void test_narrow_data(void) {
    static uint8_t bytes[SAMPLES * TINY_STATE];
    char settings[1024], text[1024];
    const char *methods[] = {"\"method\":\"router\",\"sampling_steps\":4", "\"method\":\"prune\",\"pattern\":\"1:3\"",
                             "\"method\":\"prune\",\"rule\":\"similarity\",\"keep_count\":1", "\"method\":\"finetune\""};
    learning_data();
    write_npy("u8.npy", "|u1", "(10, 4, 8, 8)", bytes, sizeof bytes);
    for (int i = 0; i < 4; i++) {
        da_trainer trainer = NULL;
        snprintf(settings, sizeof settings, "{%s,\"steps\":3,\"batch\":2,\"data\":{\"latents\":\"%s\",\"labels\":\"%s\"}}",
                 methods[i], in_place("u8.npy"), learning_data());
        da_trainer_options options;
        STATUS(DA_OK, da_trainer_options_init(&options, sizeof options));
        options.threads = 2;
        STATUS(DA_OK,
               da_trainer_estimate(tiny_checkpoint(), settings, strlen(settings), NULL, &options, text, sizeof text, NULL));
        STATUS(DA_OK, try_trainer(settings, 2, number_of(text, "peak"), &trainer));
        STATUS(DA_OK, da_trainer_run(trainer, 0, NULL, NULL));
        STATUS(DA_OK, da_trainer_close(trainer));
    }
}

/* A step that does not fit changes nothing; the trainer goes on where there is room (here: never) and can be saved. */
static void test_step_without_room(void) {
    const struct recipe *recipe = &recipes[12];
    da_trainer trainer = NULL;
    char text[1024];
    const char *settings = settings_of(recipe, STEPS, "");
    STATUS(DA_OK, da_trainer_estimate(tiny_checkpoint(), settings, strlen(settings), NULL, NULL, text, sizeof text, NULL));
    uint64_t limit = number_of(text, "weights") + number_of(text, "learning") + number_of(text, "workspace") / 4;
    STATUS(DA_OK, try_trainer(settings, 1, limit, &trainer));
    struct bytes before = state_of(trainer);
    for (int i = 0; i < 3; i++) STATUS(DA_OVER_BUDGET, da_trainer_run(trainer, 0, NULL, NULL));
    CHECK(described(trainer, "step") == 0, "a step that did not fit is counted");
    same_state(trainer, before, "after steps that did not fit");
    STATUS(DA_OK, da_trainer_close(trainer));
    free(before.data);
}

static void test_many_steps(void) {
    enum { WARM_UP = 60, MANY = 200 };
    for (size_t i = 0; i < RECIPES; i++) {
        const struct recipe *recipe = &recipes[i];
        if (recipe->steps == 1) continue;
        da_trainer trainer = new_trainer(recipe, 2 * WARM_UP + MANY, "");
        const char *path = in_place("state");
        char text[512];
        for (int step = 0; step < WARM_UP; step++) {
            STATUS(DA_OK, da_trainer_run(trainer, 1, NULL, NULL));
            STATUS(DA_OK, da_trainer_save(trainer, path));
            if (step == 5) STATUS(DA_OK, da_trainer_evaluate(trainer, 1, text, sizeof text, NULL));
        }
        malloc_trim(0);
        double used = described(trainer, "used"), peak = described(trainer, "peak");
        long long live = process_allocated();
        struct held before = process_held();
        STATUS(DA_OK, da_trainer_run(trainer, MANY, NULL, NULL));
        STATUS(DA_OK, da_trainer_save(trainer, path));
        long long grown = process_allocated() - live;
        malloc_trim(0);
        struct held after = process_held();
        CHECK(described(trainer, "used") == used && described(trainer, "peak") == peak, "%s: %g bytes (peak %g), then %g (%g)",
              recipe->name, used, peak, described(trainer, "used"), described(trainer, "peak"));
        /* Less than a small object each ten steps; texts of numbers have other lengths. */
        CHECK(grown < 256, "%s: %d steps leave %lld allocated bytes", recipe->name, MANY, grown);
        /* A sanitizer keeps for a while what was freed; it looks for leaks itself. */
        CHECK(SANITIZED || after.resident - before.resident < 1 << 20, "%s: %d steps leave %ld bytes", recipe->name, MANY,
              after.resident - before.resident);
        CHECK(after.files == before.files && after.threads == before.threads, "%s: files or threads", recipe->name);
        STATUS(DA_OK, da_trainer_close(trainer));
        unlink(path);
    }
}

/* Lives of trainers, with failures among them. */
static void one_life(int round) {
    const struct recipe *recipe = &recipes[round % RECIPES];
    da_trainer trainer = new_trainer(recipe, 2, ""), refused = NULL;
    STATUS(DA_OK, da_trainer_run(trainer, 0, NULL, NULL));
    struct bytes state = state_of(trainer);
    CHECK(state.size > 0, "no state");
    free(state.data);
    CHECK(try_trainer("{\"method\":\"router\",\"period\":1}", 1, 0, &refused) < 0, "a period of 1 is accepted");
    CHECK(try_recipe(recipe, 2, 1, 1000, &refused) == DA_OVER_BUDGET, "1000 bytes are enough");
    CHECK(da_trainer_restore(trainer, learning_data()) == DA_FORMAT, "data are a state");
    if (recipe->plan) {
        da_plan plan = NULL;
        STATUS(DA_OK, da_trainer_plan(trainer, &plan));
        STATUS(DA_OK, da_plan_close(plan));
    }
    STATUS(DA_OK, da_trainer_close(trainer));
}

static void test_many_lives(void) {
    enum { WARM_UP = 3 * RECIPES, ROUNDS = 12 * RECIPES };
    for (int round = 0; round < WARM_UP; round++) one_life(round);
    malloc_trim(0);
    process_threads(1);
    struct held before = process_held();
    long long live = process_allocated();
    for (int round = 0; round < ROUNDS; round++) one_life(round);
    long long grown = process_allocated() - live;
    malloc_trim(0);
    process_threads(before.threads);
    struct held after = process_held();
    CHECK(grown < 256, "%d lives leave %lld allocated bytes", ROUNDS, grown);
    CHECK(SANITIZED || after.resident - before.resident < 1 << 20, "%d lives leave %ld bytes", ROUNDS,
          after.resident - before.resident);
    CHECK(after.files == before.files && after.threads == before.threads, "files %d, %d; threads %d, %d", before.files,
          after.files, before.threads, after.threads);
    printf("%d lives: %+lld bytes allocated, %+ld resident\n", ROUNDS, grown, after.resident - before.resident);
}

int main(void) {
    test_limits();
    test_narrow_data();
    test_step_without_room();
    test_many_steps();
    test_many_lives();
    return check_summary("training_memory");
}
