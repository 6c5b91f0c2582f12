/* One rank of a run through the C library: session MODEL PLAN. Rank 0 prints a checksum of its picture, the others that they
 * have none. */
#include <diffaccel.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int failed(const char *what, int32_t status) {
    fprintf(stderr, "%s: %s: %s\n", what, da_status_name(status), da_last_error());
    return 1;
}

int main(int count, char **words) {
    if (count != 3) return 2;
    da_model_options options;
    da_model_options_init(&options, sizeof options);
    char settings[512];
    snprintf(settings, sizeof settings, "{\"ranks\": %s}", words[2]);
    options.settings = settings;
    da_model model;
    int32_t status = da_model_open(words[1], &options, &model);
    if (status != DA_OK) return failed("model", status);
    da_plan plan;
    status = da_plan_parse(words[2], strlen(words[2]), &plan);
    if (status != DA_OK) return failed("plan", status);
    da_session_options session_options;
    da_session_options_init(&session_options, sizeof session_options);
    session_options.threads = 1;
    da_session session;
    status = da_session_create(model, plan, &session_options, &session);
    if (status != DA_OK) return failed("session", status);
    static const char request[] = "{\"prompt\": \"red apple\", \"steps\": 8, \"seed\": 3}";
    da_result result;
    status = da_session_run(session, request, strlen(request), NULL, 0, NULL, NULL, &result);
    if (status != DA_OK) return failed("run", status);
    da_tensor images = {0};
    images.struct_size = sizeof images;
    if (da_result_tensor(result, "images", &images) == DA_OK) {
        uint64_t sum = 14695981039346656037u;
        for (size_t i = 0; i < images.bytes; i++) sum = (sum ^ ((const uint8_t *)images.data)[i]) * 1099511628211u;
        printf("picture %016" PRIx64 "\n", sum);
    } else {
        printf("no picture\n");
    }
    da_result_close(result);
    da_session_close(session);
    da_plan_close(plan);
    da_model_close(model);
    return 0;
}
