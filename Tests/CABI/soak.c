/* A host that runs for days: open, plan, session, sample, close, over and over. Nothing may accumulate.
 * Usage: soak [rounds] */
#define _GNU_SOURCE
#include <malloc.h>

#include "check.h"
#include "process.h"

enum { N = 2 * TINY_STATE, WARM_UP = 50 };

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
    da_request request = check_request();
    STATUS(DA_OK, check_sample(session, &request, found));
    if (round % 3 == 1 && expected) CHECK(!memcmp(found, expected, N * sizeof(float)), "round %d gives other values", round);
    /* Failures must not accumulate either. */
    da_model missing = NULL;
    STATUS(DA_IO, da_model_open("/no/such/folder", NULL, &missing));
    da_plan broken = NULL;
    STATUS(DA_FORMAT, da_plan_parse("{", 1, &broken));
    request.label_count = 4097;
    da_result result = NULL;
    CHECK(da_session_sample(session, &request, &result) < 0, "too many labels are accepted");
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
    /* A sanitizer's allocator maps regions of its own as it goes. */
    if (!SANITIZED) CHECK(after.mappings <= before.mappings, "mappings: %d, then %d", before.mappings, after.mappings);
    /* What the allocator has handed out is exact where resident pages are not. */
    CHECK(grown <= 0, "%d rounds leave %lld allocated bytes", rounds, grown);
    printf("%d rounds: %+ld bytes resident, %+lld allocated, %+d files, %+d threads, %+d mappings\n", rounds,
           after.resident - before.resident, grown, after.files - before.files, after.threads - before.threads,
           after.mappings - before.mappings);
    return check_summary("soak");
}
