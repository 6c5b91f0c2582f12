/* JSON text: as a plan of any bytes, and as a config that ends at the first NUL. */
#include "../fuzz.h"

#include <stdio.h>

static char missing[96];

void fuzz_start(void) { snprintf(missing, sizeof missing, "%s/missing", fuzz_folder()); }

void fuzz_input(const uint8_t *data, size_t size) {
    da_plan plan = NULL;
    int32_t status = da_plan_parse((const char *)data, size, &plan);
    fuzz_status(status, plan, 1);
    if (plan) da_plan_close(plan);
    fuzz_require(fuzz_open(missing, NULL, fuzz_text(data, size)) != DA_OK, "a model without weights", DA_OK);
}
