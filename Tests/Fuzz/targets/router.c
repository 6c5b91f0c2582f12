/* A router file beside a plan that names it; byte 0 chooses whether the file is read through the plan or as a plan itself. */
#include "../fuzz.h"

#include <string.h>

static struct fuzz_file plan_file, router_file;

void fuzz_start(void) {
    static const char text[] = "{\"method\":\"l2c\",\"router\":\"router.json\"}";
    plan_file = fuzz_create("plan.json");
    fuzz_write(&plan_file, text, strlen(text));
    router_file = fuzz_create("router.json");
}

void fuzz_input(const uint8_t *data, size_t size) {
    if (size < 1) return;
    da_plan plan = NULL;
    fuzz_write(&router_file, data + 1, size - 1);
    fuzz_status(da_plan_load(data[0] & 1 ? router_file.path : plan_file.path, &plan), plan, 1);
    if (plan) fuzz_plan(plan, NULL);
}
