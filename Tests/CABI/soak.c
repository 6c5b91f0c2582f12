/* A host that runs for days: open, plan, session, sample, close, over and over. Nothing may accumulate.
 * Usage: soak [rounds] */
#define _GNU_SOURCE
#include <malloc.h>

#include "check.h"
#include "process.h"

enum { N = 2 * TINY_STATE, WARM_UP = 50 };

/* What an observer of a run may ask for. */
static int32_t look(void *user, const da_event *event) {
    static char text[1024];
    da_tensor view = {.struct_size = sizeof view};
    STATUS(DA_OK, da_event_tensor(event, "latents", &view));
    STATUS(DA_INVALID_ARGUMENT, da_event_tensor(event, "preview", &view));
    STATUS(DA_OK, da_event_describe(event, text, sizeof text, user));
    return 0;
}

static void one_round(int round, const float *expected, float *found) {
    static const char *plans[] = {"{\"method\":\"l2c\",\"policy\":\"alternate\"}", "{}",
                                  "{\"method\":\"l2c\",\"policy\":\"random\",\"ratio\":0.5}"};
    const char *json = plans[round % 3];
    char text[8192];
    size_t needed;
    da_model model = NULL;
    da_plan plan = NULL;
    da_session session = NULL;
    STATUS(DA_OK, da_model_open(tiny_checkpoint(), NULL, &model));
    STATUS(DA_OK, da_plan_parse(json, strlen(json), &plan));
    STATUS(DA_OK, da_plan_describe(plan, model, 6, text, sizeof text, &needed));
    session = check_session(model, plan, 1 + round % 3);
    const da_tensor labels = check_tensor("labels", DA_I64, check_labels, sizeof check_labels, SHAPE(2));
    STATUS(DA_OK, check_sample_with(session, "{\"steps\":6,\"seed\":3}", &labels, 1, look, &needed, found));
    if (round % 3 == 1 && expected) CHECK(!memcmp(found, expected, N * sizeof(float)), "round %d gives other values", round);
    /* Failures must not accumulate either. */
    da_model missing = NULL;
    STATUS(DA_IO, da_model_open("/no/such/folder", NULL, &missing));
    da_plan broken = NULL;
    STATUS(DA_FORMAT, da_plan_parse("{", 1, &broken));
    static const int64_t many[4097];
    const da_tensor too_many = check_tensor("labels", DA_I64, many, sizeof many, SHAPE(4097));
    da_result result = NULL;
    STATUS(DA_INVALID_ARGUMENT, da_session_run(session, NULL, 0, &too_many, 1, NULL, NULL, &result));
    STATUS(DA_FORMAT, check_run(session, "{\"labels\":[1", &result));
    STATUS(DA_INVALID_ARGUMENT, check_run(session, "{\"step\":1}", &result));
    STATUS(DA_OK, da_session_close(session));
    STATUS(DA_OK, da_plan_close(plan));
    STATUS(DA_OK, da_model_close(model));
}

int main(int count, char **arguments) {
    int rounds = count > 1 ? atoi(arguments[1]) : 1000;
    float expected[N], found[N];
    for (int round = 0; round < WARM_UP; round++) {
        one_round(round, NULL, found);
        if (round % 3 == 1) memcpy(expected, found, sizeof expected);
    }
    malloc_trim(0);
    struct held before = process_held();
    long long live = process_allocated();
    for (int round = 0; round < rounds; round++) one_round(round, expected, found);
    long long grown = process_allocated() - live;
    malloc_trim(0);
    process_threads(before.threads);
    struct held after = process_held();
    /* Over a few rounds the pages of the allocator, or of valgrind, say nothing yet. */
    if (rounds >= 500)
        CHECK(after.resident - before.resident < 1 << 20, "%d rounds leave %ld bytes", rounds,
              after.resident - before.resident);
    CHECK(after.files == before.files, "open files: %d, then %d", before.files, after.files);
    CHECK(after.threads == before.threads, "threads: %d, then %d", before.threads, after.threads);
    /* A sanitizer's allocator maps regions of its own as it goes, and so does valgrind's. */
    if (!SANITIZED && rounds >= 500)
        CHECK(after.mappings <= before.mappings, "mappings: %d, then %d", before.mappings, after.mappings);
    /* What the allocator has handed out is exact where resident pages are not. */
    CHECK(grown <= 0, "%d rounds leave %lld allocated bytes", rounds, grown);
    printf("%d rounds: %+ld bytes resident, %+lld allocated, %+d files, %+d threads, %+d mappings\n", rounds,
           after.resident - before.resident, grown, after.files - before.files, after.threads - before.threads,
           after.mappings - before.mappings);
    return check_summary("soak");
}
